"""Reading what members have achieved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.ids import bucket_of
from rewards.pipeline.load import rows

ACHIEVED: Final = """
SELECT a.kind, a.key, a.level, a.instance, a.achieved_at, a.revoked_at, a.announced
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
JOIN achievement a ON a.program_id = $1 AND a.bucket = k.bucket AND a.member_id = k.member_id
WHERE a.kind = ANY($4::text[])
ORDER BY a.achieved_at DESC, a.kind, a.key, a.level DESC, a.instance DESC LIMIT $5
"""
ACHIEVED_MAX: Final = 5_000


class Achieved(NamedTuple):
    """One row of what a member has achieved."""

    kind: str
    key: str
    level: int
    instance: int
    achieved_at: datetime
    revoked_at: datetime | None
    announced: bool


async def achieved(
    connection: AsyncConnection, program_id: int, members: Sequence[UUID], kinds: Sequence[str]
) -> list[Achieved]:
    """What these members (one, and those merged into it) have achieved, newest first, at most `ACHIEVED_MAX`."""
    buckets = [bucket_of(member) for member in members]
    found = await rows(connection, ACHIEVED, program_id, buckets, list(members), list(kinds), ACHIEVED_MAX)
    return [Achieved(*row) for row in found]
