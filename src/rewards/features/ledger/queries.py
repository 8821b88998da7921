"""The reading SQL of the books, beside the checks of `checks.py`. `$1` is the program."""

from __future__ import annotations

from typing import Final

from rewards.domain.ledger.accounts import Book

NOW: Final = "SELECT now() AS now"

PROGRAM_KIND: Final = "SELECT kind FROM program WHERE id = $1"

FIRST_PARTITION: Final = """
SELECT min(c.relname) AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass
"""
"""The oldest month that there is of a table; its name ends in `2026_11`."""

BUCKETS_IN_USE: Final = """
SELECT b AS bucket FROM generate_series(0, 255) b
WHERE EXISTS (SELECT FROM member WHERE program_id = $1 AND bucket = b)
   OR EXISTS (SELECT FROM transaction WHERE program_id = $1 AND bucket = b)
   OR EXISTS (SELECT FROM posting WHERE program_id = $1 AND bucket = b)
   OR EXISTS (SELECT FROM account WHERE program_id = $1 AND bucket = b)
   OR EXISTS (SELECT FROM lot WHERE program_id = $1 AND bucket = b)
   OR EXISTS (SELECT FROM dedup WHERE program_id = $1 AND bucket = b)
ORDER BY b
"""

BUCKET_SIZE: Final = """
SELECT (SELECT count(*) FROM member WHERE program_id = $1 AND bucket = $2) AS members,
       (SELECT count(*) FROM transaction WHERE program_id = $1 AND bucket = $2) AS transactions,
       (SELECT count(*) FROM posting WHERE program_id = $1 AND bucket = $2) AS postings
"""

ACCOUNTS_OF: Final = """
SELECT member_id, currency, available, pending, held, debt, issued, redeemed, expired, revoked, sent, received,
       last_activity_at
FROM account WHERE program_id = $1 AND bucket = $2 AND member_id = ANY($3::uuid[])
"""

LOTS_OF: Final = """
SELECT member_id, id, currency, rule, opened_at, amount, pending, available, held, redeemed, expired, revoked, sent,
       matures_at, expires_at
FROM lot WHERE program_id = $1 AND bucket = $2 AND member_id = ANY($3::uuid[])
"""

HOLDS_OF: Final = """
SELECT member_id, id, currency, amount, captured, released, lots, amounts, reference, created_at, expires_at
FROM hold WHERE program_id = $1 AND bucket = $2 AND member_id = ANY($3::uuid[])
"""

HISTORY_OF: Final = """
SELECT t.member_id, t.currency, t.id, t.kind, t.amount, t.seq, t.effective_at, t.recorded_at, t.available_after,
       t.pending_after, t.held_after, t.debt_after, t.requested, t.reverses, t.hold_id,
       p.debit, p.credit, p.amount AS moved, p.lot_id
FROM transaction t
LEFT JOIN posting p
  ON p.program_id = t.program_id AND p.bucket = t.bucket AND p.member_id = t.member_id AND p.transaction_id = t.id
WHERE t.program_id = :program AND t.bucket = :bucket AND t.member_id = ANY(:members)
ORDER BY t.member_id, t.currency, t.seq, p.ordinal
"""
"""Streamed: one member's history may be longer than memory."""

_FLOWS: Final = f"""
    sum(CASE WHEN p.debit = {int(Book.ISSUED)} THEN p.amount ELSE 0 END) AS issued,
    sum(CASE {int(Book.REDEEMED)} WHEN p.credit THEN p.amount WHEN p.debit THEN -p.amount ELSE 0 END) AS redeemed,
    sum(CASE WHEN p.credit = {int(Book.EXPIRED)} THEN p.amount ELSE 0 END) AS expired,
    sum(CASE {int(Book.REVOKED)} WHEN p.credit THEN p.amount WHEN p.debit THEN -p.amount ELSE 0 END) AS revoked
"""

TOTALS_BY_ID: Final = f"""
SELECT t.currency, {_FLOWS}
FROM posting p
JOIN transaction t
  ON t.program_id = $1 AND t.bucket = p.bucket AND t.member_id = p.member_id AND t.id = p.transaction_id
WHERE p.program_id = $1 AND p.transaction_id >= $2 AND p.transaction_id < $3 AND t.id >= $2 AND t.id < $3
GROUP BY t.currency
"""
"""Both tables are partitioned by this id, so only the months asked for are read."""

TOTALS_BY_RECORDED_AT: Final = f"""
SELECT t.currency, {_FLOWS}
FROM posting p
JOIN transaction t
  ON t.program_id = $1 AND t.bucket = p.bucket AND t.member_id = p.member_id AND t.id = p.transaction_id
WHERE p.program_id = $1 AND ($2::timestamptz IS NULL OR t.recorded_at >= $2) AND t.recorded_at < $3
GROUP BY t.currency
"""

KEPT_TOTALS: Final = "SELECT state FROM job_state WHERE program_id = $1 AND job = $2"

KEEP_TOTALS: Final = """
INSERT INTO job_state (program_id, job, state, updated_at) VALUES ($1, $2, $3, now())
ON CONFLICT (program_id, job) DO UPDATE SET state = job_state.state || excluded.state, updated_at = now()
"""
"""Each month is a key of its own, so two that keep different months lose none."""

ACCOUNT_SUMS: Final = """
SELECT currency, sum(available + pending + held - debt) AS position, sum(issued) AS issued, sum(redeemed) AS redeemed,
       sum(expired) AS expired, sum(revoked) AS revoked, sum(sent - received) AS in_transit
FROM account WHERE program_id = $1 GROUP BY currency
"""

ON_THEIR_WAY: Final = """
SELECT currency, sum(amount) AS amount
FROM (
    SELECT parcel ->> 'currency' AS currency,
           (SELECT coalesce(sum((moved ->> 'amount')::bigint), 0) FROM jsonb_array_elements(parcel -> 'lots') moved) AS amount
    FROM due d CROSS JOIN LATERAL jsonb_array_elements(d.payload -> 'parcels') parcel
    WHERE d.program_id = $1 AND d.name = 'merge_in'
    UNION ALL
    SELECT d.payload ->> 'currency', -(SELECT sum((share ->> 1)::bigint) FROM jsonb_array_elements(d.payload -> 'shares') share)
    FROM due d
    WHERE d.program_id = $1 AND d.name = 'pass_on'
) moved
GROUP BY 1
"""
"""Points that one member has sent and the other has still to receive, less those received that are still to be sent."""

COUNTERS: Final = "SELECT key, used, total FROM counter WHERE program_id = $1 ORDER BY key"

ISSUED_BY_RULE: Final = """
SELECT t.source, t.currency, date_bin('15 minutes', t.effective_at, 'epoch') AS quarter, sum(t.amount) AS amount
FROM transaction t
WHERE t.program_id = $1 AND t.bucket = $2 AND t.kind = 'earn' AND t.source = ANY($3::text[])
GROUP BY 1, 2, 3
"""
"""By quarter of an hour: every zone's days begin at one."""

PUBLISHED_DOCUMENTS: Final = """
SELECT document FROM program_version WHERE program_id = $1 AND published_at IS NOT NULL ORDER BY number
"""

MEMBER: Final = """
SELECT bucket, member_id, merged_into, erased_at FROM member WHERE program_id = $1 AND bucket = $2 AND member_id = $3
"""

BALANCES_BEFORE: Final = """
SELECT DISTINCT ON (currency) currency, available_after, pending_after, held_after, debt_after FROM transaction
WHERE program_id = $1 AND bucket = $2 AND member_id = $3 AND recorded_at < $4 AND ($5::text IS NULL OR currency = $5)
ORDER BY currency, seq DESC
"""

MEMBER_LINES: Final = """
SELECT t.seq, t.recorded_at, t.kind, t.currency, t.source, t.amount, t.available_after, t.pending_after, t.held_after,
       t.debt_after, t.reason, n.reference
FROM transaction t
LEFT JOIN transaction_note n
  ON n.program_id = t.program_id AND n.bucket = t.bucket AND n.member_id = t.member_id AND n.id = t.id
WHERE t.program_id = $1 AND t.bucket = $2 AND t.member_id = $3 AND t.seq > $4
  AND ($5::timestamptz IS NULL OR t.recorded_at >= $5) AND t.recorded_at < $6 AND ($7::text IS NULL OR t.currency = $7)
ORDER BY t.seq LIMIT $8
"""
