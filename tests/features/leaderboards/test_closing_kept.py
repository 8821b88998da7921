"""Results of closed periods are kept for some time. Then readers are told so, and the worker drops them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Final

import pytest
from sqlalchemy import text
from tests.features.leaderboards.boards import Boards
from tests.features.leaderboards.test_closing import PROGRAM, balances, now, scored, settle, skip, to_morning
from tests.service import Live, create_database, live, service_settings

from rewards.db.transact import reading
from rewards.features.leaderboards.boards import Kept, board_id
from rewards.features.leaderboards.ranking import Ranking
from rewards.features.leaderboards.rebuilding import strangers

DAY_SECONDS: Final = 86_400
_numbers = itertools.count(1)


@pytest.fixture
async def board(database_url: str, redis_url: str) -> AsyncIterator[Live]:
    url = await create_database(database_url, f"leaderboard_kept_{next(_numbers)}")
    settings = service_settings(url, redis_url, board_retention_days=30)
    async with live(settings, PROGRAM.replace("TIES", "shared"), kind="sandbox") as running:
        await to_morning(running)
        yield running


async def upkeep(running: Live) -> None:
    while await running.worker._upkeep():
        pass


async def kept(running: Live) -> tuple[int, int]:
    """Periods and results."""
    sql = "SELECT (SELECT count(*) FROM leaderboard_period), (SELECT count(*) FROM leaderboard_result)"
    async with running.service.engine.connect() as connection:
        row = (await connection.execute(text(sql))).one()
        return row[0], row[1]


async def test_what_is_frozen_and_still_in_valkey_is_no_difference(board: Live) -> None:
    await scored(board, "ann", 10)
    await Boards(board).project()
    await skip(board, 2 * DAY_SECONDS)
    for _ in range(2):  # closed, then its scores are let go of
        await board.worker.closings.run(board.program_id)
        await skip(board, 2 * DAY_SECONDS)
    published = await board.service.programs.get(board.program_id)
    assert published.program.boards is not None
    daily = published.program.boards.by_key["daily"]
    shown = Kept(board_id(published, daily), daily)
    ranking = Ranking(board.service.valkey)
    async with reading(board.service.engine) as connection:
        assert [of async for members in ranking.members((await ranking.names(shown.id))[0]) for of in members] != []
        assert await strangers(connection, ranking, shown) == []


async def test_a_result_is_read_until_it_is_too_old_and_then_dropped(board: Live) -> None:
    day = (await now(board)).date().isoformat()
    await scored(board, "ann", 10)
    await scored(board, "bob", 5)
    await skip(board, 2 * DAY_SECONDS)
    async with asyncio.timeout(30):
        while not await board.worker.closings.run(board.program_id):
            pass
    await skip(board, 2 * DAY_SECONDS)
    await board.worker.closings.run(board.program_id)  # its scores are let go of

    async def read(path: str = "") -> int:
        answer = await board.client.get(f"/v1/leaderboards/daily{path}", params={"period": day})
        if answer.status_code == 404:
            assert answer.json()["code"] == "not-found"
            assert "30 days" in answer.json()["detail"]
        return answer.status_code

    assert await kept(board) == (2, 2)
    await skip(board, 25 * DAY_SECONDS)
    await upkeep(board)
    assert (await read(), await read("/members/ann"), await kept(board)) == (200, 200, (2, 2))
    await skip(board, 5 * DAY_SECONDS)
    assert (await read(), await read("/members/ann")) == (404, 404)
    await upkeep(board)
    assert await kept(board) == (1, 2)  # nobody has paid the prizes yet; the other board has none
    await settle(board)
    assert await balances(board, "ann", "bob") == [101, 10]
    await upkeep(board)
    assert (await read(), await kept(board)) == (404, (0, 0))
    current = await board.client.get("/v1/leaderboards/daily", params={"period": "1999-01-01"})
    assert current.status_code == 404
