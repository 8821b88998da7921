"""Marks that have become too many become one, of the whole board: it is to be built again from the scores.

Of a Valkey that is away for hours every batch leaves a mark a board, and what waits must not grow without end. A mark may be
deleted while that of the whole board stands: whatever it told of was committed before, and the board is built after. Only a
build that began after the last deletion takes the mark of the whole board away.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import transact
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.boards import writing
from rewards.features.leaderboards.ranking import BoardId
from rewards.pipeline.load import rows

log = structlog.get_logger("rewards.boards")

FOLDED_AT_ONCE_MAX: Final = 10_000
"""Marks that one statement deletes."""


async def fold(engine: AsyncEngine, board: BoardId) -> None:
    """Deletes all marks of a board for one of the whole; leaves them to another process that is writing the board."""
    key = (board.program_id, board.key)
    async with writing(engine, board) as mine:
        if mine is None:
            return
        await transact(engine, lambda connection: rows(connection, queries.MARK_WHOLE, *key))
        count = 0
        while some := await transact(engine, lambda connection: _clear_some(connection, key)):
            count += some
            if some < FOLDED_AT_ONCE_MAX:
                break
    log.warning("board_to_be_rebuilt", board=board.tag, marks=count)


async def _clear_some(connection: AsyncConnection, key: tuple[int, str]) -> int:
    return len(await rows(connection, queries.CLEAR_MARKED, *key, FOLDED_AT_ONCE_MAX))


async def folded_at(connection: AsyncConnection, board: BoardId) -> datetime | None:
    """When marks were last put under one of the whole board; None where there is none."""
    found = await rows(connection, queries.WHOLE, board.program_id, board.key)
    return found[0].marked_at if found else None


async def clear_whole(engine: AsyncEngine, board: BoardId, folded: datetime) -> None:
    """The board was built since; what was folded after `folded` is still to come."""
    await transact(
        engine, lambda connection: rows(connection, queries.CLEAR_WHOLE, board.program_id, board.key, folded)
    )
