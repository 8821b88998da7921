"""Commands that the database refuses to store: kept aside for people, so that they spoil no other and are not lost."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import transact
from rewards.domain.ids import bucket_of
from rewards.pipeline.submission import Submission

KEEP: Final = """
INSERT INTO dead_letter (program_id, bucket, member_id, command, content, sqlstate, recorded_at)
VALUES ($1, $2, $3, $4, $5, $6, now())
"""


async def keep_dead_letter(engine: AsyncEngine, item: Submission, sqlstate: str | None) -> None:
    """Stores the command as bytes: what PostgreSQL will not take as text or number, it takes like this."""
    content = msgspec.msgpack.encode(asdict(item.command, dict_factory=_plain), enc_hook=str)
    member = item.member_id
    row = (item.program_id, bucket_of(member), member, type(item.command).__name__, content, sqlstate)
    await transact(engine, lambda connection: connection.exec_driver_sql(KEEP, row))


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Moments as text: one that the database cannot store may be one that no encoder can count in UTC."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields}
