"""Loading events of the past: one that may count no longer, and those from which a metric is counted anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.driver import fetch
from rewards.domain.ids import bucket_of, id_floor
from rewards.domain.play.recounting import PASSED
from rewards.domain.recorded import HISTORY_EVENTS_MAX, Earned, History, PastEarning, Recorded, Wanted, WantedEarnings
from rewards.domain.state import MemberState

_NO_EVENT: Final = UUID(int=0)
_AHEAD: Final = timedelta(minutes=10)
"""An event may have occurred a little after the moment in its id: clocks differ."""

LOAD_EVENT: Final = """
SELECT e.member_id, e.id, e.type, e.occurred_at, e.properties::text AS properties, e.context::text AS context,
       e.contributions::text AS contributions, t.event_id IS NOT NULL AS taken_back
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT * FROM event e
    WHERE e.program_id = $1 AND e.bucket = k.bucket AND e.member_id = k.member_id AND e.id = $4
    OFFSET 0
) e
LEFT JOIN taken_back_event t
    ON t.program_id = $1 AND t.bucket = e.bucket AND t.member_id = e.member_id AND t.event_id = e.id
"""

EARNED: Final = """
SELECT t.id, t.source, t.amount, coalesce(r.reversed, 0)::bigint AS reversed
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT * FROM transaction t
    WHERE t.program_id = $1 AND t.bucket = k.bucket AND t.member_id = k.member_id AND t.id > $4 AND t.event_id = $4
      AND t.kind = 'earn'
    OFFSET 0
) t
LEFT JOIN LATERAL (
    SELECT sum(r.reversed) AS reversed
    FROM unnest($2::smallint[], $3::uuid[]) AS by (bucket, member_id)
    JOIN reversal r ON r.program_id = $1 AND r.bucket = by.bucket AND r.member_id = by.member_id AND r.transaction_id = t.id
) r ON true
"""
"""What an event earned has ids after its own; after a merge the member that became may have earned some of it."""

LOAD_HISTORY: Final = """
SELECT e.member_id, e.id, e.type, e.occurred_at, e.properties::text AS properties, e.context::text AS context,
       e.contributions::text AS contributions, e.gone
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT e.member_id, e.id, e.type, e.occurred_at, e.contributions, g.gone,
           CASE WHEN e.type = ANY($5::text[]) THEN e.properties END AS properties,
           CASE WHEN e.type = ANY($5::text[]) THEN e.context END AS context
    FROM event e
    LEFT JOIN taken_back_event t
        ON t.program_id = $1 AND t.bucket = e.bucket AND t.member_id = e.member_id AND t.event_id = e.id
    CROSS JOIN LATERAL (SELECT e.status <> 'processed' OR t.event_id IS NOT NULL AS gone) g
    WHERE e.program_id = $1 AND e.bucket = k.bucket AND e.member_id = k.member_id AND e.id >= $4
      AND CASE WHEN g.gone THEN e.contributions::text LIKE ANY($8::text[])
               ELSE e.type = ANY($5::text[]) OR e.contributions::text LIKE ANY($6::text[]) END
    ORDER BY e.id DESC LIMIT $7
) e
ORDER BY e.id DESC LIMIT $7
"""
"""Newest first, so that where there are too many the oldest are left out. What time counted stays with an event that counts no
longer, or never did."""


LOAD_EARNINGS: Final = """
SELECT t.id, t.effective_at, t.amount, coalesce(r.reversed, 0)::bigint AS reversed
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT * FROM transaction t
    WHERE t.program_id = $1 AND t.bucket = k.bucket AND t.member_id = k.member_id AND t.id >= $4 AND t.currency = $5
      AND t.kind = 'earn'
    OFFSET 0
) t
LEFT JOIN LATERAL (
    SELECT sum(r.reversed) AS reversed
    FROM unnest($2::smallint[], $3::uuid[]) AS by (bucket, member_id)
    JOIN reversal r ON r.program_id = $1 AND r.bucket = by.bucket AND r.member_id = by.member_id AND r.transaction_id = t.id
) r ON true
WHERE $6::timestamptz IS NULL OR t.effective_at >= $6
"""


async def load_event(connection: AsyncConnection, program_id: int, state: MemberState, event: UUID) -> None:
    """An event of the member or of one that it has absorbed, and what it earned; absent when it is kept no more."""
    owners = [state.id, *state.absorbed]
    buckets = [bucket_of(owner) for owner in owners]
    found = await fetch(connection, LOAD_EVENT, program_id, buckets, owners, event)
    if not found:
        state.absent.add(event)
        return
    earned = await fetch(connection, EARNED, program_id, buckets, owners, event)
    [row] = found
    state.recorded[event] = _recorded(row, taken_back=row.taken_back, earned=tuple(Earned(*each) for each in earned))


async def load_history(
    connection: AsyncConnection, program_id: int, state: MemberState, wanted: Wanted, *, offset: timedelta
) -> None:
    """The events that were asked for. `offset` is how far the program's clock is ahead of the one that ids are made by."""
    found = await fetch(
        connection,
        LOAD_HISTORY,
        program_id,
        [bucket_of(owner) for owner in wanted.members],
        list(wanted.members),
        _oldest(wanted.since, offset),
        sorted(wanted.types),
        [f'%{metric}"%' for metric in sorted(wanted.metrics)],  # whether time brought it about or not
        HISTORY_EVENTS_MAX + 1,
        [f'%"{PASSED}:%{metric}"%' for metric in sorted(wanted.metrics)],
    )
    state.histories[wanted] = History(
        tuple(_recorded(row, taken_back=row.gone) for row in found[:HISTORY_EVENTS_MAX]),
        complete=len(found) <= HISTORY_EVENTS_MAX,
    )


async def load_earnings(
    connection: AsyncConnection, program_id: int, state: MemberState, wanted: WantedEarnings, *, offset: timedelta
) -> None:
    """What these members have earned, and what of it was taken back."""
    buckets = [bucket_of(owner) for owner in wanted.members]
    oldest = _oldest(wanted.since, offset)
    arguments = (program_id, buckets, list(wanted.members), oldest, wanted.currency, wanted.since)
    found = await fetch(connection, LOAD_EARNINGS, *arguments)
    state.past_earnings[wanted] = tuple(PastEarning(*row) for row in found)


def _oldest(since: datetime | None, offset: timedelta) -> UUID:
    """What happened since then has ids from here on."""
    return _NO_EVENT if since is None else id_floor(since - offset - _AHEAD)


def _recorded(row: Any, *, taken_back: bool = False, earned: tuple[Earned, ...] = ()) -> Recorded:
    return Recorded(
        row.id,
        row.member_id,
        row.type,
        row.occurred_at,
        _decoded(row.properties, {}),
        _decoded(row.context, {}),
        tuple(_decoded(row.contributions, ())),
        taken_back,
        earned,
    )


def _decoded(encoded: str | None, otherwise: Any) -> Any:
    return otherwise if encoded is None else msgspec.json.decode(encoded)
