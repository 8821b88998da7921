"""Whether every spend and hold took the lots that it may, replayed lean: one row a member, lots as numbers in spending order.

No fold can tell this, since it depends on what was open at the moment. Going through all steps with the pure checker would;
that costs ten times as much, so it is left for the members whom this names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.ledger.accounts import Book

MEMBERS_PER_FETCH: Final = 200

_AVAILABLE: Final = int(Book.AVAILABLE)

REPLAY: Final = text(f"""
WITH takers AS MATERIALIZED (
    SELECT DISTINCT member_id, currency FROM transaction
    WHERE program_id = :program AND bucket = :bucket AND kind IN ('spend', 'hold')
),
ordered AS MATERIALIZED (
    SELECT l.member_id, l.currency, l.id, l.expires_at, l.matures_at,
           row_number() OVER (PARTITION BY l.member_id, l.currency ORDER BY l.expires_at NULLS LAST, l.opened_at, l.id) AS place
    FROM lot l JOIN takers k ON k.member_id = l.member_id AND k.currency = l.currency
    WHERE l.program_id = :program AND l.bucket = :bucket
)
SELECT t.member_id,
       array_agg(t.seq ORDER BY t.seq, p.ordinal) AS seqs,
       array_agg(o.place::int ORDER BY t.seq, p.ordinal) AS places,
       array_agg(CASE WHEN p.credit = {_AVAILABLE} THEN p.amount ELSE -p.amount END ORDER BY t.seq, p.ordinal) AS changes,
       array_agg(t.kind IN ('spend', 'hold') ORDER BY t.seq, p.ordinal) AS takes,
       bool_or(t.kind IN ('spend', 'hold') AND (o.expires_at <= t.recorded_at OR o.matures_at > t.recorded_at)) AS untimely
FROM takers k
JOIN transaction t
  ON t.program_id = :program AND t.bucket = :bucket AND t.member_id = k.member_id AND t.currency = k.currency
JOIN posting p
  ON p.program_id = :program AND p.bucket = :bucket AND p.member_id = t.member_id AND p.transaction_id = t.id
JOIN ordered o ON o.member_id = p.member_id AND o.id = p.lot_id
WHERE p.debit = {_AVAILABLE} OR p.credit = {_AVAILABLE}
GROUP BY t.member_id, t.currency
""")


async def wrong_takers(connection: AsyncConnection, program_id: int, bucket: int) -> AsyncIterator[UUID]:
    """Members who took from a lot that had expired or not matured, or left one open that is to be spent earlier."""
    streamed = await connection.stream(
        REPLAY, {"program": program_id, "bucket": bucket}, execution_options={"yield_per": MEMBERS_PER_FETCH}
    )
    async for row in streamed:
        if row.untimely or skips_a_lot(row.seqs, row.places, row.changes, row.takes):
            yield row.member_id


def skips_a_lot(seqs: Sequence[int], places: Sequence[int], changes: Sequence[int], takes: Sequence[bool]) -> bool:
    """Whether a transaction that takes leaves an earlier place open. One entry a posting: the change of what is available there."""
    available: dict[int, int] = {}
    taking, latest = 0, 0
    for seq, place, change, take in zip(seqs, places, changes, takes, strict=True):
        if taking and seq != taking:
            if available and min(available) < latest:
                return True
            taking = latest = 0
        left = available.get(place, 0) + change
        if left:
            available[place] = left
        else:
            available.pop(place, None)
        if take:
            taking, latest = seq, max(latest, place)
    return bool(taking and available and min(available) < latest)
