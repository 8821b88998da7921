"""Tidying wallets: members with points or holds that fell due get a command, which posts it.

Nothing depends on when this runs: every command posts what is due first, and reads project it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import reading
from rewards.domain.commands import Due, MemberRef
from rewards.domain.errors import RewardsError
from rewards.domain.program.currency import (
    ExpiresInactive,
)
from rewards.pipeline.lanes import Lanes
from rewards.pipeline.load import rows
from rewards.pipeline.programs import Programs
from rewards.pipeline.submission import Submission

SWEEP_MAX: Final = 500

DUE_WALLETS: Final = """
WITH p AS MATERIALIZED (SELECT id, now() + clock_offset AS now FROM program WHERE $2::int IS NULL OR id = $2)
SELECT DISTINCT program_id, member_id FROM (
    (SELECT l.program_id, l.member_id FROM p CROSS JOIN LATERAL (
        SELECT l.program_id, l.member_id, row_number() OVER (ORDER BY l.due_at) AS turn FROM lot l
        WHERE l.program_id = p.id AND l.due_at <= p.now ORDER BY l.due_at LIMIT $1
     ) l ORDER BY l.turn LIMIT $1)
    UNION ALL
    (SELECT h.program_id, h.member_id FROM p CROSS JOIN LATERAL (
        SELECT h.program_id, h.member_id, row_number() OVER (ORDER BY h.expires_at) AS turn FROM hold h
        WHERE h.program_id = p.id AND h.captured + h.released < h.amount AND h.expires_at <= p.now
        ORDER BY h.expires_at LIMIT $1
     ) h ORDER BY h.turn LIMIT $1)
) ready
"""
"""Each program by its own clock, so that none reads what is still to come in another. Programs take turns, and what was due
first comes first."""

INACTIVE_WALLETS: Final = """
SELECT a.bucket, a.member_id FROM account a JOIN program p ON p.id = a.program_id
WHERE a.program_id = $1 AND a.currency = $2 AND a.available + a.pending > 0 AND (a.bucket, a.member_id) > ($3, $4)
  AND (a.last_activity_at AT TIME ZONE $5 + make_interval(months => $6)) AT TIME ZONE $5 + make_interval(secs => $7)
      <= now() + p.clock_offset
ORDER BY a.bucket, a.member_id LIMIT $8
"""
"""Months are those of the program's zone, as when they expire."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Posts what fell due. `run` returns how many members it touched."""

    engine: AsyncEngine
    programs: Programs
    lanes: Lanes

    async def run(self, program_id: int | None = None) -> int:
        """Of one program, or of all."""
        async with reading(self.engine) as connection:
            found = await rows(connection, DUE_WALLETS, SWEEP_MAX, program_id)
        return await self._submit({(row.program_id, row.member_id) for row in found})

    async def run_inactive(self, program_id: int) -> int:
        """All wallets whose points expire for want of activity: found by a scan, so asked rarely."""
        program = (await self.programs.get(program_id)).program
        touched = 0
        for currency in program.currencies.values():
            if isinstance(currency.expires, ExpiresInactive):
                touched += await self._run_inactive(program_id, program.zone.key, currency.key, currency.expires)
        return touched

    async def _run_inactive(self, program_id: int, zone: str, currency: str, expiry: ExpiresInactive) -> int:
        seconds = expiry.length.total_seconds()
        bucket, member, touched = -1, UUID(int=0), 0
        while True:
            async with reading(self.engine) as connection:
                found = await rows(
                    connection,
                    INACTIVE_WALLETS,
                    program_id,
                    currency,
                    bucket,
                    member,
                    zone,
                    expiry.months,
                    seconds,
                    SWEEP_MAX,
                )
            touched += await self._submit({(program_id, row.member_id) for row in found})
            if len(found) < SWEEP_MAX:
                return touched
            bucket, member = found[-1].bucket, found[-1].member_id

    async def _submit(self, members: set[tuple[int, UUID]]) -> int:
        if not members:
            return 0
        # The member is known by its row alone, and posting what is due is never a repeat.
        results = await self.lanes.submit_all(
            [Submission(program_id, MemberRef("user", ""), member, None, b"", Due()) for program_id, member in members]
        )
        return sum(not isinstance(result, RewardsError) for result in results)
