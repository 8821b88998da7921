"""From PostgreSQL to Valkey: what is committed is shown, whatever is lost, repeated or raced on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.service import publish, publish_next

from rewards.db.engine import database_url as driver_url
from rewards.db.transact import reading
from rewards.domain.ids import BUCKETS
from rewards.features.leaderboards.boards import Kept, board_id
from rewards.features.leaderboards.folding import clear_whole, fold, folded_at
from rewards.features.leaderboards.forgetting import CLEARED_AT_ONCE_MAX
from rewards.features.leaderboards.projecting import COUNTED_MAX, Projector, ProjectorMetrics
from rewards.features.leaderboards.ranking import BoardId, Ranking, SetId
from rewards.features.leaderboards.rebuilding import COMPARED_MARKS_MAX, Unsettled, compare
from rewards.valkey import make_valkey

PATIENCE_SECONDS = 60
UNREACHABLE = "redis://127.0.0.1:1/0"


def another_projector(boards: Boards, ranking: Ranking | None = None) -> Projector:
    service = boards.live.service
    made = Projector(service.engine, service.valkey, service.programs, ProjectorMetrics(CollectorRegistry()))
    if ranking is not None:
        made._ranking = ranking
    return made


async def marks(boards: Boards) -> int:
    async with boards.live.service.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT count(*) FROM leaderboard_dirty WHERE program_id = :program"),
            {"program": boards.live.program_id},
        )
        return int(found.scalar_one())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in servers
            await asyncio.sleep(0.02)


async def expected(boards: Boards, board: str = "shared") -> list[tuple[str, float]]:
    """Member and score of the whole board as PostgreSQL has them, best first."""
    async with boards.live.service.engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT m.external_id, s.score FROM leaderboard_score s"
                " JOIN member m USING (program_id, bucket, member_id)"
                " WHERE s.program_id = :program AND s.board = :board ORDER BY s.score DESC, s.achieved_at, s.member_id"
            ),
            {"program": boards.live.program_id, "board": board},
        )
        return [(row.external_id, row.score) for row in found]


async def shown(boards: Boards, board: str = "shared") -> list[tuple[str, float]]:
    return [(member, score) for _, member, score in await boards.places(f"/{board}", limit=100)]


async def test_marks_are_cleared_once_their_scores_are_shown(boards: Boards) -> None:
    await boards.project()
    for points in (3, 4):
        await boards.score("ada", points)
    assert await marks(boards) > 0
    assert await boards.live.worker.projector.run() > 0
    assert await marks(boards) == 0
    assert await shown(boards) == [("ada", 7)]


async def test_a_mark_that_was_set_anew_while_it_was_projected_stays(boards: Boards) -> None:
    await boards.project()
    await boards.score("ada", 3)

    class Slow(Ranking):
        async def write(self, *arguments: object, **more: object) -> int:
            written = await super().write(*arguments, **more)  # type: ignore[arg-type]
            await boards.score("ada", 4)
            return written

    await another_projector(boards, Slow(boards.live.service.valkey)).run()
    assert await marks(boards) > 0
    await boards.project()
    assert await shown(boards) == await expected(boards)
    assert await marks(boards) == 0


async def test_what_everything_is_lost_with_comes_back_by_itself(boards: Boards) -> None:
    for member, points in (("ada", 5), ("bob", 3)):
        await boards.score(member, points)
    await boards.project()
    await boards.live.service.valkey.flushall()
    answer = await boards.ask("/shared")
    assert (answer.status_code, answer.json()["code"]) == (503, "board-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    await boards.score("bob", 9)
    await boards.project()
    assert await shown(boards) == [("bob", 12), ("ada", 5)]


async def test_a_board_that_another_run_of_the_server_had_is_built_again(boards: Boards) -> None:
    """A server that started anew may have lost its last second, with the marks of it gone."""
    await boards.score("ada", 5)
    await boards.project()
    valkey = boards.live.service.valkey
    metas = [key async for key in valkey.scan_iter(match="rewards:board:*:meta")]
    for meta in metas:
        await valkey.hset(meta, "run", "0" * 40)
    entries: list[Any] = [key async for key in valkey.scan_iter(match="rewards:board:*entries/all_time/")]
    for key in entries:
        found: Any = await valkey.zrange(key, 0, -1)
        for member in found:
            await valkey.zincrby(key, 1, member)
    assert await shown(boards) == [("ada", 4)], "what is there is shown meanwhile"
    await boards.project()
    assert await shown(boards) == [("ada", 5)]


async def test_two_projectors_race(boards: Boards) -> None:
    await boards.project()
    others = [another_projector(boards), another_projector(boards)]
    sent = [(f"member-{number % 7}", number % 5 + 1) for number in range(70)]
    done = asyncio.Event()

    async def project(projector: Projector) -> None:
        while not done.is_set() or await marks(boards):
            await projector.run()

    working = [asyncio.create_task(project(each)) for each in (*others, boards.live.worker.projector)]
    await asyncio.gather(*(boards.score(member, points) for member, points in sent))
    done.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*working)
    totals: Counter[str] = Counter()
    for member, points in sent:
        totals[member] += points
    assert dict(await shown(boards)) == dict(totals)
    assert await shown(boards) == await expected(boards)


async def test_a_writer_that_was_overtaken_changes_nothing(boards: Boards) -> None:
    """It read scores, lost its connection, and writes them only after another has written newer ones."""
    await boards.project()
    await boards.score("ada", 1)
    overtaken = asyncio.Event()
    reached = asyncio.Event()

    class Late(Ranking):
        async def write(self, *arguments: object, **more: object) -> int:
            reached.set()
            await overtaken.wait()
            return await super().write(*arguments, **more)  # type: ignore[arg-type]

    late = asyncio.create_task(another_projector(boards, Late(boards.live.service.valkey)).run())
    await reached.wait()
    await boards.score("ada", 1)
    superuser = create_async_engine(driver_url(boards.live.service.settings.database_url.get_secret_value()))
    async with superuser.connect() as connection:  # its session has ended, and with it its lock
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1651466610"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )
    await superuser.dispose()
    await boards.project()
    assert await shown(boards) == [("ada", 2)]
    overtaken.set()
    await asyncio.gather(late, return_exceptions=True)
    assert await shown(boards) == [("ada", 2)]
    await boards.project()
    assert await shown(boards) == await expected(boards)


async def test_a_board_whose_server_is_away_keeps_no_other_waiting(boards: Boards) -> None:
    """Of a cluster one server may be away: what the others have lost is built again all the same."""
    await boards.live.event(type="ran", member="ada", properties={"seconds": 31})
    await boards.project()
    await boards.score("ada", 3)

    class Away(Ranking):
        async def write(self, of: SetId, *arguments: Any, **more: Any) -> int:
            if of.board.program_id == boards.live.program_id and of.board.key == "first":
                raise RedisError
            return await super().write(of, *arguments, **more)

        async def vouch(self, board: BoardId, as_of: datetime) -> None:
            if board.program_id == boards.live.program_id and board.key in {"first", "weekly"}:
                raise RedisError
            await super().vouch(board, as_of)

    valkey = boards.live.service.valkey
    fastest = [key async for key in valkey.scan_iter(match=f"rewards:board:*{boards.live.program_id}:fastest}}:meta")]
    assert await valkey.delete(*fastest) == 1
    projector = another_projector(boards, Away(valkey))
    for _ in range(3):
        projector.look()
        await projector.run()
        await projector.rebuilt()
    assert await boards.places("/fastest") == [(1, "ada", 31)]
    assert await boards.places("/shared") == [(1, "ada", 3)]
    assert await marks(boards) == 1, "of the board that is away"


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE program SET secret = 'another key wrapped it' WHERE id = :sick",
        "UPDATE program_version SET document = '{}' WHERE program_id = :sick",
    ],
    ids=["key", "document"],
)
async def test_a_program_that_cannot_be_read_stops_no_other(boards: Boards, wrong: str) -> None:
    """Made with another secret key, by mistake, or written by a newer release: its boards stay, and wait."""
    service = boards.live.service
    sick, _ = await publish(service, PROGRAM)
    await boards.project()
    async with service.engine.begin() as connection:
        await connection.execute(text(wrong), {"sick": sick})
        await connection.execute(text("UPDATE program SET revision = revision + 1 WHERE id = :sick"), {"sick": sick})
    try:
        await boards.score("ada", 3)
        projector = another_projector(boards)
        for _ in range(2):
            projector.look()
            await projector.run()
            await projector.rebuilt()
            await boards.project()  # knows the boards from before
        assert await shown(boards) == [("ada", 3)]
        assert await keys_of(boards, "shared", program_id=sick) == ["meta"]
    finally:
        async with service.engine.begin() as connection:
            # Whatever is made here later must find the key that all were made with.
            await connection.execute(
                text(
                    "UPDATE program SET published = NULL, secret = (SELECT secret FROM program WHERE id = :well)"
                    " WHERE id = :sick"
                ),
                {"sick": sick, "well": boards.live.program_id},
            )


async def test_a_mark_for_a_version_that_cannot_be_read_stops_nothing(boards: Boards) -> None:
    """A board of a newer release, in a program that this one knew: its marks wait, and the others are looked at."""
    service = boards.live.service
    sick, _ = await publish(service, PROGRAM)
    projector = another_projector(boards)
    await projector.run()
    await projector.rebuilt()
    async with service.engine.begin() as connection:
        for statement in (
            "UPDATE program_version SET document = '{}' WHERE program_id = :sick",
            "UPDATE program SET revision = revision + 1 WHERE id = :sick",
            "INSERT INTO leaderboard_dirty SELECT :sick, 'new', 1, 'all_time', '', '{1}', ARRAY[gen_random_uuid()], now()",
        ):
            await connection.execute(text(statement), {"sick": sick})
    try:
        await boards.score("ada", 3)
        projector.look()
        await projector.run()
        await projector.rebuilt()
        assert await shown(boards) == [("ada", 3)]
    finally:
        async with service.engine.begin() as connection:
            await connection.execute(text("UPDATE program SET published = NULL WHERE id = :sick"), {"sick": sick})


async def test_many_marks_are_not_all_counted_and_the_board_is_built_again(boards: Boards) -> None:
    """Valkey was away for long: what each look costs must not grow with what waits."""
    await boards.project()
    await boards.score("ada", 3)
    await leave_marks(boards, 2 * COUNTED_MAX)
    registry = CollectorRegistry()
    service = boards.live.service
    projector = Projector(service.engine, service.valkey, service.programs, ProjectorMetrics(registry))
    await projector.run()
    assert COUNTED_MAX <= (registry.get_sample_value("rewards_board_marks") or 0) < 2 * COUNTED_MAX
    await projector.rebuilt()
    while await projector.run():
        pass
    assert await marks(boards) == 0
    assert await shown(boards) == [("ada", 3)]


async def test_fewer_marks_are_carried(boards: Boards) -> None:
    await boards.project()
    before = await marks(boards)
    await boards.score("ada", 3)
    await leave_marks(boards, COUNTED_MAX - 2)
    left = await marks(boards)
    assert (before, left > COUNTED_MAX - 2) == (0, True)
    assert await another_projector(boards).run() == left
    assert await shown(boards) == [("ada", 3)]


async def test_while_valkey_is_away_marks_take_no_more_room_than_so_many(boards: Boards) -> None:
    await boards.score("ada", 3)
    await boards.project()
    service = boards.live.service
    nobody = make_valkey(UNREACHABLE, timeout_seconds=0.5)
    away = Projector(service.engine, nobody, service.programs, ProjectorMetrics(CollectorRegistry()))
    for points in (1, 10, 100):
        await boards.score("bob", points)
        await leave_marks(boards, COUNTED_MAX)
        assert await marks(boards) > COUNTED_MAX
        await away.run()
        await away.rebuilt()
        assert await marks(boards) < COUNTED_MAX
    await boards.score("cem", 7)
    assert await shown(boards) == [("ada", 3)], "nothing of it is there yet"
    await boards.project()
    assert await shown(boards) == await expected(boards) == [("bob", 111), ("cem", 7), ("ada", 3)]
    assert await marks(boards) == 0
    await nobody.aclose()


async def test_a_build_takes_away_only_what_was_folded_before_it_began(boards: Boards) -> None:
    """Its process lost the right to the board meanwhile, and does not know yet."""
    await boards.project()
    engine = boards.live.service.engine
    board = (await kept(boards)).id
    moments = []
    for _ in range(2):
        await fold(engine, board)
        async with reading(engine) as connection:
            moments.append(await folded_at(connection, board))
    before, since = moments
    assert before is not None
    assert since is not None
    await clear_whole(engine, board, before)
    assert await marks(boards) == 1
    await clear_whole(engine, board, since)
    assert await marks(boards) == 0


@pytest.mark.parametrize("whole", [True, False])
async def test_what_has_not_settled_is_not_compared(boards: Boards, *, whole: bool) -> None:
    """Not even one bucket of it: that would read all marks of the board."""
    await boards.score("ada", 3)
    await boards.project()
    service = boards.live.service
    board, ranking = await kept(boards), Ranking(service.valkey)
    if whole:
        await fold(service.engine, board.id)
    else:
        await leave_marks(boards, COMPARED_MARKS_MAX + 1)
    async with reading(service.engine) as connection:
        with pytest.raises(Unsettled):
            await compare(connection, ranking, board, 0)
    await boards.project()
    async with reading(service.engine) as connection:
        found = [await compare(connection, ranking, board, bucket) for bucket in range(BUCKETS)]
    assert sum(each.members for each in found) == 1
    assert [each.differences for each in found] == [[]] * BUCKETS


async def kept(boards: Boards) -> Kept:
    """The board `shared` as it is published."""
    published = await boards.live.service.programs.get(boards.live.program_id)
    assert published.program.boards is not None
    board = published.program.boards.by_key["shared"]
    return Kept(board_id(published, board), board)


async def leave_marks(boards: Boards, count: int) -> None:
    """So many of members who have no score."""
    sql = """INSERT INTO leaderboard_dirty (program_id, board, period, part, buckets, members, marked_at)
             SELECT :program, 'shared', 'all_time', '', '{1}', ARRAY[gen_random_uuid()], now()
             FROM generate_series(1, :count)"""
    async with boards.live.service.engine.begin() as connection:
        await connection.execute(text(sql), {"program": boards.live.program_id, "count": count})


async def test_marks_of_a_board_that_is_no_more_are_cleared(boards: Boards) -> None:
    await boards.project()
    await boards.score("ada", 1)
    await leave_marks(boards, 2 * CLEARED_AT_ONCE_MAX)
    async with boards.live.service.engine.begin() as connection:
        await connection.execute(
            text("UPDATE leaderboard_dirty SET board = 'gone' WHERE program_id = :program AND board = 'shared'"),
            {"program": boards.live.program_id},
        )
    await boards.project()
    assert await marks(boards) == 0


async def keys_of(boards: Boards, board: str, *, program_id: int | None = None) -> list[str]:
    """What Valkey holds of a board, after the board's prefix."""
    of = f"-{program_id or boards.live.program_id}:{board}}}:"
    found = [key.decode() async for key in boards.live.service.valkey.scan_iter(match=f"rewards:board:*{of}*")]
    return sorted(key.partition(of)[2] for key in found)


@pytest.mark.parametrize("unseen", [True, False])
async def test_a_board_that_is_taken_out_leaves_nothing_and_comes_back_whole(boards: Boards, *, unseen: bool) -> None:
    """Taken out by mistake and rolled back: what was not projected in between is not lost with its mark."""
    live = boards.live
    await boards.score("ada", 3)
    await boards.project()
    assert await keys_of(boards, "shared") == ["entries/all_time/", "members/all_time/", "meta", "sets"]
    if unseen:
        await boards.score("bob", 5)
    lines = PROGRAM.splitlines(keepends=True)
    await publish_next(live, "".join(line for line in lines if not line.startswith("  shared:")))
    await boards.project()
    assert (await keys_of(boards, "shared"), await marks(boards)) == ([], 0)
    assert await keys_of(boards, "first") != []
    await publish_next(live, PROGRAM)
    await boards.score("cem", 4)
    await boards.project()
    assert await shown(boards) == await expected(boards)


async def test_flushed_under_load_no_event_fails_and_boards_come_back(boards: Boards) -> None:
    async with boards.live.worker.running():
        sent = 0
        for _ in range(4):
            await asyncio.gather(*(boards.score(f"member-{number % 11}", 1 + number % 3) for number in range(30)))
            sent += 30
            await boards.live.service.valkey.flushall()

        async def right() -> bool:
            if await marks(boards) or (await boards.ask("/shared")).status_code != 200:
                return False
            return await shown(boards) == await expected(boards)

        await until(right)
        assert len(await expected(boards, "weekly")) == 11
        assert sum(score for _, score in await expected(boards, "weekly")) == sent


async def test_a_change_is_seen_at_once_and_from_another_process(boards: Boards) -> None:
    """The worker of another process hears of it through Valkey; nothing here wakes it."""
    settings = boards.live.service.settings
    valkey = make_valkey(settings.redis_url.get_secret_value())
    await boards.project()
    async with boards.live.worker.running():
        hints = boards.live.service.score_hints
        await asyncio.sleep(0)
        hints.scores_written.clear()
        waiting = asyncio.ensure_future(hints.scores_written.wait())  # the job clears it again at once

        async def heard() -> bool:
            await valkey.publish("rewards:boards:written", b"")
            return waiting.done()

        await until(heard)
    await valkey.aclose()
