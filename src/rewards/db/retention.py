"""Retention: history that may go is dropped by the month, whole partitions at a time. The ledger is never touched."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.partitions import month_start

TRACES_PER_STEP: Final = 5_000

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
        if _end(found) < now - timedelta(days=keep[found["table"]]):
            await connection.execute(text(f"DROP TABLE {name}"))
            dropped.append(name)
    return dropped


async def forget_traces(connection: AsyncConnection, now: datetime, *, trace_days: int) -> int:
    """Empties some traces of events whose whole month is older than `trace_days`; returns how many, zero when none are left.

    Done as the owner of the tables: to the service history never changes.
    """
    names = (
        await connection.execute(text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"))
    ).scalars()
    for name in sorted(names):
        found = _PARTITION.fullmatch(name)
        if found is None or found["table"] != "event" or _end(found) >= now - timedelta(days=trace_days):
            continue
        emptied = await connection.execute(
            text(
                f"UPDATE {name} SET trace = NULL WHERE ctid IN "
                f"(SELECT ctid FROM {name} WHERE trace IS NOT NULL LIMIT {TRACES_PER_STEP})"
            )
        )
        if emptied.rowcount:
            return int(emptied.rowcount)
    return 0


def _end(found: re.Match[str]) -> datetime:
    """The first instant after the month of a partition."""
    return month_start(datetime(int(found["year"]), int(found["month"]), 1, tzinfo=UTC), 1)
