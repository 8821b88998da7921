"""Closing periods: the result is frozen exactly once, late events count until then, and prizes are paid once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.service import Live, another, create_database, live, service_settings

from rewards.db.transact import transact, transaction
from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.ids import bucket_of
from rewards.domain.outcome import BoardScore
from rewards.domain.play.closing import Ranked, ranked
from rewards.features.leaderboards.closing import Closings
from rewards.pipeline.intake import Addressed

PROGRAM: Final = """
rewards: 1
program: {key: play, timezone: UTC, late_window: 72h}
currencies: {points: {}}
attributes: {team: {type: string, purpose: test}}
events: {scored: {properties: {points: number}}}
metrics: {total: {sum: scored, value: event.points}}
segments: {known: metrics.total > 0}
leaderboards:
  daily:
    score: {metric: total}
    period: {every: day}
    ties: TIES
    grace: 2h
    prizes:
      - {ranks: [1, 1], then: [{earn: {currency: points, amount: 100}}]}
      - {ranks: [2, 3], then: [{earn: {currency: points, amount: 10}}]}
      - {percentile: 50, then: [{earn: {currency: points, amount: 1}}]}
  teams:
    score: {metric: total}
    order: ascending
    period: {every: day}
    by: {attribute: team}
    grace: 2h
"""


@pytest.fixture(scope="module")
async def database(database_url: str) -> str:
    return await create_database(database_url, "leaderboard_closing")


@pytest.fixture(scope="module")
async def service(database: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(database, redis_url), PROGRAM.replace("TIES", "shared")) as running:
        yield running


@pytest.fixture
async def board(service: Live) -> AsyncIterator[Live]:
    async with another(service, PROGRAM.replace("TIES", "shared"), kind="sandbox") as running:
        await to_morning(running)
        yield running


@pytest.fixture
async def first(service: Live) -> AsyncIterator[Live]:
    async with another(service, PROGRAM.replace("TIES", "first"), kind="sandbox") as running:
        await to_morning(running)
        yield running


async def advance(running: Live, **length: float) -> None:
    seconds = round(timedelta(**length).total_seconds())
    answer = await running.client.post("/v1/sandbox/clock", json={"advance": f"{seconds}s"})
    assert answer.status_code == 200, answer.text


async def now(running: Live) -> datetime:
    return datetime.fromisoformat((await running.client.get("/v1/sandbox/clock")).json()["now"])


async def to_morning(running: Live) -> None:
    """To six o'clock of the next day, so that a test has a day before it."""
    moment = await now(running)
    morning = moment.replace(hour=6, minute=0, second=0, microsecond=0) + timedelta(days=1)
    await advance(running, seconds=(morning - moment).total_seconds())


async def past_midnight(running: Live, **length: float) -> None:
    """So long into the next day. `closes_at` is two hours into it."""
    moment = await now(running)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    await skip(running, (midnight - moment + timedelta(**length)).total_seconds())


async def skip(running: Live, seconds: float) -> None:
    """The clock jumps, and nothing is done on the way: that is for the test to do."""
    sql = "UPDATE program SET clock_offset = clock_offset + make_interval(secs => :by) WHERE id = :id"
    await write(running, sql, by=seconds, id=running.program_id)


async def write(running: Live, sql: str, **values: Any) -> None:
    await transact(running.service.engine, lambda connection: connection.execute(text(sql), values))


async def scored(running: Live, member: str, points: float, *, at: datetime | None = None) -> None:
    more = {"occurred_at": at.isoformat()} if at is not None else {}
    await running.event(type="scored", member=member, properties={"points": points}, **more)


async def results(running: Live, key: str = "daily") -> list[tuple[str, str, int, float]]:
    """Part, member, rank and score of all that is frozen, best first."""
    sql = """SELECT r.part, m.external_id, r.rank, r.score FROM leaderboard_result r
             JOIN member m ON m.program_id = r.program_id AND m.member_id = r.member_id
             WHERE r.program_id = :id AND r.board = :board ORDER BY r.period, r.part, r.position"""
    async with running.service.engine.connect() as connection:
        found = await connection.execute(text(sql), {"id": running.program_id, "board": key})
        return [(row[0], row[1], row[2], row[3]) for row in found]


async def settle(running: Live) -> None:
    while await running.worker.due.run(running.program_id):
        pass


async def balances(running: Live, *members: str) -> list[int]:
    return [await running.balance(member) for member in members]


async def test_a_period_closes_by_itself_and_pays(board: Live) -> None:
    for member, points in {"ann": 30, "bob": 20, "cid": 20, "dan": 5}.items():
        await scored(board, member, points)
    await advance(board, hours=17)
    assert await results(board) == []  # the day is not over
    await advance(board, hours=4)
    frozen = await results(board)
    assert sorted(frozen) == [("", "ann", 1, 30), ("", "bob", 2, 20), ("", "cid", 2, 20), ("", "dan", 4, 5)]
    # The best half is two of four, and bob and cid share the second rank.
    assert await balances(board, "ann", "bob", "cid", "dan") == [101, 11, 11, 0]
    await advance(board, days=3)
    assert await results(board) == frozen
    assert await balances(board, "ann", "bob", "cid", "dan") == [101, 11, 11, 0]


async def test_a_tie_goes_to_whoever_was_earlier(first: Live) -> None:
    began = await now(first)
    await scored(first, "late", 7, at=began - timedelta(minutes=1))
    await scored(first, "early", 7, at=began - timedelta(minutes=2))
    await advance(first, days=1)
    assert await results(first) == [("", "early", 1, 7), ("", "late", 2, 7)]


async def test_each_part_has_a_ranking_of_its_own(board: Live) -> None:
    for member, team, points in [("ann", "red", 3), ("bob", "blue", 5), ("cid", "red", 1), ("dan", None, 9)]:
        if team is not None:
            await board.client.patch(f"/v1/members/{member}", json={"attributes": {"team": team}})
        await scored(board, member, points)
    await board.client.patch("/v1/members/bob", json={"attributes": {"team": "red"}})
    await advance(board, days=1)
    assert await results(board, "teams") == [("red", "cid", 1, 1), ("red", "ann", 2, 3), ("red", "bob", 3, 5)]


@pytest.mark.parametrize(("hours", "expected"), [(0.5, 15), (1.9, 15), (2.1, 10)])
async def test_a_late_event_counts_until_the_grace_is_over(board: Live, hours: float, expected: float) -> None:
    evening = await now(board)
    await scored(board, "ann", 10)
    await past_midnight(board, hours=hours)
    await scored(board, "ann", 5, at=evening)
    await past_midnight(board, hours=3)
    await board.worker.closings.run(board.program_id)
    assert await results(board) == [("", "ann", 1, expected)]


async def test_what_comes_after_the_close_says_so_and_counts_elsewhere(board: Live) -> None:
    evening = await now(board)
    await scored(board, "ann", 10)
    await past_midnight(board, hours=5)
    answer = await board.event(type="scored", member="ann", properties={"points": 4}, occurred_at=evening.isoformat())
    assert answer["status"] == "processed"
    trace = (await board.client.get(f"/v1/members/ann/events/{answer['id']}")).json()["trace"]
    refused = [line for line in trace if line.get("result") == "board_closed"]
    assert {line["leaderboard"] for line in refused} == {"daily", "teams"}


async def test_of_two_workers_one_closes(board: Live) -> None:
    for member in ("ann", "bob"):
        await scored(board, member, 4)
    await past_midnight(board, hours=2.5)
    both_there = asyncio.Barrier(2)

    async def together(step: str) -> None:
        if step == "barrier":
            await both_there.wait()

    def worker() -> Closings:
        return Closings(board.service.engine, board.service.programs, reached=together)

    closed = await asyncio.gather(worker().run(board.program_id), worker().run(board.program_id))
    assert sum(closed) == 2  # two boards
    await settle(board)
    assert len(await results(board)) == 2
    assert await balances(board, "ann", "bob") == [101, 101]


class Died(Exception):
    """The worker, as far as the database can tell."""


@pytest.mark.parametrize("step", ["barrier", "frozen", "prizes"])
async def test_a_worker_that_dies_on_the_way_has_done_nothing(board: Live, step: str) -> None:
    await scored(board, "ann", 4)
    await past_midnight(board, hours=2.5)

    async def die(reached: str) -> None:
        if reached == step:
            raise Died

    with pytest.raises(Died):
        await Closings(board.service.engine, board.service.programs, reached=die).run(board.program_id)
    assert await results(board) == []
    await settle(board)
    assert await balances(board, "ann") == [0]
    await board.worker.closings.run(board.program_id)
    await settle(board)
    assert await balances(board, "ann") == [101]


async def test_a_prize_that_is_tried_again_is_paid_once(board: Live) -> None:
    await scored(board, "ann", 4)
    await past_midnight(board, hours=2.5)
    await board.worker.closings.run(board.program_id)
    async with board.service.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT bucket, member_id, key, due_at, name, payload FROM due WHERE program_id = :id"),
            {"id": board.program_id},
        )
        arranged = [dict(row._mapping) for row in found if row.name == "prize"]
    assert len(arranged) == 2
    await settle(board)
    # As if the worker had paid and died before anybody heard of it: the same commands once more.
    for row in arranged:
        await write(
            board,
            "INSERT INTO due (program_id, bucket, member_id, key, due_at, name, payload)"
            " VALUES (:program, :bucket, :member_id, :key, :due_at, :name, CAST(:payload AS jsonb))",
            **{**row, "payload": json.dumps(row["payload"]), "program": board.program_id},
        )
    await settle(board)
    assert await balances(board, "ann") == [101]


async def test_closing_waits_for_an_event_that_is_being_decided(board: Live) -> None:
    """A transaction that read the clock before the close, and has not committed when the period is due."""
    await scored(board, "ann", 4)
    async with transaction(board.service.engine) as connection:
        await connection.execute(text("SELECT pg_current_xact_id()"))
        await past_midnight(board, hours=2.5)
        closing = asyncio.create_task(board.worker.closings.run(board.program_id))
        done, _ = await asyncio.wait({closing}, timeout=0.3)
        assert not done
        late = "UPDATE leaderboard_score SET score = 40 WHERE program_id = :id"
        await connection.execute(text(late), {"id": board.program_id})
    assert await closing == 2
    assert await results(board) == [("", "ann", 1, 40)]


async def test_what_merged_members_scored_is_one_score(board: Live) -> None:
    for member, points in {"ann": 3, "anon:x": 4, "bob": 5}.items():
        await scored(board, member, points)
    published = await board.service.programs.get(board.program_id)
    into = MemberRef.parse("ann")
    command = MergeOut(into, published.identity.member(into))
    await board.service.intake.one(
        board.program_id, Addressed(MemberRef.parse("anon:x"), command, None, {"into": "ann"}, "tests")
    )
    await settle(board)
    await advance(board, days=1)
    assert await results(board) == [("", "ann", 1, 7), ("", "bob", 2, 5)]


async def test_an_event_that_was_decided_before_the_close_is_in_the_result(board: Live) -> None:
    """A late event has read the clock within the grace and waits to write while the grace ends."""
    evening = await now(board)
    await scored(board, "ann", 10)
    await past_midnight(board, hours=1.9)
    async with transaction(board.service.engine) as holding:
        mine = "SELECT FROM leaderboard_score WHERE program_id = :id FOR UPDATE"
        await holding.execute(text(mine), {"id": board.program_id})
        sending = asyncio.create_task(scored(board, "ann", 5, at=evening))
        await until_waiting(board)
        await skip(board, 3_600)
        closing = asyncio.create_task(board.worker.closings.run(board.program_id))
        done, _ = await asyncio.wait({closing, sending}, timeout=0.3)
        assert not done
    await sending
    assert await closing == 2
    assert await results(board) == [("", "ann", 1, 15)]


async def until_waiting(running: Live) -> None:
    """Until some batch waits for a lock of a row."""
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(10):
        while True:
            async with running.service.engine.connect() as connection:
                if (await connection.execute(text(sql))).scalar_one():
                    return


@pytest.mark.parametrize("ties", ["shared", "first"])
@pytest.mark.parametrize("key", ["daily", "teams"])
async def test_the_frozen_ranking_is_the_plain_one(board: Live, first: Live, ties: str, key: str) -> None:
    """Many ties, several parts and hidden members: as ranked one by one."""
    running = first if ties == "first" else board
    published = await running.service.programs.get(running.program_id)
    assert published.program.boards is not None
    ranking = published.program.boards.by_key[key]
    chance = random.Random(f"{ties} {key}")
    moment = await now(running)
    period = ranking.schedule.at(moment).key
    rows = []
    for _ in range(300):
        member = UUID(int=chance.getrandbits(128))
        reached = moment + timedelta(seconds=chance.randrange(4))
        part = chance.choice(["", "red", "blue"]) if key == "teams" else ""
        points, shown = float(chance.randrange(6)), chance.random() < 0.9
        rows.append((member, BoardScore(key, period, part, part, points, reached, shown, ranking.id)))
        await write(
            running,
            "INSERT INTO leaderboard_score (program_id, bucket, member_id, board, period, part, score, achieved_at, shown,"
            " definition, updated_at) VALUES (:id, :bucket, :member, :board, :period, :part, :score, :at, :shown, :def, :at)",
            id=running.program_id, bucket=bucket_of(member), member=member, board=key, period=period, part=part,
            score=points, at=reached, shown=shown, **{"def": ranking.id},
        )  # fmt: skip
    await past_midnight(running, hours=2.5)
    await running.worker.closings.run(running.program_id)
    sql = """SELECT part, position, rank, member_id, score FROM leaderboard_result
             WHERE program_id = :id AND board = :board ORDER BY part, position"""
    async with running.service.engine.connect() as connection:
        found = await connection.execute(text(sql), {"id": running.program_id, "board": key})
        frozen = [Ranked(*row) for row in found]
    assert frozen == ranked(ranking, rows)


async def test_a_new_version_that_counts_otherwise_starts_the_running_period_anew(board: Live) -> None:
    await scored(board, "ann", 30)
    await scored(board, "bob", 20)
    await board.worker.closings.run(board.program_id)
    changed = (
        PROGRAM.replace("TIES", "shared")
        .replace("key: play", f"key: {board.program_key}")
        .replace("score: {metric: total}", "score: {metric: total, operator: best}")
    )
    draft = await board.client.post(
        "/v1/programs/versions", content=changed, headers={"Content-Type": "application/yaml"}
    )
    assert draft.status_code in {200, 201}, draft.text
    answer = await board.client.post(f"/v1/programs/versions/{draft.json()['version']['number']}/publish")
    assert answer.status_code == 200, answer.text
    await scored(board, "ann", 4)
    await board.worker.closings.run(board.program_id)
    await advance(board, days=1)
    assert await results(board) == [("", "ann", 1, 4)]
