"""Retention: history that may go is dropped by the month, whole partitions at a time. The ledger is never touched."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.partitions import month_start

_PARTITION: Final = re.compile(r"(?P<table>event|answer|outbox)_(?P<year>\d{4})_(?P<month>\d{2})")


async def drop_expired(connection: AsyncConnection, now: datetime, *, event_days: int, outbox_days: int) -> list[str]:
    """Drops partitions of events, answers and outbox whose whole month is older than their retention; returns their names.

    Dedup rows stay: an event that comes again after that answers `effects_expired` and pays nothing.
    """
    keep = {"event": event_days, "answer": event_days, "outbox": outbox_days}
    names = (
        await connection.execute(text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"))
    ).scalars()
    dropped = []
    for name in sorted(names):
        found = _PARTITION.fullmatch(name)
        if found is None:
            continue
        end = month_start(datetime(int(found["year"]), int(found["month"]), 1, tzinfo=UTC), 1)
        if end < now - timedelta(days=keep[found["table"]]):
            await connection.execute(text(f"DROP TABLE {name}"))
            dropped.append(name)
    return dropped
