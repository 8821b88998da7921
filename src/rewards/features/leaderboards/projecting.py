"""The projector: carries scores from PostgreSQL to Valkey as they change.

A batch of awards leaves marks of what it changed, in its own transaction. The projector reads the marks, then the scores
as they are by then, writes these to Valkey, and deletes the marks it read. It writes absolute values, so order and
repetition do no harm; whatever fails is found marked the next time. A board that Valkey does not hold whole is built
again, while the others go on; so is one that has too many marks.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import reading
from rewards.domain.errors import RewardsError
from rewards.domain.ids import BUCKETS
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.boards import Kept, known_boards, writing, writing_all
from rewards.features.leaderboards.carrying import Load, carry, clear, read_loads, vouch
from rewards.features.leaderboards.folding import clear_whole, fold, folded_at
from rewards.features.leaderboards.forgetting import forget
from rewards.features.leaderboards.ranking import BoardUnavailable, Fenced, Incomplete, Ranking
from rewards.features.leaderboards.rebuilding import Unsettled, compare, rebuild
from rewards.pipeline.load import rows
from rewards.pipeline.programs import Programs
from rewards.valkey import VALKEY_ERRORS, Valkey, end

log = structlog.get_logger("rewards.boards")

COUNTED_MAX: Final = 10_000
"""Marks of one board that are counted to say how many there are; with so many it is built again instead."""
PAGES_MAX: Final = 20
"""Pages of marks of one board in one turn; then the others have theirs."""
BOARDS_MAX: Final = 64
"""Boards that take one turn together."""
GATHER_SECONDS: Final = 0.04
"""Between two turns under load, so that changes gather; a change is seen later by at most this."""
LOOK_SECONDS: Final = 1.0
"""How often every board is looked at, whether or not it has changed."""
RETIRE_SECONDS: Final = 60.0
RETIRED_SECONDS: Final = 3600
"""How long the set of a frozen period stays for whoever is reading it."""
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
            "Scores that have changed and are not on their boards yet; of a board, those of its 10,000 oldest marks.",
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
        self._slots = asyncio.Semaphore(REBUILDS_MAX)

    async def run(self) -> int:
        """One turn of every board that has changed; returns how many marks were cleared."""
        async with reading(self._engine) as connection:
            marked = {(row.program_id, row.board): row for row in await rows(connection, queries.MARKED, COUNTED_MAX)}
            now: datetime = next(iter(marked.values())).now
            marked.pop((None, None), None)
            looks = time.monotonic() - self._looked >= LOOK_SECONDS
            if looks or not marked.keys() <= self._boards.keys():
                # After the marks: a board that is unknown now is of no version that could have marked it since.
                before, self._boards = self._boards, await known_boards(connection, self._programs, self._boards)
                self._gone = (self._gone | before.keys()) - self._boards.keys()
        self._metrics.marks.set(sum(row.count for row in marked.values()))
        for key, row in marked.items():
            if row.marks >= COUNTED_MAX and key in self._boards and key not in self._rebuilding:
                await fold(self._engine, self._boards[key].id)
        cleared, failed = await self._turns(marked.keys())
        away: list[BaseException] = [each for each in failed if isinstance(each, VALKEY_ERRORS)]
        for error in failed:
            if not isinstance(error, VALKEY_ERRORS):
                raise error
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

    async def _turns(self, marked: Iterable[tuple[int, str]]) -> tuple[int, list[BaseException]]:
        """A turn of all boards that are marked, so many at a time; those that are no more are forgotten."""
        gone = {*self._gone, *(key for key in marked if key not in self._boards)}
        cleared = 0
        failed: list[BaseException] = []
        turning = [self._boards[key] for key in marked if key in self._boards and key not in self._rebuilding]
        for start in range(0, len(turning), BOARDS_MAX):
            some, why = await self._turn(turning[start : start + BOARDS_MAX])
            cleared += some
            failed += why
        forgotten = await asyncio.gather(*map(self._forget, gone), return_exceptions=True)
        return cleared, [*failed, *(each for each in forgotten if isinstance(each, BaseException))]

    async def _forget(self, key: tuple[int, str]) -> None:
        if await forget(self._engine, self._ranking, self._programs, key):
            self._gone.discard(key)

    async def _turn(self, marked: Sequence[Kept]) -> tuple[int, list[BaseException]]:
        """The marks of these boards that were cleared, and why others were not."""
        boards = {board.id: board for board in marked}
        cleared = 0
        failed: list[tuple[Load, BaseException | None]] = []
        async with writing_all(self._engine, list(boards)) as (connection, tokens):
            mine = [(boards[of], token) for of, token in tokens.items()]
            for _ in range(PAGES_MAX):
                began = time.perf_counter()
                loads = await read_loads(connection, mine)
                results = await carry(self._ranking, loads)
                failed += zip(loads, results, strict=True)
                carried = [load for load, result in zip(loads, results, strict=True) if result is None]
                if carried:
                    self._metrics.turn_seconds.observe(time.perf_counter() - began)
                    await clear(self._engine, carried)
                cleared += sum(len(load.marks) for load in carried)
                whole = [load for load in carried if not load.more]
                failed += zip(whole, await vouch(self._ranking, whole), strict=True)
                mine = [(load.board, load.token) for load in carried if load.more]
                if not mine:
                    break
        explained = (self._explained(load.board, error) for load, error in failed)
        return cleared, [error for error in explained if error is not None]

    def _explained(self, board: Kept, error: BaseException | None) -> BaseException | None:
        """What is no matter of this board alone."""
        if isinstance(error, Incomplete):
            self._rebuild((board.id.program_id, board.id.key))
            return None
        if isinstance(error, Fenced):
            log.info("board_fenced", board=board.id.tag)
            return None
        return error

    async def _look(self, now: datetime, marked: Any) -> list[BaseException]:
        """Vouches for the boards that had no mark, finds those that Valkey has lost, and lets go what is frozen.

        Returns why boards could not be looked at: of a cluster, some servers may be away. Another order each time, since
        it is given up after a few.
        """
        retire = time.monotonic() - self._retired >= RETIRE_SECONDS
        if retire:
            self._retired = time.monotonic()
        away: list[BaseException] = []
        boards = self._boards
        for key in secrets.SystemRandom().sample([*boards], len(boards)):
            if key in self._rebuilding:
                continue
            try:
                await self._look_at(boards[key], None if key in marked else now, retire=retire)
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
            try:
                found = await compare(connection, self._ranking, board, secrets.randbelow(BUCKETS))
            except Unsettled:
                return
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
            folded = await folded_at(mine[0], board.id)
            if folded is None:
                with suppress(Incomplete):
                    await self._ranking.vouch(board.id, LONG_AGO)
                    return "was_complete"
            began = time.perf_counter()
            members = await rebuild(*mine, self._valkey, board)
            if folded is not None:
                await clear_whole(self._engine, board.id, folded)
        seconds = round(time.perf_counter() - began, 3)
        log.info("board_rebuilt", board=board.id.tag, members=members, seconds=seconds)
        return "built"
