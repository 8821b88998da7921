"""Retention: history that may go is dropped by the month, whole partitions at a time; what is not kept by the month, some
rows at a time. The ledger is never touched."""

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
RESULTS_PER_STEP: Final = 10_000
TAKEN_BACK_PER_STEP: Final = 5_000
JOBS_PER_STEP: Final = 1_000

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

_OLDEST_EVENTS: Final = text(
    "SELECT min(relname) FROM pg_class WHERE relispartition AND relname ~ '^event_[0-9]{4}_[0-9]{2}$'"
)

_FORGET_TAKEN_BACK: Final = text("""
DELETE FROM taken_back_event
WHERE ctid = ANY(ARRAY(
    SELECT t.ctid FROM taken_back_event t WHERE t.event_id < :before LIMIT :rows FOR UPDATE SKIP LOCKED
))
""")


# A prize that could not be paid is set aside, due at no time.
_OLD_PERIOD: Final = text("""
SELECT p.program_id, p.board, p.period
FROM leaderboard_period p JOIN program o ON o.id = p.program_id
WHERE p.closed_at <= clock_timestamp() + o.clock_offset - make_interval(days => :days) AND p.cleared_at IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM due d
      WHERE d.program_id = p.program_id AND d.name = 'prize' AND (d.due_at <= p.closed_at OR d.due_at = 'infinity')
        AND d.payload ->> 'board' = p.board AND d.payload ->> 'period' = p.period
  )
LIMIT 1 FOR UPDATE OF p SKIP LOCKED
""")

_DROP_RESULTS: Final = text("""
DELETE FROM leaderboard_result
WHERE ctid = ANY(ARRAY(
    SELECT r.ctid FROM leaderboard_result r
    WHERE r.program_id = :program_id AND r.board = :board AND r.period = :period LIMIT :rows
))
""")

_DROP_PERIOD: Final = text(
    "DELETE FROM leaderboard_period WHERE program_id = :program_id AND board = :board AND period = :period"
)

_DROP_JOBS: Final = text("""
DELETE FROM job_state
WHERE (program_id, job) IN (
    SELECT j.program_id, j.job FROM job_state j
    WHERE j.job LIKE 'backfill:%' AND j.state ->> 'state' IN ('done', 'cancelled')
      AND j.updated_at <= :before
    LIMIT :rows FOR UPDATE SKIP LOCKED
)
""")


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


async def forget_taken_back(connection: AsyncConnection) -> int:
    """Forgets of some events that they were taken back; returns how many, zero when none are left.

    Only of those whose month has been dropped: what is recorded no more cannot count again. Apart from the dropping, whose
    locks keep everybody from the events, and which must not last.
    """
    oldest = _PARTITION.fullmatch((await connection.execute(_OLDEST_EVENTS)).scalar_one() or "")
    if oldest is None:
        return 0
    before = id_floor(datetime(int(oldest["year"]), int(oldest["month"]), 1, tzinfo=UTC))
    done = await connection.execute(_FORGET_TAKEN_BACK, {"before": before, "rows": TAKEN_BACK_PER_STEP})
    return done.rowcount


async def drop_results(connection: AsyncConnection, *, board_days: int) -> int:
    """Drops some results of one leaderboard period that closed more than `board_days` ago by its program's clock, and with
    the last of them the period; returns how many rows, zero when nothing is left to drop.

    A period stays while it is open, while scores of it are left, and while a prize is not paid. Nobody else changes its rows
    any more, and nobody reads them: to readers it is gone as soon as it is that old.
    """
    period = (await connection.execute(_OLD_PERIOD, {"days": board_days})).mappings().one_or_none()
    if period is None:
        return 0  # or another worker is at it
    dropped = (await connection.execute(_DROP_RESULTS, {**period, "rows": RESULTS_PER_STEP})).rowcount
    if dropped < RESULTS_PER_STEP:
        dropped += (await connection.execute(_DROP_PERIOD, dict(period))).rowcount
    return dropped


async def drop_jobs(connection: AsyncConnection, now: datetime, *, job_days: int) -> int:
    """Drops some backfills that ended more than `job_days` ago; returns how many. One that runs stays, however old."""
    before = now - timedelta(days=job_days)
    return (await connection.execute(_DROP_JOBS, {"before": before, "rows": JOBS_PER_STEP})).rowcount


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
