"""Reading the ledger. One statement per intent; `$1` is the program, then bucket and member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.commands import MemberRef
from rewards.domain.errors import MemberErased
from rewards.domain.ids import bucket_of, id_bucket
from rewards.domain.periods import rfc3339
from rewards.pipeline.load import rows

_TRANSACTION: Final = """t.bucket, t.member_id, t.id, t.seq, t.kind, t.currency, t.amount, t.requested, t.source, t.actor, t.reason,
       t.reverses, t.hold_id, t.event_id, t.available_after, t.pending_after, t.held_after, t.debt_after,
       t.effective_at, t.recorded_at, n.reference, n.note, e.client_id, e.sent_by, e.type AS event_type"""

# What a transaction says of itself in words is erasable, and events are dropped in time: both may be gone.
_TOLD: Final = """
LEFT JOIN transaction_note n ON n.program_id = t.program_id AND n.bucket = t.bucket AND n.member_id = t.member_id AND n.id = t.id
LEFT JOIN event e ON e.program_id = t.program_id AND e.bucket = t.bucket AND e.member_id = t.member_id AND e.id = t.event_id
"""

STATEMENT: Final = f"""
SELECT {_TRANSACTION}
FROM transaction t {_TOLD}
WHERE t.program_id = $1 AND t.bucket = $2 AND t.member_id = $3
  AND ($4::text IS NULL OR t.currency = $4)
  AND ($5::timestamptz IS NULL OR t.recorded_at >= $5) AND t.recorded_at < $6
  AND ($7::uuid IS NULL OR t.id < $7)
ORDER BY t.id DESC
LIMIT $8
"""

TRANSACTION: Final = f"""
SELECT {_TRANSACTION}, m.kind AS member_kind, m.external_id, r.reversed
FROM transaction t {_TOLD}
JOIN member m ON m.program_id = t.program_id AND m.bucket = t.bucket AND m.member_id = t.member_id
CROSS JOIN LATERAL (
    WITH RECURSIVE taker AS (
        SELECT t.bucket, t.member_id, m.merged_into, 0 AS step
        UNION ALL
        SELECT o.bucket, o.member_id, o.merged_into, taker.step + 1
        FROM taker
        JOIN member o ON o.program_id = t.program_id AND o.bucket = get_byte(uuid_send(taker.merged_into), 0)
                     AND o.member_id = taker.merged_into
        WHERE taker.step < 1000
    )
    SELECT sum(r.reversed)::bigint AS reversed
    FROM taker
    JOIN reversal r ON r.program_id = t.program_id AND r.bucket = taker.bucket AND r.member_id = taker.member_id
                   AND r.transaction_id = t.id
) r
WHERE t.program_id = $1 AND t.bucket = $2 AND t.id = $3
"""
"""Whoever the member has become since may have taken it back. There are no circles of merges; the bound is for damaged data."""

POSTINGS: Final = """
SELECT p.transaction_id, p.debit, p.credit, p.amount, p.lot_id
FROM posting p
WHERE p.program_id = $1 AND p.bucket = $2 AND p.member_id = $3 AND p.transaction_id = ANY($4::uuid[])
ORDER BY p.transaction_id, p.ordinal
"""

EVENTS_OF: Final = """
SELECT e.id, e.client_id, e.type, e.sent_by
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT * FROM event e
    WHERE e.program_id = $1 AND e.bucket = k.bucket AND e.member_id = k.member_id AND e.id = ANY($4::uuid[])
    OFFSET 0
) e
"""

# Ids follow the wall clock, which may be set back a little, and `seq` never: the last of the newest is the last of all.
BALANCES_BEFORE: Final = """
SELECT a.currency, last.available_after, last.pending_after, last.held_after, last.debt_after
FROM account a
CROSS JOIN LATERAL (
    SELECT newest.*
    FROM (
        SELECT t.seq, t.available_after, t.pending_after, t.held_after, t.debt_after
        FROM transaction t
        WHERE t.program_id = a.program_id AND t.bucket = a.bucket AND t.member_id = a.member_id
          AND t.currency = a.currency AND t.recorded_at < $4
        ORDER BY t.id DESC
        LIMIT 1000
    ) newest
    ORDER BY newest.seq DESC
    LIMIT 1
) last
WHERE a.program_id = $1 AND a.bucket = $2 AND a.member_id = $3
"""

_OWNER: Final = """
SELECT m.kind, m.external_id, m.erased_at
FROM {table} x
JOIN member m ON m.program_id = x.program_id AND m.bucket = x.bucket AND m.member_id = x.member_id
WHERE x.program_id = $1 AND x.bucket = $2 AND x.id = $3
"""
HOLD_OWNER: Final = _OWNER.format(table="hold")
TRANSACTION_OWNER: Final = _OWNER.format(table="transaction")


@dataclass(frozen=True, slots=True)
class Range:
    """What of a statement is asked for: recorded from `start` (or ever) up to, not including, `end`; older than `before`."""

    end: datetime
    start: datetime | None = None
    currency: str | None = None
    before: UUID | None = None


async def statement(
    connection: AsyncConnection, program_id: int, bucket: int, member: UUID, of: Range, limit: int
) -> Sequence[Any]:
    """The newest transactions of the range, in the order of their ids."""
    return await rows(
        connection, STATEMENT, program_id, bucket, member, of.currency, of.start, of.end, of.before, limit
    )


async def transaction_by_id(connection: AsyncConnection, program_id: int, identifier: UUID) -> Any | None:
    """The transaction with its member, found by the bucket inside its id."""
    found = await rows(connection, TRANSACTION, program_id, id_bucket(identifier), identifier)
    return found[0] if found else None


async def events_of(
    connection: AsyncConnection, program_id: int, members: Sequence[UUID], events: Sequence[UUID]
) -> dict[UUID, Any]:
    """Those of the events that these members sent."""
    buckets = [bucket_of(member) for member in members]
    return {row.id: row for row in await rows(connection, EVENTS_OF, program_id, buckets, members, events)}


async def postings(
    connection: AsyncConnection, program_id: int, bucket: int, member: UUID, transactions: Iterable[UUID]
) -> dict[UUID, list[Any]]:
    """The postings of a member's transactions, in order."""
    found: dict[UUID, list[Any]] = {}
    for row in await rows(connection, POSTINGS, program_id, bucket, member, list(transactions)):
        found.setdefault(row.transaction_id, []).append(row)
    return found


async def balances_before(
    connection: AsyncConnection, program_id: int, bucket: int, member: UUID, moment: datetime
) -> dict[str, Any]:
    """The balances by currency after the last transaction recorded before `moment`; none before the first."""
    found = await rows(connection, BALANCES_BEFORE, program_id, bucket, member, moment)
    return {row.currency: row for row in found}


async def owner_of(connection: AsyncConnection, sql: str, program_id: int, identifier: UUID) -> MemberRef | None:
    """The member that has the hold (`HOLD_OWNER`) or the transaction (`TRANSACTION_OWNER`). Raises `MemberErased`."""
    found = await rows(connection, sql, program_id, id_bucket(identifier), identifier)
    if not found:
        return None
    [row] = found
    if row.erased_at is not None:
        raise MemberErased("the member was erased", since=rfc3339(row.erased_at))
    return MemberRef(row.kind, row.external_id)
