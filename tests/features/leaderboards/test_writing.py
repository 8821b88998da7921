"""The right to write boards is given back, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.features.leaderboards.boards import Boards

from rewards.db.driver import execute
from rewards.db.transact import DatabaseUnavailable
from rewards.features.leaderboards.boards import writing, writing_all
from rewards.features.leaderboards.ranking import BoardId


async def is_free(boards: Boards, *which: BoardId) -> bool:
    """Whether another session may write all of them."""
    engine = boards.live.service.engine
    async with engine.connect(), engine.connect(), writing_all(engine, which) as (_, mine):
        return len(mine) == len(which)


async def nothing(_: AsyncConnection) -> None:
    return None


async def fail_inside_a_transaction(connection: AsyncConnection) -> None:
    await execute(connection, "BEGIN")
    await execute(connection, "SELECT 1 / 0")


async def lose_the_session(connection: AsyncConnection) -> None:
    await execute(connection, "RESET ROLE")
    await execute(connection, "SELECT pg_terminate_backend(pg_backend_pid())")


async def defect(_: AsyncConnection) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("work", "raised"),
    [
        (nothing, ()),
        (fail_inside_a_transaction, DBAPIError),
        (lose_the_session, DatabaseUnavailable),
        (defect, ZeroDivisionError),
    ],
)
async def test_the_right_is_given_back(
    boards: Boards, work: Callable[[AsyncConnection], Awaitable[None]], raised: type[Exception] | tuple[()]
) -> None:
    board = BoardId(boards.live.program_id, "right")
    try:
        async with writing(boards.live.service.engine, board) as mine:
            assert mine is not None
            assert not await is_free(boards, board)
            await work(mine[0])
    except raised:
        assert work is not nothing
    assert await is_free(boards, board)
