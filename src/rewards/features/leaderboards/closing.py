"""Closing periods of leaderboards: the result is frozen exactly once, and its prizes become commands to the members.

Freezing, closing and arranging the prizes are one transaction, behind the lock of the period's row: of two workers the
second finds it done, and one that dies has done nothing. Each prize is a command with a key of its own, so it is paid once
however often it is tried.

No event locks the period. A late event counts while the program's clock shows less than the period's end and the board's
grace; from then on every command refuses it by the clock alone. What may still be under way is whoever read the clock before:
closing waits until all that is written (`all_written`).

A closing counts only if its version is published when it commits: publishing waits for one that is about to, so a version
that gives late events more time knows what has closed. The same goes for what leaves a board that counts something else: a
worker that has not heard of the newest version changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.driver import fetch
from rewards.db.transact import reading, transact
from rewards.domain.program.board import Board, Ties
from rewards.features.leaderboards import closing_queries as queries
from rewards.pipeline.programs import Programs, Published
from rewards.pipeline.settling import all_written

log = structlog.get_logger("rewards.worker")

CLEARED_AFTER_SECONDS: Final = 86_400.0
"""Scores of a closed period stay this long, for readers that were under way."""
PAGE_SCORES: Final = 10_000


class Superseded(Exception):
    """Another version was published meanwhile than the one that was gone by. Nothing was changed."""


async def _nothing(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Closings:
    """Closes what is due. `due_written` is called when prizes were arranged.

    `reached` is told of each step of a closing (`barrier`, `frozen`, `prizes`); whatever it raises ends the closing there.
    """

    engine: AsyncEngine
    programs: Programs
    due_written: Callable[[], None] = lambda: None
    reached: Callable[[str], Awaitable[None]] = _nothing

    async def run(self, program_id: int) -> int:
        """Closes the periods of a program that are due; returns how many this call has closed."""
        [program] = await self._read(queries.REVISION, program_id)
        published = await self.programs.refresh(program_id, at_least=program.revision)
        found = published.program.boards
        try:
            closed = await self._run(published, found.by_key) if found is not None else 0
        except Superseded:
            return 0
        if not closed:
            await self._clear(program_id)
        return closed

    async def _run(self, published: Published, boards: Mapping[str, Board]) -> int:
        await self._notice(published, boards)
        await self._follow_changes(published, boards)
        due = await self._read(queries.DUE_PERIODS, published.program_id, list(boards))
        closed = 0
        if due and await all_written(self.engine, published):
            await self.reached("barrier")
            for row in due:
                closed += await self._close(published, boards[row.board], row.period)
        return closed

    async def _notice(self, published: Published, boards: Mapping[str, Board]) -> None:
        """Makes the rows of periods in which somebody scored, and moves closings to where the published version has them."""
        program_id = published.program_id
        new = []
        for row in await self._read(queries.NEW_PERIODS, program_id):
            board = boards.get(row.board)
            period = board.schedule.named(row.period) if board is not None else None
            if board is not None and period is not None:
                definition = board.id
                if period.ends_at is not None and board.is_sealed(period.ends_at):
                    [last] = await self._read(queries.LAST_COUNTED, program_id, board.key, period.key) or [None]
                    definition = last.definition if last is not None else board.id
                closes_at = board.closes_at(period)
                new.append((board.key, period.key, definition, period.starts_at, period.ends_at, closes_at))
        keys = list(boards)
        graces = [board.grace.total_seconds() for board in boards.values()]
        sealed = [board.sealed_until for board in boards.values()]

        async def work(connection: AsyncConnection) -> None:
            if new:
                await fetch(connection, queries.ADD_PERIODS, program_id, *map(list, zip(*new, strict=True)))
            await fetch(connection, queries.MOVE_CLOSINGS, program_id, keys, graces, sealed, published.revision)

        await transact(self.engine, work)

    async def _follow_changes(self, published: Published, boards: Mapping[str, Board]) -> None:
        """Where a board counts something else since a new version, what it counted before leaves the periods that went on."""
        program_id = published.program_id
        definitions = [board.id for board in boards.values()]
        sealed = [board.sealed_until for board in boards.values()]
        changed = await self._read(queries.CHANGED_PERIODS, program_id, list(boards), definitions, sealed)
        if not changed or not await all_written(self.engine, published):
            return  # an event that is being decided by the version before may still write
        for row in changed:
            board = boards[row.board]
            period = board.schedule.named(row.period)
            arguments = (program_id, board.key, row.period)
            while await self._change(published, queries.DROP_OUTDATED, *arguments, board.id, PAGE_SCORES):
                pass
            if period is not None:
                closes_at = board.closes_at(period)
                await self._change(published, queries.REDEFINE, *arguments, board.id, period.ends_at, closes_at)
            else:
                await self._change(published, queries.FORGET_PERIOD, *arguments)
            log.info("leaderboard_starts_anew", program_id=program_id, leaderboard=board.key, period=row.period)

    async def _close(self, published: Published, board: Board, period: str) -> int:
        program_id = published.program_id
        prizes = board.prizes

        async def work(connection: AsyncConnection) -> int | None:
            await fetch(connection, queries.PATIENCE)
            locked = await fetch(connection, queries.LOCK_PERIOD, program_id, board.key, period, published.revision)
            if not locked:
                return None
            sign = 1.0 if board.ascending else -1.0
            first = board.ties is Ties.FIRST
            [frozen] = await fetch(
                connection,
                queries.FREEZE,
                program_id,
                board.key,
                period,
                sign,
                first,
                locked[0].now,
                _counted(board, locked[0]),
                timeout_seconds=queries.FREEZE_SECONDS,
            )
            await self.reached("frozen")
            if prizes:
                await fetch(
                    connection,
                    queries.ARRANGE_PRIZES,
                    program_id,
                    board.key,
                    period,
                    [prize.number for prize in prizes],
                    [prize.first for prize in prizes],
                    [prize.last for prize in prizes],
                    [prize.percent for prize in prizes],
                    locked[0].closes_at,
                    timeout_seconds=queries.FREEZE_SECONDS,
                )
            await self.reached("prizes")
            await _hold(connection, published)
            members: int = frozen.members
            return members

        try:
            members = await transact(self.engine, work)
        except Superseded:
            return 0
        if members is None:
            return 0
        log.info("leaderboard_closed", program_id=program_id, leaderboard=board.key, period=period, members=members)
        if prizes:
            self.due_written()
        return 1

    async def _clear(self, program_id: int) -> None:
        """Lets go of the scores of periods that were closed a while ago: their results stay."""
        for row in await self._read(queries.CLEARABLE, program_id, CLEARED_AFTER_SECONDS):
            arguments = (program_id, row.board, row.period)
            while await self._write(queries.CLEAR_SCORES, *arguments, PAGE_SCORES):
                pass
            await self._write(queries.CLEARED, *arguments)

    async def _read(self, sql: str, *arguments: Any) -> Any:
        async with reading(self.engine) as connection:
            return await fetch(connection, sql, *arguments)

    async def _write(self, sql: str, *arguments: Any) -> Any:
        return await transact(self.engine, lambda connection: fetch(connection, sql, *arguments))

    async def _change(self, published: Published, sql: str, *arguments: Any) -> Any:
        """Writes what no other version may be published under. Raises `Superseded`."""

        async def work(connection: AsyncConnection) -> Any:
            await _hold(connection, published)
            return await fetch(connection, sql, *arguments)

        return await transact(self.engine, work)


async def _hold(connection: AsyncConnection, published: Published) -> None:
    """Until the transaction ends, no other version is published. Raises `Superseded` if one has been."""
    if not await fetch(connection, queries.STILL_PUBLISHED, published.program_id, published.revision):
        raise Superseded


def _counted(board: Board, period: Any) -> str:
    """By which definition a period is ranked: the board's, unless it had ended when the board began to count by that."""
    since = board.sealed_until
    ruling: str = board.id if since is not None and period.ends_at > since else period.definition
    return ruling
