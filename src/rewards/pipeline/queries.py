"""The reading SQL of a batch. One statement per intent; `$1` is the program, arrays run over members or commands.

Every statement carries the bucket with the member, so that it touches one range of each index and can be routed by bucket.
The keys come first and each looks its rows up in a LATERAL subquery that cannot be flattened (OFFSET 0, FOR UPDATE): whatever
the planner believes of a table's size, it has no other way than the index, key by key.
"""

from typing import Final

LOCK_MEMBERS: Final = """
SELECT count(*) AS locked, pg_current_xact_id()
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT 1 FROM member m
    WHERE m.program_id = $1 AND m.bucket = k.bucket AND m.member_id = k.member_id
    FOR UPDATE
) m
"""
"""Locks in the order of the keys, which come sorted. What this statement reads besides is older than the lock after a wait,
so it reads nothing: the next one does. The transaction has a number afterwards even if there was nobody to lock: closing a
board waits for it by that.
"""

TOUCH_MEMBER: Final = """
UPDATE member SET seq = seq WHERE program_id = $1 AND bucket = $2 AND member_id = $3
"""
"""Locks one member and makes its row another version, so that whoever has read it without a lock has to read again."""

_KEYS_SEEN: Final = """
SELECT true
FROM unnest($4::smallint[], $5::uuid[], $6::uuid[]) AS c (bucket, member_id, key)
CROSS JOIN LATERAL (
    SELECT 1 FROM dedup d
    WHERE d.program_id = $1 AND d.bucket = c.bucket AND d.member_id = c.member_id AND d.key = c.key
    OFFSET 0
) d
LIMIT 1
"""

_LOTS_DUE: Final = """
SELECT true
FROM lot l
WHERE l.program_id = $1 AND l.bucket = k.bucket AND l.member_id = k.member_id
  AND l.pending + l.available + l.held > 0 AND l.due_at <= c.wall + p.clock_offset
LIMIT 1
"""

LOAD_MEMBERS: Final = f"""
SELECT c.wall, p.clock_offset, p.revision, ({_KEYS_SEEN}) AS seen, k.member_id,
       m.xmin, m.bucket, m.kind, m.external_id, CASE WHEN a.nth > 1 THEN NULL ELSE m.attributes END AS attributes,
       m.locale, m.timezone, CASE WHEN a.nth > 1 THEN NULL ELSE m.state END AS state, m.seq, m.last_now, m.merged_into,
       m.erased_at,
       CASE WHEN a.pending + a.available + a.held > 0 THEN ({_LOTS_DUE}) END AS due,
       a.currency, a.available, a.pending, a.held, a.debt, a.issued, a.redeemed, a.expired, a.revoked, a.sent, a.received,
       a.last_activity_at
FROM program p
CROSS JOIN (SELECT clock_timestamp() AS wall OFFSET 0) c
CROSS JOIN unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
LEFT JOIN LATERAL (
    SELECT m.xmin, m.* FROM member m
    WHERE m.program_id = $1 AND m.bucket = k.bucket AND m.member_id = k.member_id
    OFFSET 0
) m ON true
LEFT JOIN LATERAL (
    SELECT a.*, row_number() OVER () AS nth FROM account a
    WHERE a.program_id = $1 AND a.bucket = k.bucket AND a.member_id = k.member_id
    OFFSET 0
) a ON true
WHERE p.id = $1
"""
"""All that nearly every batch needs, in one round trip: a row per member and account, with the document in the first only.

`xmin` is the version of the member's row. `seen`: whether any of the commands was sent before; `due`: whether a lot of the
member falls due. Both are rare, and then asked for with their rows. Subqueries with LIMIT, not EXISTS, which the planner may
answer by reading the whole table once.
"""

_LOT: Final = """l.member_id, l.id, l.currency, l.rule, l.opened_at, l.amount, l.pending, l.available, l.held, l.redeemed,
       l.expired, l.revoked, l.sent, l.matures_at, l.expires_at"""

LOAD_LOTS: Final = f"""
SELECT {_LOT}
FROM unnest($2::smallint[], $3::uuid[], $4::bool[]) AS k (bucket, member_id, complete)
CROSS JOIN LATERAL (
    SELECT * FROM lot l
    WHERE l.program_id = $1 AND l.bucket = k.bucket AND l.member_id = k.member_id
      AND l.pending + l.available + l.held > 0 AND (k.complete OR l.due_at <= $5)
    OFFSET 0
) l
"""

LOAD_LOTS_BY_ID: Final = f"""
SELECT {_LOT}
FROM lot l
WHERE l.program_id = $1 AND l.bucket = $2 AND l.member_id = $3 AND l.id = ANY($4::uuid[])
"""

_HOLD: Final = "h.member_id, h.id, h.currency, h.amount, h.captured, h.released, h.lots, h.amounts, h.reference, h.created_at, h.expires_at"

LOAD_HOLDS: Final = f"""
SELECT {_HOLD}
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT * FROM hold h
    WHERE h.program_id = $1 AND h.bucket = k.bucket AND h.member_id = k.member_id AND h.captured + h.released < h.amount
    OFFSET 0
) h
"""

LOAD_HOLD: Final = f"""
SELECT {_HOLD}
FROM hold h
WHERE h.program_id = $1 AND h.bucket = $2 AND h.member_id = $3 AND h.id = $4
"""

PATHS: Final = """
WITH RECURSIVE path AS (
    SELECT k.member_id AS origin, k.member_id, 0 AS step FROM unnest($2::uuid[]) AS k (member_id)
    UNION ALL
    SELECT path.origin, m.merged_into, path.step + 1
    FROM path
    JOIN member m ON m.program_id = $1 AND m.bucket = get_byte(uuid_send(path.member_id), 0) AND m.member_id = path.member_id
    WHERE m.merged_into IS NOT NULL AND path.step < 1000
)
SELECT origin, member_id FROM path ORDER BY origin, step
"""
"""From each member through all that it was merged into. There are no circles; the bound is for damaged data."""

SEEN_BEFORE: Final = """
SELECT k.ordinal, d.fingerprint, d.entry_id, d.quarantined, d.refused, d.bucket, d.member_id
FROM unnest($2::smallint[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS k (bucket, member_id, key, ordinal)
CROSS JOIN LATERAL (
    SELECT * FROM dedup d
    WHERE d.program_id = $1 AND d.bucket = k.bucket AND d.member_id = k.member_id AND d.key = k.key
    OFFSET 0
) d
"""

STORED_EVENTS: Final = """
SELECT e.id, e.status, e.answer, e.trace, e.type, e.client_id
FROM unnest($2::smallint[], $3::uuid[], $4::uuid[]) AS k (bucket, member_id, id)
CROSS JOIN LATERAL (
    SELECT * FROM event e
    WHERE e.program_id = $1 AND e.bucket = k.bucket AND e.member_id = k.member_id AND e.id = k.id
    OFFSET 0
) e
"""

STORED_ANSWERS: Final = """
SELECT a.id, a.status, a.body
FROM unnest($2::smallint[], $3::uuid[], $4::uuid[]) AS k (bucket, member_id, id)
CROSS JOIN LATERAL (
    SELECT * FROM answer a
    WHERE a.program_id = $1 AND a.bucket = k.bucket AND a.member_id = k.member_id AND a.id = k.id
    OFFSET 0
) a
"""

READ_COUNTERS: Final = "SELECT key, used FROM counter WHERE program_id = $1 AND key = ANY($2::text[])"

LOCK_COUNTERS: Final = """
INSERT INTO counter (program_id, key, used, total)
SELECT $1, k.key, 0, 0 FROM unnest($2::text[]) AS k (key) ORDER BY k.key
ON CONFLICT (program_id, key) DO UPDATE SET used = counter.used
RETURNING key, used
"""
"""Locks the counters in key order, makes those that are missing, and tells what is used."""

TRANSACTIONS_BY_REFERENCE: Final = """
SELECT t.id
FROM unnest($2::smallint[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS k (bucket, member_id, key, ordinal)
JOIN transaction t ON t.program_id = $1 AND t.bucket = k.bucket AND t.member_id = k.member_id AND t.reference_key = k.key
ORDER BY k.ordinal DESC, t.seq
"""
"""Those of absorbed members come first: they are older."""

LOAD_TRANSACTIONS: Final = """
WITH k AS (SELECT * FROM unnest($2::smallint[], $3::uuid[]) WITH ORDINALITY AS k (bucket, member_id, ordinal))
SELECT t.id, t.kind, t.currency, t.amount, t.source, t.effective_at, t.event_id,
       k.ordinal = 1 AS own, t.member_id AS owner, p.ordinal, p.debit, p.credit, p.amount AS moved, p.lot_id,
       coalesce(r.reversed, 0)::bigint AS reversed, coalesce(r.elsewhere, 0)::bigint AS elsewhere
FROM k
JOIN transaction t ON t.program_id = $1 AND t.bucket = k.bucket AND t.member_id = k.member_id
LEFT JOIN posting p ON p.program_id = t.program_id AND p.bucket = t.bucket AND p.member_id = t.member_id AND p.transaction_id = t.id
LEFT JOIN LATERAL (
    SELECT sum(r.reversed) AS reversed, sum(r.reversed) FILTER (WHERE by.ordinal > 1) AS elsewhere
    FROM k AS by
    JOIN reversal r ON r.program_id = $1 AND r.bucket = by.bucket AND r.member_id = by.member_id AND r.transaction_id = t.id
) r ON true
WHERE t.id = ANY($4::uuid[])
ORDER BY t.id, p.ordinal
"""
"""The member itself is the first of `$3`, then come those that it has absorbed; any of them may have taken something back."""
