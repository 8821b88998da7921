"""The boards of the published programs, as they are kept in Valkey."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from secrets import token_hex
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import reading
from rewards.domain.commands import MemberRef
from rewards.domain.ids import keyed_hash
from rewards.domain.program.board import Board
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.ranking import BoardId, Score, fence_of
from rewards.pipeline.load import rows
from rewards.pipeline.programs import UNREADABLE, Programs, Published

log = structlog.get_logger("rewards.boards")

REALM_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Kept:
    """A board of a program's published version."""

    id: BoardId
    board: Board


def board_id(published: Published, board: Board) -> BoardId:
    """Where the board is kept."""
    realm = _realm(published.identity.secret)
    return BoardId(published.program_id, board.key, ascending=board.ascending, definition=board.id, realm=realm)


def gone_board(published: Published, key: str) -> BoardId:
    """Where a board was kept that the program has no more."""
    return BoardId(published.program_id, key, realm=_realm(published.identity.secret))


def _number(board: BoardId) -> int:
    """Of the board's advisory lock. Boards that share a number by chance take turns, which is all that it costs."""
    number = zlib.crc32(board.tag.encode())
    return number - (1 << 32 if number >= 1 << 31 else 0)


@lru_cache(maxsize=1024)
def _realm(secret: bytes) -> str:
    return keyed_hash(secret, b"boards").hex()[:REALM_LENGTH] + "-"


async def known_boards(
    connection: AsyncConnection, programs: Programs, before: Mapping[tuple[int, str], Kept]
) -> dict[tuple[int, str], Kept]:
    """Every board that is published now, by program and key; of a program that cannot be read, those known `before`."""
    found: dict[tuple[int, str], Kept] = {}
    for row in await rows(connection, queries.PUBLISHED):
        try:
            published = await programs.refresh(row.id, at_least=row.revision)
        except UNREADABLE as error:
            log.warning("program_unreadable", program_id=row.id, error=type(error).__name__)
            found |= {key: board for key, board in before.items() if key[0] == row.id}
            continue
        boards = published.program.boards
        for key, board in boards.by_key.items() if boards is not None else ():
            found[row.id, key] = Kept(board_id(published, board), board)
    return found


@asynccontextmanager
async def writing(engine: AsyncEngine, board: BoardId) -> AsyncIterator[tuple[AsyncConnection, str] | None]:
    """The right to write one board, as a connection and the writer's token; None while another process has it."""
    async with writing_all(engine, [board]) as (connection, mine):
        yield (connection, mine[board]) if board in mine else None


@asynccontextmanager
async def writing_all(
    engine: AsyncEngine, boards: Sequence[BoardId]
) -> AsyncIterator[tuple[AsyncConnection, Mapping[BoardId, str]]]:
    """The right to write those of the boards that no other process has, as a connection and the writer's token for each.

    PostgreSQL lets one in at a time. The token is for a writer that lost its connection, and with it the right, and
    does not know yet: its token is older than that of whoever came after it, and Valkey refuses what it sends.
    """
    numbers = [_number(board) for board in boards]
    held = numbers
    async with reading(engine) as connection:
        try:
            taken = [row for row in await rows(connection, queries.TRY_LOCKS, queries.LOCK_CLASS, numbers) if row.mine]
            held = [numbers[row.position - 1] for row in taken]
            yield connection, {boards[row.position - 1]: fence_of(row.now, token_hex(4)) for row in taken}
        finally:
            await _unlock(connection, held)


async def _unlock(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Locks are the session's: one that does not answer, or has failed, is ended, so that the pool keeps no lock."""
    if connection.invalidated:
        return
    try:
        await rows(connection, queries.UNLOCK, queries.LOCK_CLASS, numbers)
    except (DBAPIError, OSError) as error:
        await connection.invalidate(error)


def score_of(row: Any) -> Score:
    """A row of scores as the board holds it."""
    return Score(row["member_id"], row["score"], row["achieved_at"], MemberRef.text(row["kind"], row["external_id"]))
