"""All SQL about news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.ids import bucket_of
from rewards.pipeline.load import rows

EARNED_MAX: Final = 1_000
"""Beyond so many movements of points nothing is news, seen or not."""

# Who was merged keeps what was recorded, and what was seen, under the old name; whoever it became may have taken it back.
_NEWS: Final = """
WITH named AS (
    SELECT k.bucket, k.member_id, greatest(own.seen_until, became.seen_until) AS seen_until
    FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
    LEFT JOIN member_news own ON own.program_id = $1 AND own.bucket = k.bucket AND own.member_id = k.member_id
    LEFT JOIN member_news became ON became.program_id = $1 AND became.bucket = $4 AND became.member_id = $5
), earned AS (
    SELECT t.id, t.currency, t.amount - coalesce(r.reversed, 0) AS amount, t.source, t.event_id, t.effective_at, t.recorded_at,
           m.seen_until IS NULL OR t.recorded_at > m.seen_until AS is_new
    FROM named m
    CROSS JOIN LATERAL (
        SELECT newest.* FROM transaction newest
        WHERE newest.program_id = $1 AND newest.bucket = m.bucket AND newest.member_id = m.member_id
        ORDER BY newest.id DESC
        LIMIT $6
    ) t
    CROSS JOIN LATERAL (
        SELECT sum(r.reversed)::bigint AS reversed
        FROM named taker
        JOIN reversal r ON r.program_id = $1 AND r.bucket = taker.bucket AND r.member_id = taker.member_id AND r.transaction_id = t.id
    ) r
    WHERE t.kind = 'earn'
), unannounced AS (
    SELECT a.event_id, a.kind || ':' || a.key AS source
    FROM named m
    JOIN achievement a ON a.program_id = $1 AND a.bucket = m.bucket AND a.member_id = m.member_id
    WHERE NOT a.announced
)
SELECT * FROM (
    SELECT concat_ws('/', a.kind, a.key, a.level, a.instance, left(a.member_id::text, 8)) AS id, a.kind, a.key, a.level,
           a.instance, NULL::bigint AS amount, NULL::text AS source, a.achieved_at AS occurred_at, a.recorded_at,
           paid.currencies, paid.amounts
    FROM named m
    JOIN achievement a ON a.program_id = $1 AND a.bucket = m.bucket AND a.member_id = m.member_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS entries, array_agg(e.currency ORDER BY e.id) FILTER (WHERE e.amount > 0) AS currencies,
               array_agg(e.amount ORDER BY e.id) FILTER (WHERE e.amount > 0) AS amounts
        FROM earned e WHERE a.kind = 'prize' AND e.event_id = a.event_id
    ) paid
    WHERE a.announced AND a.revoked_at IS NULL AND (m.seen_until IS NULL OR a.recorded_at > m.seen_until)
      AND (paid.entries = 0 OR paid.amounts IS NOT NULL)
    UNION ALL
    SELECT e.id::text, 'points', e.currency, NULL, NULL, e.amount, e.source, e.effective_at, e.recorded_at, NULL, NULL
    FROM earned e
    WHERE e.amount > 0 AND e.is_new
      AND NOT EXISTS (SELECT FROM unannounced u WHERE u.event_id = e.event_id AND u.source = e.source)
) found
ORDER BY found.recorded_at DESC, found.id DESC
LIMIT $7
"""

_SEEN: Final = """
INSERT INTO member_news AS n (program_id, bucket, member_id, seen_until) VALUES ($1, $2, $3, $4)
ON CONFLICT (program_id, bucket, member_id) DO UPDATE SET seen_until = greatest(n.seen_until, excluded.seen_until)
RETURNING seen_until
"""


class Awarded(NamedTuple):
    """Something a member was awarded: points (`key` is the currency), or an achievement.

    `currencies` and `amounts` are what is left of the points that came with a prize; None where it came with none.
    """

    id: str
    kind: str
    key: str
    level: int | None
    instance: int | None
    amount: int | None
    source: str | None
    occurred_at: datetime
    recorded_at: datetime
    currencies: list[str] | None
    amounts: list[int] | None

    @property
    def subject(self) -> str:
        """What in the program it is: of a prize the leaderboard."""
        return self.key.partition("/")[0]

    @property
    def period(self) -> str:
        """Of a prize, the period of its leaderboard."""
        return self.key.partition("/")[2]


async def unseen(
    connection: AsyncConnection, program_id: int, member: UUID, names: Sequence[UUID], *, limit: int
) -> list[Awarded]:
    """The newest first. `names` are the member's and those of members merged into it."""
    buckets = [bucket_of(name) for name in names]
    place = (buckets, list(names), bucket_of(member), member)
    return [Awarded(*row) for row in await rows(connection, _NEWS, program_id, *place, EARNED_MAX, limit)]


async def see(connection: AsyncConnection, program_id: int, member: UUID, until: datetime) -> datetime:
    """What was recorded up to `until` is news no more; returns until when everything is seen. The caller commits."""
    found = await connection.exec_driver_sql(_SEEN, (program_id, bucket_of(member), member, until))
    seen_until: datetime = found.scalar_one()
    return seen_until
