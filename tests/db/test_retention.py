"""Traces are forgotten by the month, everything else of the event stays; results and jobs go some rows at a time."""

import itertools
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event as listening
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.service import EventFactory, Live, create_database, service_settings

from rewards.db.partitions import ensure_partitions
from rewards.db.retention import (
    JOBS_PER_STEP,
    PAGES_PER_STEP,
    RESULTS_PER_STEP,
    TAKEN_BACK_PER_STEP,
    drop_expired,
    drop_jobs,
    drop_results,
    forget_taken_back,
    forget_traces,
)
from rewards.db.transact import transact
from rewards.domain.ids import id_floor
from rewards.features.programs.store import create_program
from rewards.service import database

LONG_AGO = datetime(2020, 1, 15, tzinfo=UTC)
EVENTS_OF_A_MONTH = 6_000
_names = itertools.count(1)


@pytest.mark.parametrize(("months", "days", "forgotten"), [(3, 30, True), (3, 4000, False)])
async def test_traces_of_old_months_are_forgotten(
    shop: Live, migrated_url: str, redis_url: str, months: int, days: int, *, forgotten: bool
) -> None:
    """Upkeep that runs `months` from now keeps traces for as many days as are given."""
    event = EventFactory(member=f"traced-{days}")
    await shop.event(**event)
    now = datetime.now(UTC)
    later = datetime(now.year + (now.month + months - 1) // 12, (now.month + months - 1) % 12 + 1, 28, tzinfo=UTC)
    owner = database(service_settings(migrated_url, redis_url), application_name="tests", role=None)
    try:
        while await transact(owner, lambda connection: forget_traces(connection, later, trace_days=days)):
            pass
    finally:
        await owner.dispose()
    async with shop.service.engine.connect() as connection:
        stored = await connection.execute(
            text("SELECT trace, answer FROM event WHERE client_id = :id"), {"id": event["id"]}
        )
        row = stored.one()
    assert (row.trace is None) is forgotten
    assert row.answer["effects"]
    again = await shop.client.post("/v1/events?trace=true", json=event)
    assert (again.json()["status"], again.json()["trace"] == []) == ("duplicate", forgotten)


@pytest.fixture
async def old_months(database_url: str, redis_url: str) -> AsyncIterator[AsyncEngine]:
    """The owner of a database with two months of long ago, and traces in both."""
    url = await create_database(database_url, f"retention_tests_{next(_names)}")
    owner = database(service_settings(url, redis_url), application_name="tests", role=None)
    await transact(owner, lambda connection: ensure_partitions(connection, LONG_AGO, months_behind=1))
    async with owner.begin() as connection:
        for month in (datetime(2019, 12, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)):
            await connection.execute(
                text(
                    "INSERT INTO event (program_id, bucket, member_id, id, client_id, type, status, program_version,"
                    " occurred_at, recorded_at, trace) SELECT 1, 0, gen_random_uuid(), :id, 'x', 'y', 'processed', 1,"
                    " now(), now(), jsonb_build_array(repeat('z', 1500)) FROM generate_series(1, :events)"
                ),
                {"id": id_floor(month), "events": EVENTS_OF_A_MONTH},
            )
    yield owner
    await owner.dispose()


async def test_what_was_taken_back_is_forgotten_in_steps_once_its_events_are_gone(old_months: AsyncEngine) -> None:
    at = {"2019": datetime(2019, 12, 9, tzinfo=UTC), "2020": datetime(2020, 1, 9, tzinfo=UTC)}
    many = {"2019": TAKEN_BACK_PER_STEP + 1, "2020": 2}
    async with old_months.begin() as connection:
        for year, moment in at.items():
            await connection.execute(
                text(
                    "INSERT INTO taken_back_event SELECT 1, 0, gen_random_uuid(), :id, now()"
                    " FROM generate_series(1, :many)"
                ),
                {"id": id_floor(moment), "many": many[year]},
            )

    async def forgotten() -> int:
        return await transact(old_months, forget_taken_back)

    assert await forgotten() == 0, "the events are still there, and must not count again"
    now = datetime(2020, 3, 1, tzinfo=UTC)
    dropped = await transact(
        old_months, lambda connection: drop_expired(connection, now, event_days=40, outbox_days=4000)
    )
    assert "event_2019_12" in dropped
    assert "event_2020_01" not in dropped
    assert await _taken_back(old_months) == {id_floor(at[year]): many[year] for year in many}
    assert [await forgotten() for _ in range(3)] == [TAKEN_BACK_PER_STEP, 1, 0]
    assert await _taken_back(old_months) == {id_floor(at["2020"]): 2}


async def _taken_back(owner: AsyncEngine) -> dict[Any, int]:
    async with owner.connect() as connection:
        found = await connection.execute(
            text("SELECT event_id, count(*) AS many FROM taken_back_event GROUP BY event_id")
        )
        return {row.event_id: row.many for row in found}


async def _step(owner: AsyncEngine) -> int:
    return await transact(owner, lambda connection: forget_traces(connection, datetime.now(UTC), trace_days=30))


async def _traces_left(owner: AsyncEngine) -> int:
    async with owner.connect() as connection:
        found = await connection.execute(text("SELECT count(*) FROM event WHERE trace IS NOT NULL"))
        return int(found.scalar_one())


async def test_each_page_of_an_old_month_is_read_once_and_a_finished_month_not_at_all(old_months: AsyncEngine) -> None:
    updates: list[str] = []

    def heard(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE event_"):
            updates.append(statement)

    listening.listen(old_months.sync_engine, "before_cursor_execute", heard)
    left = await _traces_left(old_months)
    assert left == 2 * EVENTS_OF_A_MONTH
    while emptied := await _step(old_months):
        left -= emptied
        assert await _traces_left(old_months) == left
    assert left == 0
    ranges: dict[str, list[tuple[int, int]]] = {}
    for statement in updates:
        read = re.search(r"UPDATE (\w+) .*'\((\d+),0\)'.*'\((\d+),0\)'", statement)
        assert read is not None
        ranges.setdefault(read[1], []).append((int(read[2]), int(read[3])))
    assert set(ranges) == {"event_2019_12", "event_2020_01"}
    for pages in ranges.values():
        assert len(pages) > 1
        assert pages[0][0] == 0
        assert all(one[1] == next_one[0] for one, next_one in itertools.pairwise(pages))
        assert max(last - first for first, last in pages) == PAGES_PER_STEP
    updates.clear()
    assert await _step(old_months) == 0
    assert updates == []


async def test_a_month_that_was_written_anew_meanwhile_is_read_from_its_start(old_months: AsyncEngine) -> None:
    await _step(old_months)
    async with old_months.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM FULL event_2019_12"))
    while await _step(old_months):
        pass
    assert await _traces_left(old_months) == 0


async def test_one_worker_at_a_time_forgets(old_months: AsyncEngine) -> None:
    async def meanwhile(connection: AsyncConnection) -> tuple[int, int]:
        mine = await forget_traces(connection, datetime.now(UTC), trace_days=30)
        return mine, await _step(old_months)

    mine, of_another = await transact(old_months, meanwhile)
    assert mine > 0
    assert of_another == 0
    assert await _step(old_months) > 0


@pytest.fixture(scope="module")
async def owner(database_url: str, redis_url: str) -> AsyncIterator[AsyncEngine]:
    """The owner of a database without history."""
    url = await create_database(database_url, f"retention_tests_{next(_names)}")
    engine = database(service_settings(url, redis_url), application_name="tests", role=None)
    yield engine
    await engine.dispose()


async def _program(owner: AsyncEngine, *, ahead_days: int = 0) -> int:
    """A program whose clock is so far ahead."""

    async def make(connection: AsyncConnection) -> int:
        made = await create_program(connection, f"kept_{next(_names)}", secret_key=bytes(range(32)), kind="sandbox")
        ahead = text("UPDATE program SET clock_offset = make_interval(days => :days) WHERE id = :id")
        await connection.execute(ahead, {"days": ahead_days, "id": made})
        return made

    return await transact(owner, make)


async def _period(
    owner: AsyncEngine, program_id: int, key: str, *, closed: int | None, cleared: bool = True, results: int = 2
) -> None:
    """A period of the board `daily` that closed so many days ago (None: it is open), with results."""
    values = {"id": program_id, "key": key, "closed": closed, "cleared": cleared, "results": results}
    async with owner.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO leaderboard_period SELECT :id, 'daily', :key, 'x', o.at - interval '1 day', o.at, o.at,"
                " CASE WHEN CAST(:closed AS int) IS NOT NULL THEN o.at END, :results,"
                " CASE WHEN :cleared THEN o.at END"
                " FROM (SELECT now() - make_interval(days => coalesce(CAST(:closed AS int), 5000)) AS at) o"
            ),
            values,
        )
        await connection.execute(
            text(
                "INSERT INTO leaderboard_result SELECT :id, 'daily', :key, '', n, n, 0, gen_random_uuid(), 1, now()"
                " FROM generate_series(1, :results) n"
            ),
            values,
        )


async def _prize(owner: AsyncEngine, program_id: int, key: str, *, due: str, name: str = "prize") -> None:
    """A command for a period that is still to be done."""
    async with owner.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO due (program_id, bucket, member_id, key, due_at, name, payload) VALUES"
                " (:id, 0, gen_random_uuid(), gen_random_uuid(), CAST(CAST(:due AS text) AS timestamptz), :name,"
                " jsonb_build_object('board', 'daily', 'period', CAST(:key AS text)))"
            ),
            {"id": program_id, "key": key, "due": due, "name": name},
        )


async def _drop_results(owner: AsyncEngine) -> list[int]:
    """How many rows each step dropped, until there was nothing left."""
    steps = []
    while dropped := await transact(owner, lambda connection: drop_results(connection, board_days=100)):
        steps.append(dropped)
    return steps


async def _kept(owner: AsyncEngine, program_id: int, table: str) -> set[str]:
    async with owner.connect() as connection:
        found = await connection.execute(
            text(f"SELECT DISTINCT period FROM {table} WHERE program_id = :id"), {"id": program_id}
        )
        return set(found.scalars())


async def test_periods_that_closed_long_ago_go_with_their_results(owner: AsyncEngine) -> None:
    mine, ahead = await _program(owner), await _program(owner, ahead_days=50)
    await _period(owner, mine, "old", closed=101)
    await _period(owner, mine, "young", closed=99)
    await _period(owner, mine, "open", closed=None)
    await _period(owner, mine, "with scores", closed=101, cleared=False)
    await _period(owner, mine, "to be paid", closed=101)
    await _prize(owner, mine, "to be paid", due="2020-01-01")
    await _period(owner, mine, "set aside", closed=101)
    await _prize(owner, mine, "set aside", due="infinity")
    await _period(owner, mine, "awaited", closed=101)
    await _prize(owner, mine, "awaited", due="2020-01-01", name="wake")
    await _period(owner, ahead, "old by its own clock", closed=51)
    await _period(owner, ahead, "young by its own clock", closed=49)
    assert await _drop_results(owner) == [3, 3, 3]
    left = {"young", "open", "with scores", "to be paid", "set aside"}
    assert await _kept(owner, mine, "leaderboard_period") == await _kept(owner, mine, "leaderboard_result") == left
    assert await _kept(owner, ahead, "leaderboard_period") == {"young by its own clock"}
    assert await _kept(owner, ahead, "leaderboard_result") == {"young by its own clock"}


async def test_a_large_result_goes_in_steps_and_its_period_last(owner: AsyncEngine) -> None:
    mine = await _program(owner)
    await _period(owner, mine, "large", closed=101, results=RESULTS_PER_STEP + 5)
    first = await transact(owner, lambda connection: drop_results(connection, board_days=100))
    assert first == RESULTS_PER_STEP
    assert await _kept(owner, mine, "leaderboard_period") == await _kept(owner, mine, "leaderboard_result") == {"large"}
    assert await _drop_results(owner) == [6]
    assert await _kept(owner, mine, "leaderboard_period") == await _kept(owner, mine, "leaderboard_result") == set()


async def test_a_period_that_another_worker_drops_is_left_to_it(owner: AsyncEngine) -> None:
    mine = await _program(owner)
    await _period(owner, mine, "both want it", closed=101)

    async def meanwhile(connection: AsyncConnection) -> tuple[int, list[int]]:
        return await drop_results(connection, board_days=100), await _drop_results(owner)

    assert await transact(owner, meanwhile) == (3, [])
    assert await _kept(owner, mine, "leaderboard_period") == set()


@pytest.mark.parametrize(
    ("job", "state", "days", "stays"),
    [
        ("backfill:1", "done", 91, False),
        ("backfill:2", "cancelled", 91, False),
        ("backfill:3", "done", 89, True),
        ("backfill:4", "running", 91, True),
        ("house_totals", "done", 91, True),
    ],
)
async def test_jobs_that_ended_long_ago_go(owner: AsyncEngine, job: str, state: str, days: int, *, stays: bool) -> None:
    now = datetime.now(UTC)
    async with owner.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO job_state VALUES (1, :job, jsonb_build_object('state', CAST(:state AS text)),"
                " CAST(:now AS timestamptz) - make_interval(days => :days))"
            ),
            {"job": job, "state": state, "days": days, "now": now},
        )
    dropped = await transact(owner, lambda connection: drop_jobs(connection, now, job_days=90))
    assert dropped == (not stays)
    async with owner.connect() as connection:
        left = await connection.execute(text("SELECT count(*) FROM job_state WHERE job = :job"), {"job": job})
        assert left.scalar_one() == stays


async def test_many_jobs_go_in_steps(owner: AsyncEngine) -> None:
    async with owner.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO job_state SELECT 2, 'backfill:' || n, '{\"state\": \"done\"}', '2020-01-01'"
                " FROM generate_series(1, :jobs) n"
            ),
            {"jobs": JOBS_PER_STEP + 1},
        )
    now = datetime.now(UTC)
    steps = [await transact(owner, lambda connection: drop_jobs(connection, now, job_days=90)) for _ in range(3)]
    assert steps == [JOBS_PER_STEP, 1, 0]
