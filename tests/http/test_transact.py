"""The one place that commits: what is retried, what is said when the database is busy, away or unsure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.driver import fetch
from rewards.db.engine import make_engine
from rewards.db.transact import (
    DatabaseBusy,
    DatabaseUnavailable,
    StorageError,
    UnknownCommit,
    committing_statement,
    is_data_error,
    reading,
    snapshot,
    sqlstate,
    transact,
    transact_at_once,
    transaction,
)
from rewards.domain.errors import Refusal
from rewards.local.ports import free_port

Work = Callable[[AsyncConnection], Awaitable[None]]

ADD: Final = "UPDATE scratch SET n = n + 1 WHERE id = 1"
WAIT_FUNCTION: Final = """
    CREATE OR REPLACE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$
"""
WAIT_TRIGGER: Final = """
    CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON scratch DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait()
"""


@pytest.fixture
async def scratch(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The superuser's engine with one table, so that tests may end other connections."""
    engine = make_engine(
        database_url, application_name="scratch", role=None, lock_timeout_seconds=0.3, statement_timeout_seconds=1
    )
    async with transaction(engine) as connection:
        await connection.execute(text("DROP TABLE IF EXISTS scratch"))
        await connection.execute(text("CREATE TABLE scratch (id int PRIMARY KEY, n int NOT NULL)"))
        await connection.execute(text("INSERT INTO scratch VALUES (1, 0), (2, 0)"))
    yield engine
    await engine.dispose()


async def numbers(engine: AsyncEngine) -> list[int]:
    async with reading(engine) as connection:
        return list((await connection.execute(text("SELECT n FROM scratch ORDER BY id"))).scalars())


async def add(connection: AsyncConnection, identifier: int) -> None:
    await connection.execute(text("UPDATE scratch SET n = n + 1 WHERE id = :id"), {"id": identifier})


async def own_pid(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def end_session(engine: AsyncEngine, pid: int) -> None:
    async with reading(engine) as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


async def test_what_ends_well_is_committed(scratch: AsyncEngine) -> None:
    async def work(connection: AsyncConnection) -> str:
        await add(connection, 1)
        return "done"

    assert await transact(scratch, work) == "done"
    assert await numbers(scratch) == [1, 0]


async def test_what_the_work_raises_rolls_back_and_comes_out(scratch: AsyncEngine) -> None:
    async def work(connection: AsyncConnection) -> None:
        await add(connection, 1)
        raise Refusal("no")

    with pytest.raises(Refusal):
        await transact(scratch, work)
    assert await numbers(scratch) == [0, 0]


async def test_a_deadlock_is_retried_until_both_succeed(scratch: AsyncEngine) -> None:
    both_hold_one = asyncio.Barrier(2)
    attempts = 0

    def crosswise(first: int, second: int) -> Work:
        met = False

        async def work(connection: AsyncConnection) -> None:
            nonlocal attempts, met
            attempts += 1
            await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            await connection.execute(text("SET LOCAL statement_timeout = '5s'"))
            await connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            await add(connection, first)
            if not met:
                met = True
                await both_hold_one.wait()
            await add(connection, second)

        return work

    await asyncio.gather(transact(scratch, crosswise(1, 2)), transact(scratch, crosswise(2, 1)))
    assert attempts == 3
    assert await numbers(scratch) == [2, 2]


async def test_conflicts_without_end_become_busy(scratch: AsyncEngine) -> None:
    attempts = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(DatabaseBusy):
        await transact(scratch, work)
    assert attempts == 4  # once and three retries


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT pg_sleep(30)", DatabaseBusy),  # beyond the statement's time
        ("SELECT * FROM scratch WHERE id = 2 FOR UPDATE", DatabaseBusy),  # held by another, beyond the lock's time
        ("SELECT pg_terminate_backend(pg_backend_pid())", DatabaseUnavailable),  # twice: the retry ends alike
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53200'; END $$", DatabaseUnavailable),  # out of memory
    ],
)
async def test_trouble_inside_is_named_and_changes_nothing(
    scratch: AsyncEngine, statement: str, error: type[StorageError]
) -> None:
    async def work(connection: AsyncConnection) -> None:
        await add(connection, 1)
        await connection.execute(text(statement))

    async with transaction(scratch) as holder:
        await add(holder, 2)
        with pytest.raises(error):
            await transact(scratch, work)
    assert await numbers(scratch) == [0, 1]


async def test_a_connection_that_died_in_the_pool_is_replaced(scratch: AsyncEngine) -> None:
    async with reading(scratch) as connection:
        pid = await own_pid(connection)
    other = make_engine(
        scratch.url.render_as_string(hide_password=False), application_name="killer", role=None, pool_size=1
    )
    await end_session(other, pid)
    await other.dispose()
    await transact(scratch, lambda connection: add(connection, 1))
    assert await numbers(scratch) == [1, 0]


async def test_a_connection_that_dies_during_commit_leaves_it_unknown(scratch: AsyncEngine) -> None:
    """A deferred trigger waits for a lock during COMMIT; there the session is ended."""
    async with transaction(scratch) as connection:
        await connection.execute(text(WAIT_FUNCTION))
        await connection.execute(text(WAIT_TRIGGER))
    pid = asyncio.get_running_loop().create_future()
    attempts = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute(text("SET LOCAL lock_timeout = 0"))
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await add(connection, 1)
        pid.set_result(await own_pid(connection))

    async with transaction(scratch) as holder:
        await holder.execute(text("SELECT pg_advisory_xact_lock(7)"))
        waiting = asyncio.create_task(transact(scratch, work))
        await end_session(scratch, await pid)
        with pytest.raises(UnknownCommit):
            await waiting
    assert attempts == 1  # never again by itself: the caller asks its dedup row


async def test_a_connection_that_dies_during_a_committing_statement_leaves_it_unknown(scratch: AsyncEngine) -> None:
    """It waits for a row; there its session is ended."""
    pid = asyncio.get_running_loop().create_future()
    attempts = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        await fetch(connection, "SET lock_timeout = 0")
        pid.set_result(await own_pid(connection))
        await committing_statement(connection, ADD)

    async with transaction(scratch) as holder:
        await add(holder, 1)
        waiting = asyncio.create_task(transact_at_once(scratch, work))
        await end_session(scratch, await pid)
        with pytest.raises(UnknownCommit):
            await waiting
    assert attempts == 1


async def test_a_committing_statement_commits(scratch: AsyncEngine) -> None:
    await transact_at_once(scratch, lambda connection: committing_statement(connection, ADD))
    assert await numbers(scratch) == [1, 0]


async def test_before_its_committing_statement_a_lost_connection_is_replaced(scratch: AsyncEngine) -> None:
    attempts = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await end_session(scratch, await own_pid(connection))
            await fetch(connection, "SELECT 1")
        await committing_statement(connection, ADD)

    await transact_at_once(scratch, work)
    assert (attempts, await numbers(scratch)) == (2, [1, 0])


async def test_a_committing_statement_that_waits_too_long_is_busy(scratch: AsyncEngine) -> None:
    async with transaction(scratch) as holder:
        await add(holder, 1)
        with pytest.raises(DatabaseBusy):
            await transact_at_once(scratch, lambda connection: committing_statement(connection, ADD))
    assert await numbers(scratch) == [1, 0]


@pytest.mark.parametrize("run", [transact, transact_at_once])
@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("INSERT INTO scratch VALUES (1, 0)", "23505"),
        ("INSERT INTO scratch VALUES (3, NULL)", "23502"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 9223372036854775807 + 1", "22003"),
    ],
)
async def test_data_errors_come_out_as_they_are(
    scratch: AsyncEngine, run: Callable[[AsyncEngine, Work], Awaitable[None]], statement: str, state: str
) -> None:
    attempts = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        await committing_statement(connection, statement)

    with pytest.raises(DBAPIError) as refused:
        await run(scratch, work)
    assert (sqlstate(refused.value), is_data_error(refused.value), attempts) == (state, True, 1)


async def test_errors_are_told_without_the_parameters(scratch: AsyncEngine) -> None:
    statement, values = "SELECT $1::text, 1 / $2::int", ("ada@example.com", 0)
    with pytest.raises(DBAPIError) as refused:
        await transact(scratch, lambda connection: connection.exec_driver_sql(statement, values))
    assert "ada@example.com" not in str(refused.value)


async def test_a_constraint_that_fails_at_commit_is_a_data_error(scratch: AsyncEngine) -> None:
    async with transaction(scratch) as connection:
        await connection.execute(
            text("ALTER TABLE scratch ADD COLUMN parent int REFERENCES scratch DEFERRABLE INITIALLY DEFERRED")
        )
    with pytest.raises(DBAPIError) as refused:
        async with transaction(scratch) as connection:
            await connection.execute(text("UPDATE scratch SET parent = 99"))
    assert is_data_error(refused.value)


async def test_a_value_that_the_driver_cannot_send_is_a_data_error(scratch: AsyncEngine) -> None:
    beyond = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))  # in UTC, the year before the first
    with pytest.raises(DBAPIError) as refused:
        await transact(scratch, lambda connection: connection.exec_driver_sql("SELECT $1::timestamptz", (beyond,)))
    assert (sqlstate(refused.value), is_data_error(refused.value)) == ("22000", True)


async def test_an_unreachable_database_is_unavailable() -> None:
    engine = make_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/none", application_name="tests")
    for use in (reading, snapshot, transaction):
        with pytest.raises(DatabaseUnavailable):
            async with use(engine):
                pytest.fail("there is no database")
    await engine.dispose()


async def test_a_full_pool_is_busy(database_url: str) -> None:
    engine = make_engine(database_url, application_name="tests", pool_size=1, pool_wait_seconds=0.05)
    async with reading(engine):
        with pytest.raises(DatabaseBusy):
            async with reading(engine):
                pytest.fail("the pool has one connection")
    await engine.dispose()


async def test_a_snapshot_stands_still_and_cannot_write(scratch: AsyncEngine) -> None:
    async with snapshot(scratch) as connection:
        before = (await connection.execute(text("SELECT sum(n) FROM scratch"))).scalar_one()
        await transact(scratch, lambda writer: add(writer, 1))
        assert (await connection.execute(text("SELECT sum(n) FROM scratch"))).scalar_one() == before
    with pytest.raises(DatabaseUnavailable):
        async with snapshot(scratch) as connection:
            await add(connection, 1)
    async with transaction(scratch) as connection:  # the pool's connections are as they were
        await add(connection, 2)
    assert await numbers(scratch) == [1, 1]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("role", "rewards_app"),
        ("application_name", "tests"),
        ("statement_timeout", "2s"),
        ("lock_timeout", "500ms"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("timezone", "UTC"),
    ],
)
async def test_sessions_are_set_up(engine: AsyncEngine, setting: str, expected: str) -> None:
    for _ in range(2):  # also after the pool took the connection back
        async with transaction(engine) as connection:
            assert (await connection.execute(text(f"SHOW {setting}"))).scalar_one() == expected
