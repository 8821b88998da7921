"""Statements straight to the driver belong to SQLAlchemy's transaction, and fail as its own do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.driver import fetch
from rewards.db.engine import make_engine
from rewards.db.transact import is_data_error, reading, sqlstate, transact

BEGUN_BY = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database_url, application_name="tests", role=None, pool_size=2)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS straight (n int PRIMARY KEY)")
        await connection.exec_driver_sql("TRUNCATE straight")
    yield engine
    await engine.dispose()


async def stored(engine: AsyncEngine) -> list[int]:
    async with reading(engine) as connection:
        return [row.n for row in await fetch(connection, "SELECT n FROM straight ORDER BY n")]


async def test_columns_are_attributes_whichever_way_a_statement_goes(engine: AsyncEngine) -> None:
    async def work(connection: AsyncConnection) -> list[tuple[int, str]]:
        found = [await fetch(connection, "SELECT $1::int AS number, 'x' AS name", number) for number in (1, 2)]
        return [(row.number, row.name) for rows in found for row in rows]

    assert await transact(engine, work) == [(1, "x"), (2, "x")]


async def test_what_was_written_straight_is_committed_and_rolled_back_with_the_rest(engine: AsyncEngine) -> None:
    async def work(connection: AsyncConnection, last: int) -> None:
        await fetch(connection, BEGUN_BY)
        await fetch(connection, "INSERT INTO straight VALUES ($1)", last - 1)
        if last > 10:
            raise LookupError
        await fetch(connection, "INSERT INTO straight VALUES ($1)", last)

    await transact(engine, lambda connection: work(connection, 2))
    with pytest.raises(LookupError):
        await transact(engine, lambda connection: work(connection, 20))
    assert await stored(engine) == [1, 2]


@pytest.mark.parametrize(
    ("sql", "argument", "state"),
    [
        ("INSERT INTO straight VALUES ($1), ($1)", 1, "23505"),
        ("SELECT 1 / $1::int", 0, "22012"),
        ("SELECT $1::int", "no number", "22000"),  # the driver's own refusal
    ],
)
async def test_a_mistake_is_told_as_sqlalchemy_would(
    engine: AsyncEngine, sql: str, argument: object, state: str
) -> None:
    async def work(connection: AsyncConnection) -> None:
        await fetch(connection, BEGUN_BY)
        await fetch(connection, sql, argument)

    with pytest.raises(DBAPIError) as refused:
        await transact(engine, work)
    assert (sqlstate(refused.value), is_data_error(refused.value)) == (state, True)
    assert await stored(engine) == []


async def test_a_session_that_ends_between_two_statements_is_replaced(engine: AsyncEngine) -> None:
    tries: list[int] = []

    async def work(connection: AsyncConnection) -> None:
        [mine] = await fetch(connection, BEGUN_BY)
        tries.append(mine.pid)
        await fetch(connection, "INSERT INTO straight VALUES (7)")
        if len(tries) == 1:
            async with reading(engine) as other:
                await fetch(other, "SELECT pg_terminate_backend($1)", mine.pid)
        await fetch(connection, "INSERT INTO straight VALUES (8)")

    await transact(engine, work)
    assert len(set(tries)) == 2
    assert await stored(engine) == [7, 8]
