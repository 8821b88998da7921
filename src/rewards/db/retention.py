"""Retention: history that may go is dropped by the month, whole partitions at a time. The ledger is never touched."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.partitions import month_start
from rewards.domain.ids import id_floor

PAGES_PER_STEP: Final = 500
"""Some thousands of events."""

_PARTITION: Final = re.compile(r"(?P<table>event|answer|outbox)_(?P<year>\d{4})_(?P<month>\d{2})")
_FORGOTTEN: Final = "traces forgotten"
_PROGRESS: Final = re.compile(r"traces forgotten in pages before (?P<next>\d+) of (?P<pages>\d+) of file (?P<file>\d+)")
"""How far a partition is, kept as its comment: in the transaction that gets it there, without a table of its own."""

_OLD_EVENTS: Final = text("""
SELECT c.relname AS name, pg_relation_filenode(c.oid) AS file, obj_description(c.oid, 'pg_class') AS progress,
       pg_relation_size(c.oid) / current_setting('block_size')::int AS pages
FROM pg_class c
WHERE c.relispartition AND c.relkind = 'r' AND c.relname LIKE 'event\\_%'
ORDER BY c.relname
""")

_FORGET_TAKEN_BACK: Final = text("DELETE FROM taken_back_event WHERE event_id < :end")
"""An event that is recorded no more cannot be taken back again."""


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
            if found["table"] == "event":
                await connection.execute(_FORGET_TAKEN_BACK, {"end": id_floor(_end(found))})
    return dropped


async def forget_traces(connection: AsyncConnection, now: datetime, *, trace_days: int) -> int:
    """Empties some traces of events whose whole month is older than `trace_days`; returns how many, zero when none are left.

    Every page of a partition is read once, in order, however many steps that takes: nothing is added to a month that has
    gone, and what an update writes has no trace. Done as the owner of the tables: to the service history never changes.
    """
    if not (await connection.execute(text("SELECT pg_try_advisory_xact_lock(hashtext('forget traces'))"))).scalar_one():
        return 0  # another worker is at it
    for partition in (await connection.execute(_OLD_EVENTS)).all():
        found = _PARTITION.fullmatch(partition.name)
        if found is None or partition.progress == _FORGOTTEN or _end(found) >= now - timedelta(days=trace_days):
            continue
        emptied = await _forget_some(connection, partition)
        if emptied:
            return emptied
    return 0


async def _forget_some(connection: AsyncConnection, partition: Any) -> int:
    """Goes on where the last step stopped, up to the pages that hold some traces; returns how many these were."""
    page, pages = 0, partition.pages
    reached = _PROGRESS.fullmatch(partition.progress or "")
    if reached is not None and int(reached["file"]) == partition.file:  # else the table was written anew
        page, pages = int(reached["next"]), int(reached["pages"])
    emptied = 0
    while page < pages and not emptied:
        last = min(page + PAGES_PER_STEP, pages)
        done = await connection.execute(
            text(
                f"UPDATE {partition.name} SET trace = NULL"
                f" WHERE ctid >= '({page},0)' AND ctid < '({last},0)' AND trace IS NOT NULL"
            )
        )
        emptied, page = done.rowcount, last
    told = _FORGOTTEN if page >= pages else f"{_FORGOTTEN} in pages before {page} of {pages} of file {partition.file}"
    await connection.execute(text(f"COMMENT ON TABLE {partition.name} IS '{told}'"))
    return emptied


def _end(found: re.Match[str]) -> datetime:
    """The first instant after the month of a partition."""
    return month_start(datetime(int(found["year"]), int(found["month"]), 1, tzinfo=UTC), 1)
