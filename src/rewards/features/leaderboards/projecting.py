"""The projector: carries scores from PostgreSQL to Valkey as they change.

A batch of awards leaves marks of what it changed, in its own transaction. The projector reads the marks, then the scores
as they are by then, writes these to Valkey, and deletes the marks it read. It writes absolute values, so order and
repetition do no harm; whatever fails is found marked the next time. A board that Valkey does not hold whole is built
again, while the others go on.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.driver import execute
from rewards.db.transact import reading, transact
from rewards.domain.errors import RewardsError
from rewards.domain.ids import BUCKETS
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.boards import Kept, known_boards, score_of, writing
from rewards.features.leaderboards.forgetting import forget
from rewards.features.leaderboards.ranking import BoardUnavailable, Fenced, Incomplete, Ranking, Score, SetId
from rewards.features.leaderboards.rebuilding import compare, rebuild
from rewards.pipeline.load import rows
from rewards.pipeline.programs import Programs
from rewards.valkey import VALKEY_ERRORS, Valkey, end

log = structlog.get_logger("rewards.boards")

MARKS_MAX: Final = 2_000
PAGES_MAX: Final = 20
"""Pages of marks of one board in one turn; then the others have theirs."""
GATHER_SECONDS: Final = 0.02
"""Between two turns under load, so that changes gather; a change is seen later by at most this."""
LOOK_SECONDS: Final = 1.0
"""How often every board is looked at, whether or not it has changed."""
RETIRE_SECONDS: Final = 60.0
RETIRED_SECONDS: Final = 3600
"""How long the set of a frozen period stays for whoever is reading it."""
TURNS_MAX: Final = 2
REBUILDS_MAX: Final = 2
"""At a time. Each has a database connection, and there are others who want some."""
AWAY_MAX: Final = 5
"""Boards that cannot be looked at before the others wait for the next look: each may take as long as a time-out."""
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAG_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class ProjectorMetrics:
    """What operators see of the boards."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.marks = Gauge(
            "rewards_board_marks",
            "Scores that have changed and are not on their boards yet.",
            registry=registry,
            multiprocess_mode="sum",
        )
        self.turn_seconds = Histogram(
            "rewards_board_turn_seconds",
            "From reading the marks of a board until their scores were written.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.rebuilds = Counter(
            "rewards_board_rebuilds", "Boards built again, by what came of it.", ("result",), registry=registry
        )
        self.drift = Counter(
            "rewards_board_drift_members", "Sampled members whose entry was not what it should be.", registry=registry
        )
        self.sampled = Counter(
            "rewards_board_sampled_members", "Members whose entries were compared.", registry=registry
        )


class Projector:
    """`run` is a job; `hurry` has it run at once. Rebuilds go on beside it until `close`."""

    def __init__(self, engine: AsyncEngine, valkey: Valkey, programs: Programs, metrics: ProjectorMetrics) -> None:
        self._engine = engine
        self._valkey = valkey
        self._ranking = Ranking(valkey)
        self._programs = programs
        self._metrics = metrics
        self._looked = self._retired = float("-inf")
        self._boards: dict[tuple[int, str], Kept] = {}
        self._gone: set[tuple[int, str]] = set()
        self._rebuilding: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(TURNS_MAX)
        self._slots = asyncio.Semaphore(REBUILDS_MAX)

    async def run(self) -> int:
        """One turn of every board that has changed; returns how many marks were cleared."""
        async with reading(self._engine) as connection:
            marked = {(row.program_id, row.board): row for row in await rows(connection, queries.MARKED)}
            now: datetime = next(iter(marked.values())).now
            marked.pop((None, None), None)
            looks = time.monotonic() - self._looked >= LOOK_SECONDS
            if looks or not marked.keys() <= self._boards.keys():
                # After the marks: a board that is unknown now is of no version that could have marked it since.
                before, self._boards = self._boards, await known_boards(connection, self._programs, self._boards)
                self._gone = (self._gone | before.keys()) - self._boards.keys()
        self._metrics.marks.set(sum(row.count for row in marked.values()))
        turns = await asyncio.gather(*map(self._turn, {*marked, *self._gone}), return_exceptions=True)
        away: list[BaseException] = [each for each in turns if isinstance(each, VALKEY_ERRORS)]
        cleared = sum(_came_well(each for each in turns if not isinstance(each, VALKEY_ERRORS)))
        if looks:
            self._looked = time.monotonic()
            away += await self._look(now, marked.keys())
        if away:
            log.warning("boards_wait_for_valkey", error=type(away[0]).__name__, boards=len(away))
        if cleared:
            await asyncio.sleep(GATHER_SECONDS)
        return cleared

    def look(self) -> None:
        """Every board is looked at in the next turn."""
        self._looked = float("-inf")

    async def rebuilt(self) -> None:
        """Waits for the rebuilds that are under way."""
        await asyncio.gather(*self._rebuilding.values())

    async def close(self) -> None:
        """Ends the rebuilds; what they have built is of no use, and goes by itself."""
        await end(*self._rebuilding.values())

    async def _turn(self, key: tuple[int, str]) -> int:
        board = self._boards.get(key)
        if board is None:
            if await forget(self._engine, self._ranking, self._programs, key):
                self._gone.discard(key)
            return 0
        if key in self._rebuilding:
            return 0
        try:
            async with self._turns, writing(self._engine, board.id) as mine:
                return 0 if mine is None else await self._project(board, *mine)
        except Incomplete:
            self._rebuild(key)
        except Fenced:
            log.info("board_fenced", board=board.id.tag)
        return 0

    async def _project(self, board: Kept, connection: Any, fence: str) -> int:
        cleared = 0
        for _ in range(PAGES_MAX):
            began = time.perf_counter()
            marks = await rows(connection, queries.MARKS, board.id.program_id, board.id.key, MARKS_MAX)
            if not marks:
                break
            await self._carry(board, connection, fence, marks)
            self._metrics.turn_seconds.observe(time.perf_counter() - began)
            await self._clear(board, [mark.id for mark in marks])
            cleared += len(marks)
            if sum(len(mark.members) for mark in marks) < MARKS_MAX:
                await self._ranking.vouch(board.id, marks[0].now)
                break
        return cleared

    async def _carry(self, board: Kept, connection: Any, fence: str, marks: Sequence[Any]) -> None:
        """The members of some marks as they stand by now; who has no score that is shown is taken out."""
        marked: dict[SetId, dict[UUID, int]] = {}
        for mark in marks:
            members = marked.setdefault(SetId(board.id, mark.period, mark.part), {})
            members.update(zip(mark.members, mark.buckets, strict=True))
        asked = [(of.period, of.part, bucket, member) for of, some in marked.items() for member, bucket in some.items()]
        columns = map(list, zip(*asked, strict=True))
        of_board = (board.id.program_id, board.id.key, board.board.id)
        found: dict[SetId, list[Score]] = {}
        for row in await rows(connection, queries.MARKED_SCORES, *of_board, *columns):
            found.setdefault(SetId(board.id, row.period, row.part), []).append(score_of(row))
        for of, some in marked.items():
            scores = found.get(of, [])
            gone = some.keys() - {score.member for score in scores}
            await self._ranking.write(of, fence, scores, gone)

    async def _clear(self, board: Kept, marks: list[int]) -> None:
        async def work(connection: Any) -> None:
            await execute(connection, queries.NO_WAIT_FOR_DISK)
            await rows(connection, queries.CLEAR, board.id.program_id, board.id.key, marks)

        await transact(self._engine, work)

    async def _look(self, now: datetime, marked: Any) -> list[BaseException]:
        """Vouches for the boards that had no mark, finds those that Valkey has lost, and lets go what is frozen.

        Returns why boards could not be looked at: of a cluster, some servers may be away. Another order each time, since
        it is given up after a few.
        """
        retire = time.monotonic() - self._retired >= RETIRE_SECONDS
        if retire:
            self._retired = time.monotonic()
        away: list[BaseException] = []
        for key in secrets.SystemRandom().sample([*self._boards], len(self._boards)):
            if key in self._rebuilding:
                continue
            try:
                await self._look_at(self._boards[key], None if key in marked else now, retire=retire)
            except Incomplete:
                self._rebuild(key)
            except (*VALKEY_ERRORS, BoardUnavailable) as error:
                away.append(error)
                if len(away) == AWAY_MAX:
                    break
        return away

    async def _look_at(self, board: Kept, vouched: datetime | None, *, retire: bool) -> None:
        if vouched is not None:
            await self._ranking.vouch(board.id, vouched)
        if retire:
            await self._retire(board)
            await self._sample(board)

    async def _retire(self, board: Kept) -> None:
        async with reading(self._engine) as connection:
            found = await rows(connection, queries.FROZEN, board.id.program_id, board.id.key, True)  # noqa: FBT003
        frozen = {row.period for row in found}
        for of in await self._ranking.names(board.id):
            if of.period in frozen:
                await self._ranking.retire(of, RETIRED_SECONDS)

    async def _sample(self, board: Kept) -> None:
        """Compares the members of one bucket, another one each time, so that drift shows before somebody complains."""
        async with reading(self._engine) as connection:
            found = await compare(connection, self._ranking, board, secrets.randbelow(BUCKETS))
        self._metrics.sampled.inc(found.members)
        self._metrics.drift.inc(len(found.differences))
        if found.differences:
            log.error("board_drifts", board=board.id.tag, members=found.members, differing=len(found.differences))

    def _rebuild(self, key: tuple[int, str]) -> None:
        if key in self._rebuilding:
            return
        task = asyncio.create_task(self._rebuild_now(key), name=f"rebuild-{key[0]}-{key[1]}")
        self._rebuilding[key] = task
        task.add_done_callback(lambda _: self._rebuilding.pop(key, None))

    async def _rebuild_now(self, key: tuple[int, str]) -> None:
        result = "failed"
        try:
            async with self._slots:
                result = await self._rebuild_once(key)
        except (*VALKEY_ERRORS, Fenced, Incomplete, RewardsError, DBAPIError) as error:
            # It is found incomplete again the next time that it is looked at.
            log.warning("board_not_rebuilt", program_id=key[0], board=key[1], error=type(error).__name__)
        except Exception:
            log.exception("rebuild_defective", program_id=key[0], board=key[1])
        self._metrics.rebuilds.labels(result).inc()

    async def _rebuild_once(self, key: tuple[int, str]) -> str:
        """By the newest version: what an older one says of the board may be why it seems incomplete."""
        async with reading(self._engine) as connection:
            self._boards = await known_boards(connection, self._programs, self._boards)
        board = self._boards.get(key)
        if board is None:
            return "gone"
        async with writing(self._engine, board.id) as mine:
            if mine is None:
                return "left_to_another"
            with suppress(Incomplete):
                await self._ranking.vouch(board.id, LONG_AGO)
                return "was_complete"
            began = time.perf_counter()
            members = await rebuild(*mine, self._valkey, board)
        seconds = round(time.perf_counter() - began, 3)
        log.info("board_rebuilt", board=board.id.tag, members=members, seconds=seconds)
        return "built"


def _came_well(results: Iterable[int | BaseException]) -> Iterator[int]:
    """Raises the first error that there is."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
        yield result
