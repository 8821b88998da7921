"""What translating calls must know of members: whether they are there, and what they were merged into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import reading
from rewards.domain.commands import MemberRef
from rewards.domain.ids import bucket_of
from rewards.pipeline.load import rows

FORWARDS_MAX: Final = 8

STANDINGS: Final = """
SELECT m.member_id, m.kind, m.external_id, m.merged_into, m.erased_at
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
JOIN member m ON m.program_id = $1 AND m.bucket = k.bucket AND m.member_id = k.member_id
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A member that exists. `ref` is None when it was erased."""

    ref: MemberRef | None
    merged_into: UUID | None


async def standings(engine: AsyncEngine, program_id: int, members: Iterable[UUID]) -> dict[UUID, Standing]:
    """Those of the members that exist, and all that they were merged into, one after the other."""
    found: dict[UUID, Standing] = {}
    wanted = set(members)
    for _ in range(FORWARDS_MAX):
        if not wanted:
            break
        async with reading(engine) as connection:
            read = await rows(connection, STANDINGS, program_id, [bucket_of(member) for member in wanted], list(wanted))
        for row in read:
            erased = row.external_id is None or row.erased_at is not None
            ref = None if erased else MemberRef(row.kind, row.external_id)
            found[row.member_id] = Standing(ref, row.merged_into)
        wanted = {row.merged_into for row in read if row.merged_into is not None} - found.keys()
    return found
