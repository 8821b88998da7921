"""Boards that the program has no more: what Valkey holds of them goes, and their marks.

The board itself goes with its marks. Should a version come that has it again, as by a rollback, it is built from the scores,
among them those whose marks nobody has projected.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import transact
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.boards import gone_board, writing
from rewards.features.leaderboards.ranking import Ranking
from rewards.pipeline.load import rows
from rewards.pipeline.programs import UNREADABLE, NothingPublished, Programs

CLEARED_AT_ONCE_MAX: Final = 10_000
"""Marks."""


async def forget(engine: AsyncEngine, ranking: Ranking, programs: Programs, key: tuple[int, str]) -> bool:
    """Whether the board is gone for good or back again; False while another process has it, or nobody can tell.

    Raises VALKEY_ERRORS.
    """
    try:
        return await _forget(engine, ranking, programs, key)
    except NothingPublished:
        await _clear(engine, key)
        return True
    except UNREADABLE:
        return False


async def _forget(engine: AsyncEngine, ranking: Ranking, programs: Programs, key: tuple[int, str]) -> bool:
    program_id, board = key
    of = gone_board(await programs.get(program_id), board)
    async with writing(engine, of) as mine:
        if mine is None:
            return False
        # Nobody builds it meanwhile; whoever does so afterwards reads all scores.
        boards = (await programs.refresh(program_id)).program.boards
        if boards is None or board not in boards.by_key:
            await _clear(engine, key)
            await ranking.forget(of)
    return True


async def _clear(engine: AsyncEngine, key: tuple[int, str]) -> None:
    async def work(connection: AsyncConnection) -> int:
        return len(await rows(connection, queries.CLEAR_BOARD, *key, CLEARED_AT_ONCE_MAX))

    while await transact(engine, work) == CLEARED_AT_ONCE_MAX:
        pass
