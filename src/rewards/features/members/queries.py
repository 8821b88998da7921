"""Reading members: what is not part of deciding."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.ids import bucket_of
from rewards.pipeline.load import rows

CREATED_AT: Final = "SELECT m.created_at FROM member m WHERE m.program_id = $1 AND m.bucket = $2 AND m.member_id = $3"


async def created_at(connection: AsyncConnection, program_id: int, member: UUID) -> datetime:
    """When the first command of an existing member came."""
    [row] = await rows(connection, CREATED_AT, program_id, bucket_of(member), member)
    moment: datetime = row.created_at
    return moment
