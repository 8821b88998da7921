"""Reading who was taken off leaderboards."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.driver import fetch
from rewards.db.transact import reading
from rewards.domain.commands import MemberRef

REMOVED_MAX: Final = 1_000
REMOVED_MEMBERS: Final = """
SELECT m.kind, m.external_id, r.reason, r.actor, r.removed_at
FROM leaderboard_removal r
JOIN member m ON m.program_id = r.program_id AND m.bucket = r.bucket AND m.member_id = r.member_id
WHERE r.program_id = $1 AND r.board = $2 AND m.external_id IS NOT NULL AND m.merged_into IS NULL
ORDER BY r.removed_at DESC, r.member_id LIMIT $3
"""


class Removed(NamedTuple):
    """A member off a board, why, since when, and by whom."""

    ref: MemberRef
    reason: str
    actor: str
    removed_at: datetime


async def removed_members(engine: AsyncEngine, program_id: int, board: str) -> list[Removed]:
    """Those that were removed last, at most `REMOVED_MAX`."""
    async with reading(engine) as connection:
        found = await fetch(connection, REMOVED_MEMBERS, program_id, board, REMOVED_MAX)
    return [Removed(MemberRef(row.kind, row.external_id), row.reason, row.actor, row.removed_at) for row in found]
