"""The test clock of a sandbox: it moves on from one moment to the next, and what falls due there happens first.

Each member's own time only goes forward, as ever. What a live worker does in passing happens here before the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.driver import fetch
from rewards.db.transact import reading, transact
from rewards.domain.errors import Refusal, RewardsError
from rewards.domain.periods import rfc3339
from rewards.features.sandbox import asked

MOMENTS_MAX: Final = 2_000
ADVANCE_MAX: Final = timedelta(days=400)
SETTLE_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.02

_READ: Final = "SELECT kind, clock_offset, clock_timestamp() + clock_offset AS now FROM program WHERE id = $1"

_SET: Final = """
UPDATE program SET clock_offset = greatest(clock_offset, $2::timestamptz - clock_timestamp())
WHERE id = $1 AND kind = 'sandbox'
"""

_NEXT: Final = """
SELECT min(moment) AS moment FROM (
    SELECT min(d.due_at) AS moment FROM due d
    WHERE d.program_id = $1 AND d.failure IS NULL AND d.due_at > $2 AND d.due_at <= $3
    UNION ALL
    SELECT min(l.due_at) FROM lot l
    WHERE l.program_id = $1 AND l.pending + l.available + l.held > 0 AND l.due_at > $2 AND l.due_at <= $3
    UNION ALL
    SELECT min(h.expires_at) FROM hold h
    WHERE h.program_id = $1 AND h.captured + h.released < h.amount AND h.expires_at > $2 AND h.expires_at <= $3
    UNION ALL
    SELECT min(b.closes_at) FROM leaderboard_period b
    WHERE b.program_id = $1 AND b.closed_at IS NULL AND b.closes_at > $2 AND b.closes_at <= $3
) moments
"""

_WAITING: Final = "SELECT count(*) AS waiting FROM due WHERE program_id = $1 AND failure IS NULL AND due_at <= $2"


class NotASandbox(Refusal):
    """The clock of a live program is the world's."""

    code = "not-a-sandbox"


class TooMuchFallsDue(Refusal):
    """More falls due than one step may hold. The clock stands at `now`; go on from there in smaller steps."""

    code = "too-much-falls-due"


class StillRunning(RewardsError):
    """What fell due is still being done elsewhere. The clock stands at that moment; ask again."""

    code: ClassVar[str] = "unavailable"
    retry_after_seconds: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock of a program shows, and how far it is ahead of the world's."""

    now: datetime
    offset: timedelta


@dataclass(frozen=True, slots=True)
class SandboxClock:
    """`run_due` does what is due now in a program and says how much that was; `run_inactive` ends what silence has ended."""

    engine: AsyncEngine
    run_due: tuple[Callable[[int], Awaitable[int]], ...]
    run_inactive: Callable[[int], Awaitable[int]]

    async def read(self, program_id: int) -> Reading:
        """Raises `NotASandbox`."""
        row = await self._one(_READ, program_id)
        if row.kind != "sandbox":
            raise NotASandbox("the clock of a live program cannot be set; make a sandbox with `rewards sandbox create`")
        return Reading(row.now, row.clock_offset)

    async def advance(self, program_id: int, by: timedelta, *, key: str | None = None) -> tuple[Reading, int, bool]:
        """Where the clock stands afterwards, at how many moments something fell due on the way, and whether it was there
        before: the same `key` is the same move, which goes on where it was interrupted.

        Raises `NotASandbox`, `TooMuchFallsDue`, `StillRunning`, and `IdentityConflict` where the key stands for another move.
        """
        began = await self.read(program_id)
        if key is None:
            return *await self._go(program_id, began.now, began.now + by), False
        seconds = round(by.total_seconds())
        move = await transact(
            self.engine,
            lambda connection: asked.move_of(connection, program_id, key, seconds=seconds, target=began.now + by),
        )
        if move.moments is not None:
            return began, move.moments, True
        reading, moments = await self._go(program_id, began.now, max(began.now, move.target))
        await transact(self.engine, lambda connection: asked.keep_moments(connection, program_id, key, moments))
        return reading, moments, False

    async def _go(self, program_id: int, began: datetime, target: datetime) -> tuple[Reading, int]:
        moment, moments = began, 0
        await self._settle(program_id, began)
        while (found := (await self._one(_NEXT, program_id, moment, target)).moment) is not None:
            if moments == MOMENTS_MAX:
                raise TooMuchFallsDue(
                    f"at {moments} moments something fell due, and more will; advance in smaller steps",
                    now=rfc3339(moment),
                )
            moment, moments = found, moments + 1
            await self._set(program_id, moment)
            await self._settle(program_id, moment)
        await self._set(program_id, target)
        await self._settle(program_id, target)
        await self.run_inactive(program_id)
        return await self.read(program_id), moments

    async def _settle(self, program_id: int, moment: datetime) -> None:
        """Until nothing that was due by `moment` waits, here or with another worker."""
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            while sum([await run(program_id) for run in self.run_due]):
                pass
            if not (await self._one(_WAITING, program_id, moment)).waiting:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise StillRunning("what fell due is still being done", now=rfc3339(moment))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _set(self, program_id: int, moment: datetime) -> None:
        async def move(connection: AsyncConnection) -> None:
            await fetch(connection, _SET, program_id, moment)

        await transact(self.engine, move)

    async def _one(self, sql: str, *arguments: Any) -> Any:
        async with reading(self.engine) as connection:
            [row] = await fetch(connection, sql, *arguments)
        return row
