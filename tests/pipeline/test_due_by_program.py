"""What falls due is found program by program: what is to come in one costs nobody anything, and no backlog keeps others waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.service import create_database, service_settings

from rewards.db.driver import execute, fetch
from rewards.features.events.jobs import CLAIM, CLAIM_MAX, LEASE_SECONDS
from rewards.features.wallets.jobs import DUE_WALLETS, SWEEP_MAX
from rewards.service import database

PENDING: Final = 20_000
PAGES_MAX: Final = 40
"""What a poll that finds nothing may touch: the few programs, and of each index the way down for each of them."""

_PROGRAM: Final = """
INSERT INTO program (key, kind, secret, created_at, clock_offset)
VALUES ($1, CASE WHEN $2 = 0 THEN 'live' ELSE 'sandbox' END, '\\x00', now(), make_interval(days => $2)) RETURNING id
"""
_DUE: Final = """
INSERT INTO due (program_id, bucket, member_id, key, due_at, name, payload)
SELECT $1, number % 256, gen_random_uuid(), gen_random_uuid(),
       now() + make_interval(secs => $3) + number * make_interval(secs => $4), 'wake', '{}'
FROM generate_series(1, $2::int) AS number
"""
_LOTS: Final = """
INSERT INTO lot (program_id, bucket, member_id, id, currency, rule, opened_at, amount, available, expires_at, due_at)
SELECT $1, number % 256, gen_random_uuid(), gen_random_uuid(), 'points', '', now(), 1, 1,
       now() + make_interval(secs => $3) + number * make_interval(secs => $4),
       now() + make_interval(secs => $3) + number * make_interval(secs => $4)
FROM generate_series(1, $2::int) AS number
"""
_HOLDS: Final = """
INSERT INTO hold (program_id, bucket, member_id, id, currency, amount, captured, released, lots, amounts, created_at, expires_at)
SELECT $1, number % 256, gen_random_uuid(), gen_random_uuid(), 'points', 1, 0, 0, '{}', '{}', now(),
       now() + make_interval(secs => $3) + number * make_interval(secs => $4)
FROM generate_series(1, $2::int) AS number
"""
ALL: Final = (_DUE, _LOTS, _HOLDS)
YEAR_SECONDS: Final = 365 * 86_400


@pytest.fixture(scope="module")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Of a database of its own: what is due is everybody's."""
    url = await create_database(database_url, "due_by_program")
    owner = database(service_settings(url, "redis://127.0.0.1:1"), application_name="tests", role=None)
    async with owner.connect() as opened:
        for table in ("due", "lot", "hold"):
            # It would find them empty between two tests, or full within one, and what is not analyzed is to stay so.
            await execute(opened, f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    yield owner
    await owner.dispose()


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """In a transaction that leaves nothing behind."""
    async with engine.connect() as opened:
        await execute(opened, "BEGIN")
        yield opened
        await execute(opened, "ROLLBACK")


async def program(connection: AsyncConnection, key: str, *, days_ahead: int = 0) -> int:
    [row] = await fetch(connection, _PROGRAM, key, days_ahead)
    return int(row.id)


async def claim(connection: AsyncConnection, program_id: int | None = None) -> list[Any]:
    return list(await fetch(connection, CLAIM, CLAIM_MAX, LEASE_SECONDS, program_id))


async def touched(connection: AsyncConnection, sql: str, *arguments: int | None) -> tuple[int, int]:
    """How many rows a statement returns or changes, and how many pages it touches."""
    given = ", ".join("NULL" if each is None else str(each) for each in arguments)
    await execute(connection, f"PREPARE poll ({', '.join('int' for _ in arguments)}) AS {sql}")
    [told] = await fetch(connection, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE poll ({given})")
    await execute(connection, "DEALLOCATE poll")
    plan = told[0][0]["Plan"]
    return plan["Actual Rows"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("analyzed", [False, True])
async def test_a_sandbox_far_ahead_makes_nobody_read_what_is_to_come(
    connection: AsyncConnection, analyzed: bool, plan: str
) -> None:
    """Twenty thousand timers, lots and holds fall due within a year, and the sandbox's clock is two years ahead."""
    live = await program(connection, "live")
    sandbox = await program(connection, "sandbox", days_ahead=730)
    for rows in ALL:
        await fetch(connection, rows, live, PENDING, 3_600.0, YEAR_SECONDS / PENDING)
        await fetch(connection, rows, sandbox, 10, 731 * 86_400.0, 1.0)
    if analyzed:
        await fetch(connection, "ANALYZE due, lot, hold")
    await fetch(connection, f"SET LOCAL plan_cache_mode = {plan}")
    polls: list[tuple[str, tuple[int | None, ...]]] = [
        (CLAIM, (CLAIM_MAX, LEASE_SECONDS, None)),
        (DUE_WALLETS, (SWEEP_MAX, None)),
    ]
    for sql, arguments in polls:
        found, pages = await touched(connection, sql, *arguments)
        assert found == 0
        assert pages <= PAGES_MAX, f"{pages} pages\n{sql}"


async def test_the_clock_of_each_program_says_what_is_due(connection: AsyncConnection) -> None:
    live = await program(connection, "live")
    sandbox = await program(connection, "sandbox", days_ahead=10)
    for rows in ALL:
        for program_id in (live, sandbox):
            await fetch(connection, rows, program_id, 3, -2 * 86_400.0, 86_400.0)  # since yesterday, now, tomorrow
    swept = await fetch(connection, DUE_WALLETS, SWEEP_MAX, None)
    assert Counter(row.program_id for row in swept) == {live: 4, sandbox: 6}
    claimed = await claim(connection)
    assert Counter(row.program_id for row in claimed) == {live: 2, sandbox: 3}
    late_days = sorted(round(row.late_seconds / 86_400) for row in claimed if row.program_id == sandbox)
    assert late_days == [9, 10, 11]
    assert await claim(connection) == [], "what is leased is claimed by nobody else"


async def test_of_one_program_only(connection: AsyncConnection) -> None:
    one, other = [await program(connection, key) for key in ("one", "other")]
    for rows in ALL:
        for program_id in (one, other):
            await fetch(connection, rows, program_id, 2, -100.0, 1.0)
    assert {row.program_id for row in await claim(connection, other)} == {other}
    assert {row.program_id for row in await fetch(connection, DUE_WALLETS, SWEEP_MAX, other)} == {other}


async def test_no_backlog_keeps_other_programs_waiting(connection: AsyncConnection) -> None:
    busy, calm = [await program(connection, key) for key in ("busy", "calm")]
    for rows in ALL:
        await fetch(connection, rows, busy, 3 * CLAIM_MAX, -100_000.0, 1.0)
        await fetch(connection, rows, calm, 20, -100.0, 1.0)
    swept = Counter(row.program_id for row in await fetch(connection, DUE_WALLETS, SWEEP_MAX, None))
    assert (swept[calm], swept[busy]) == (2 * 20, 2 * (SWEEP_MAX - 20))
    first = await claim(connection)
    assert Counter(row.program_id for row in first) == {calm: 20, busy: CLAIM_MAX // 2}
    second = await claim(connection)
    assert Counter(row.program_id for row in second) == {busy: CLAIM_MAX}, "who is alone takes all"
    of_first = [row.due_at for row in first if row.program_id == busy]
    assert max(of_first) < min(row.due_at for row in second), "what was due first comes first"


async def test_what_another_worker_is_claiming_is_skipped(engine: AsyncEngine) -> None:
    async with engine.connect() as first, engine.connect() as second:
        program_id = await program(first, "shared")
        await fetch(first, _DUE, program_id, 2 * CLAIM_MAX, -100_000.0, 1.0)
        for each in (first, second):
            await execute(each, "BEGIN")
        mine, theirs = await claim(first), await claim(second)
        for each in (first, second):
            await execute(each, "ROLLBACK")
        await fetch(first, "DELETE FROM due WHERE program_id = $1", program_id)
    assert (len(mine), len(theirs)) == (CLAIM_MAX, CLAIM_MAX)
    assert max(row.due_at for row in mine) < min(row.due_at for row in theirs)
