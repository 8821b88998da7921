"""The invariants of the ledger as SQL over one bucket: folds of all postings compared with what is stored.

All checks are parts of one statement, so that they see one moment and the postings are read once. Each gives rows of
(member_id, subject, found, expected) and none when the ledger is sound. `$1` is the program, `$2` the bucket; `$3`, `$4` and
`$5` are the smallest ids that retention has left of outbox, events and answers.
"""

from __future__ import annotations

from typing import Final

from rewards.domain.ledger.accounts import Book
from rewards.domain.recorded import TIME_PASSED
from rewards.features.ledger.movements import movements

FINDINGS_MAX: Final = 1_000
"""Rows per invariant and bucket: enough to see what is wrong, bounded when everything is."""

_MOVEMENTS: Final = ", ".join(
    f"('{kind.value}', {int(debit)}, {int(credit)}, {str(counts).lower()})"
    for kind, debit, credit, counts in movements()
)
_B: Final = {book.name.lower(): int(book) for book in Book}


def _net(book: str) -> str:
    number = _B[book]
    return f"CASE WHEN credit = {number} THEN amount WHEN debit = {number} THEN -amount ELSE 0 END"


def _when(condition: str) -> str:
    return f"CASE WHEN {condition} THEN amount ELSE 0 END"


_ACCOUNT: Final[dict[str, str]] = {
    "available": _net("available"),
    "pending": _net("pending"),
    "held": _net("held"),
    "debt": f"-({_net('debt')})",
    "issued": _when(f"debit = {_B['issued']}"),
    "redeemed": _net("redeemed"),
    "expired": _when(f"credit = {_B['expired']}"),
    "revoked": _net("revoked"),
    "sent": _when(f"credit = {_B['transit']}"),
    "received": _when(f"debit = {_B['transit']}"),
}
"""What a posting adds to each field of the account."""

_LOT: Final[dict[str, str]] = {
    "amount": _when(f"debit IN ({_B['issued']}, {_B['transit']})"),
    "pending": _net("pending"),
    "available": _net("available"),
    "held": _net("held"),
    "redeemed": _net("redeemed"),
    "expired": _when(f"credit = {_B['expired']}"),
    "revoked": _when(f"credit IN ({_B['revoked']}, {_B['debt']})"),
    "sent": _when(f"credit = {_B['transit']}"),
}
"""What a posting adds to each part of its lot. What a lot pays towards debt counts as revoked."""

_BUCKETS: Final = ("available", "pending", "held", "debt")


def _sums(parts: dict[str, str]) -> str:
    return ", ".join(f"sum({expression})::bigint AS {name}" for name, expression in parts.items())


def _pairs(fields: dict[str, str] | tuple[str, ...], found: str, expected: str) -> str:
    """The fields of two rows side by side, as rows (field, found, expected)."""
    rows = ", ".join(f"('{name}', {found.format(name)}, {expected.format(name)})" for name in fields)
    return f"CROSS JOIN LATERAL (VALUES {rows}) AS v (field, found, expected)"


_BASE: Final = f"""
WITH movement (kind, debit, credit, counts) AS (VALUES {_MOVEMENTS}),
posted AS MATERIALIZED (
    SELECT p.member_id, p.transaction_id, p.ordinal, p.debit, p.credit, p.amount, p.lot_id, t.kind, t.currency,
           v.kind IS NOT NULL AS known, coalesce(v.counts, false) AS counts
    FROM posting p
    LEFT JOIN transaction t
      ON t.program_id = $1 AND t.bucket = $2 AND t.member_id = p.member_id AND t.id = p.transaction_id
    LEFT JOIN movement v ON v.kind = t.kind AND v.debit = p.debit AND v.credit = p.credit
    WHERE p.program_id = $1 AND p.bucket = $2
),
moved AS MATERIALIZED (
    SELECT member_id, transaction_id, {_sums({name: _ACCOUNT[name] for name in _BUCKETS})},
           sum({_when("counts")})::bigint AS counted
    FROM posted GROUP BY member_id, transaction_id
),
history AS MATERIALIZED (
    SELECT t.member_id, t.id, t.seq, t.kind, t.currency, t.amount, t.requested, t.reverses, t.hold_id, t.recorded_at,
           t.available_after, t.pending_after, t.held_after, t.debt_after, m.transaction_id IS NOT NULL AS posted,
           coalesce(m.counted, 0) AS counted,
           lag(t.seq, 1, 0::bigint) OVER member AS seq_before,
           lag(t.recorded_at) OVER member AS recorded_before,
           {", ".join(f"coalesce(m.{name}, 0) + lag(t.{name}_after, 1, 0::bigint) OVER money AS {name}" for name in _BUCKETS)}
    FROM transaction t
    LEFT JOIN moved m ON m.member_id = t.member_id AND m.transaction_id = t.id
    WHERE t.program_id = $1 AND t.bucket = $2
    WINDOW member AS (PARTITION BY t.member_id ORDER BY t.seq),
           money AS (PARTITION BY t.member_id, t.currency ORDER BY t.seq)
),
members AS MATERIALIZED (
    SELECT member_id, seq, last_now FROM member WHERE program_id = $1 AND bucket = $2
),
accounts AS MATERIALIZED (SELECT * FROM account WHERE program_id = $1 AND bucket = $2),
lots AS MATERIALIZED (SELECT * FROM lot WHERE program_id = $1 AND bucket = $2),
holds AS MATERIALIZED (SELECT * FROM hold WHERE program_id = $1 AND bucket = $2),
held_parts AS MATERIALIZED (
    SELECT h.member_id, h.id, h.currency, part.lot_id, part.amount
    FROM holds h CROSS JOIN LATERAL unnest(h.lots, h.amounts) AS part (lot_id, amount)
)
"""

CHECKS: Final[dict[str, str]] = {
    "postings belong to a transaction": """
        SELECT member_id, 'posting ' || ordinal || ' of ' || transaction_id AS subject,
               'no transaction' AS found, 'its transaction' AS expected
        FROM posted WHERE kind IS NULL
    """,
    "postings are movements of their kind": """
        SELECT member_id, 'posting ' || ordinal || ' of ' || transaction_id, kind || ' from ' || debit || ' to ' || credit,
               'a movement of ' || kind
        FROM posted WHERE kind IS NOT NULL AND NOT known
    """,
    "postings move a lot": f"""
        SELECT member_id, 'posting ' || ordinal || ' of ' || transaction_id, coalesce(lot_id::text, 'no lot'),
               CASE WHEN lot_id IS NULL THEN 'a lot' ELSE 'no lot' END
        FROM posted
        WHERE (lot_id IS NULL) <> ((debit, credit) IN (({_B["debt"]}, {_B["revoked"]}), ({_B["revoked"]}, {_B["debt"]})))
    """,
    "a transaction is the sum of its postings": """
        SELECT member_id, kind || ' ' || id, amount::text, counted::text FROM history
        WHERE amount <> counted OR NOT (posted OR kind = 'clawback')
    """,
    "balances after follow from the postings": f"""
        SELECT member_id, v.field || ' after ' || kind || ' ' || id, v.found::text, v.expected::text
        FROM history {_pairs(_BUCKETS, "{}_after", "{}")} WHERE v.found <> v.expected
    """,
    "nothing is ever negative": f"""
        SELECT member_id, v.field || ' after ' || kind || ' ' || id, v.found::text, 'at least 0'
        FROM history {_pairs(_BUCKETS, "{}_after", "{}")} WHERE v.found < 0
    """,
    "no points are available beside debt": """
        SELECT member_id, kind || ' ' || id, available_after || ' available, debt ' || debt_after, 'one of them 0'
        FROM history WHERE available_after > 0 AND debt_after > 0
    """,
    "seq has no gap": """
        SELECT member_id, 'transaction ' || id, seq::text, (seq_before + 1)::text FROM history WHERE seq <> seq_before + 1
        UNION ALL
        SELECT coalesce(m.member_id, h.member_id), 'last transaction', coalesce(h.last, 0)::text,
               coalesce('member at ' || m.seq, 'a member')
        FROM members m
        FULL JOIN (SELECT member_id, max(seq) AS last FROM history GROUP BY member_id) h ON h.member_id = m.member_id
        WHERE m.seq IS DISTINCT FROM coalesce(h.last, 0)
    """,
    "recorded_at never goes back": """
        SELECT h.member_id, 'transaction ' || h.id, h.recorded_at::text, 'not before ' || h.recorded_before
        FROM history h WHERE h.recorded_at < h.recorded_before
        UNION ALL
        SELECT h.member_id, 'transaction ' || h.id, h.recorded_at::text, 'not after ' || m.last_now
        FROM history h JOIN members m ON m.member_id = h.member_id WHERE h.recorded_at > m.last_now
    """,
    "an account is the fold of its postings": f"""
        SELECT coalesce(a.member_id, f.member_id), coalesce(a.currency, f.currency) || ' ' || v.field,
               coalesce(v.found::text, 'no account'), coalesce(v.expected, 0)::text
        FROM accounts a
        FULL JOIN (
            SELECT member_id, currency, {_sums(_ACCOUNT)} FROM posted WHERE kind IS NOT NULL GROUP BY member_id, currency
        ) f ON f.member_id = a.member_id AND f.currency = a.currency
        {_pairs(_ACCOUNT, "a.{0}", "f.{0}")}
        WHERE v.found IS DISTINCT FROM coalesce(v.expected, 0)
    """,
    "an account is its last transaction's balances": f"""
        SELECT a.member_id, a.currency || ' ' || v.field, v.found::text, v.expected::text
        FROM accounts a
        JOIN (
            SELECT DISTINCT ON (member_id, currency) * FROM history ORDER BY member_id, currency, seq DESC
        ) l ON l.member_id = a.member_id AND l.currency = a.currency
        {_pairs(_BUCKETS, "a.{0}", "l.{0}_after")}
        WHERE v.found <> v.expected
    """,
    "a lot is the fold of its postings": f"""
        SELECT coalesce(l.member_id, f.member_id), 'lot ' || coalesce(l.id, f.lot_id) || ' ' || v.field,
               coalesce(v.found::text, 'no lot of ' || f.currency), coalesce(v.expected, 0)::text
        FROM lots l
        FULL JOIN (
            SELECT member_id, lot_id, currency, {_sums(_LOT)}
            FROM posted WHERE lot_id IS NOT NULL AND kind IS NOT NULL GROUP BY member_id, lot_id, currency
        ) f ON f.member_id = l.member_id AND f.lot_id = l.id AND f.currency = l.currency
        {_pairs(_LOT, "l.{0}", "f.{0}")}
        WHERE v.found IS DISTINCT FROM coalesce(v.expected, 0)
    """,
    "the parts of a lot sum to its amount": """
        SELECT member_id, 'lot ' || id, (pending + available + held + redeemed + expired + revoked + sent)::text, amount::text
        FROM lots
        WHERE amount <> pending + available + held + redeemed + expired + revoked + sent
           OR least(pending, available, held, redeemed, expired, revoked, sent) < 0
    """,
    "lots sum to the account": """
        SELECT coalesce(a.member_id, l.member_id), coalesce(a.currency, l.currency) || ' lots: ' || v.field,
               coalesce(v.found, 0)::text, coalesce(v.expected::text, 'no account')
        FROM accounts a
        FULL JOIN (
            SELECT member_id, currency, sum(pending) AS pending, sum(available) AS available, sum(held) AS held,
                   sum(redeemed) AS redeemed, sum(expired) AS expired, sum(revoked) AS revoked, sum(sent) AS sent
            FROM lots GROUP BY member_id, currency
        ) l ON l.member_id = a.member_id AND l.currency = a.currency
        CROSS JOIN LATERAL (VALUES
            ('pending', l.pending, a.pending), ('available', l.available, a.available), ('held', l.held, a.held),
            ('redeemed', l.redeemed, a.redeemed), ('expired', l.expired, a.expired),
            ('revoked', l.revoked, a.revoked - a.debt), ('sent', l.sent, a.sent)
        ) AS v (field, found, expected)
        WHERE coalesce(v.found, 0) IS DISTINCT FROM v.expected
    """,
    "a hold is captured and released at most once": """
        SELECT coalesce(h.member_id, t.member_id), 'hold ' || coalesce(h.id, t.hold_id) || ' ' || v.field,
               coalesce(v.found::text, 'no hold'), coalesce(v.expected, 0)::text
        FROM holds h
        FULL JOIN (
            SELECT member_id, hold_id, sum(amount) FILTER (WHERE kind = 'hold') AS amount,
                   sum(amount) FILTER (WHERE kind = 'capture') AS captured,
                   sum(amount) FILTER (WHERE kind = 'release') AS released
            FROM history WHERE hold_id IS NOT NULL GROUP BY member_id, hold_id
        ) t ON t.member_id = h.member_id AND t.hold_id = h.id
        CROSS JOIN LATERAL (VALUES
            ('amount', h.amount, t.amount), ('captured', h.captured, t.captured), ('released', h.released, t.released)
        ) AS v (field, found, expected)
        WHERE v.found IS DISTINCT FROM coalesce(v.expected, 0)
        UNION ALL
        SELECT h.member_id, 'hold ' || h.id, h.captured || ' captured, ' || h.released || ' released', 'at most ' || h.amount
        FROM holds h WHERE h.captured + h.released > h.amount OR least(h.captured, h.released) < 0
    """,
    "what a hold reserves is held by its lots": """
        SELECT h.member_id, 'parts of hold ' || h.id, coalesce(p.amount, 0)::text, (h.amount - h.captured - h.released)::text
        FROM holds h
        LEFT JOIN (SELECT member_id, id, sum(amount) AS amount FROM held_parts GROUP BY member_id, id) p
          ON p.member_id = h.member_id AND p.id = h.id
        WHERE coalesce(p.amount, 0) <> h.amount - h.captured - h.released
        UNION ALL
        SELECT coalesce(l.member_id, p.member_id), 'held of lot ' || coalesce(l.id, p.lot_id), coalesce(l.held::text, 'no lot'),
               coalesce(p.amount, 0)::text
        FROM lots l
        FULL JOIN (
            SELECT member_id, currency, lot_id, sum(amount) AS amount FROM held_parts GROUP BY member_id, currency, lot_id
        ) p ON p.member_id = l.member_id AND p.lot_id = l.id AND p.currency = l.currency
        WHERE l.held IS DISTINCT FROM coalesce(p.amount, 0)
    """,
    "a reversal never exceeds its original": """
        SELECT r.member_id, 'reversals of ' || r.reverses, coalesce(o.kind || ' of ' || o.amount, 'no such transaction'),
               r.kind || ' of ' || r.taken
        FROM (
            SELECT member_id, reverses, kind, currency, sum(coalesce(requested, amount)) AS taken
            FROM history WHERE reverses IS NOT NULL GROUP BY member_id, reverses, kind, currency
        ) r
        LEFT JOIN history o ON o.member_id = r.member_id AND o.id = r.reverses AND o.currency = r.currency
        LEFT JOIN LATERAL (
            -- What a merged member was issued or spent is taken back from the one that it became. Ids carry the bucket.
            SELECT t.kind, t.amount
            FROM transaction t
            JOIN member m ON m.program_id = t.program_id AND m.bucket = t.bucket AND m.member_id = t.member_id
            WHERE o.id IS NULL AND t.program_id = $1 AND t.id = r.reverses AND t.currency = r.currency
              AND t.bucket = (get_byte(uuid_send(r.reverses), 6) & 15) * 16 + get_byte(uuid_send(r.reverses), 7) / 16
              AND m.merged_into IS NOT NULL
        ) f ON true
        WHERE (o.id IS NULL AND f.kind IS NULL) OR r.taken > coalesce(o.amount, f.amount)
           OR NOT ((r.kind = 'clawback' AND coalesce(o.kind, f.kind) IN ('earn', 'import'))
                OR (r.kind = 'refund' AND coalesce(o.kind, f.kind) IN ('spend', 'capture')))
    """,
    "reversal totals are the sums of the reversals": """
        SELECT coalesce(s.member_id, r.member_id), 'reversed of ' || coalesce(s.transaction_id, r.reverses),
               coalesce(s.reversed, 0)::text, coalesce(r.taken, 0)::text
        FROM (SELECT * FROM reversal WHERE program_id = $1 AND bucket = $2) s
        FULL JOIN (
            SELECT member_id, reverses, sum(coalesce(requested, amount)) AS taken
            FROM history WHERE reverses IS NOT NULL GROUP BY member_id, reverses
        ) r ON r.member_id = s.member_id AND r.reverses = s.transaction_id
        WHERE coalesce(s.reversed, 0) <> coalesce(r.taken, 0)
    """,
    "outbox rows match transactions": """
        SELECT coalesce(t.member_id, o.member_id), 'outbox row ' || coalesce(t.id, o.id),
               coalesce(o.seq || ' ' || o.topic || ' ' || (o.payload ->> 'amount') || ' ' || (o.payload ->> 'currency'), 'none'),
               coalesce(t.seq || ' ledger.' || t.kind || ' ' || t.amount || ' ' || t.currency, 'none')
        FROM (SELECT * FROM history WHERE id >= $3::uuid) t
        FULL JOIN (
            SELECT * FROM outbox WHERE program_id = $1 AND bucket = $2 AND topic LIKE 'ledger.%' AND id >= $3::uuid
        ) o ON o.member_id = t.member_id AND o.id = t.id
        WHERE o.id IS NULL OR t.id IS NULL OR o.seq <> t.seq OR o.topic <> 'ledger.' || t.kind
           OR o.recorded_at <> t.recorded_at OR (o.payload ->> 'amount')::bigint <> t.amount
           OR o.payload ->> 'currency' <> t.currency
    """,
    "what was answered is kept with its key": """
        SELECT d.member_id, 'key ' || d.key, 'nothing kept', 'event or answer ' || d.entry_id
        FROM dedup d
        LEFT JOIN event e ON e.program_id = $1 AND e.bucket = $2 AND e.member_id = d.member_id AND e.id = d.entry_id
        LEFT JOIN answer a ON a.program_id = $1 AND a.bucket = $2 AND a.member_id = d.member_id AND a.id = d.entry_id
        WHERE d.program_id = $1 AND d.bucket = $2 AND e.id IS NULL AND a.id IS NULL AND d.entry_id >= greatest($4::uuid, $5::uuid)
          AND (
            -- What is sent to a merged member is decided for the one that it became. Ids carry the bucket.
            SELECT true
            FROM member m
            CROSS JOIN LATERAL (
                SELECT (get_byte(uuid_send(d.entry_id), 6) & 15) * 16 + get_byte(uuid_send(d.entry_id), 7) / 16 AS bucket
            ) t
            CROSS JOIN LATERAL (
                SELECT 1 FROM event b WHERE b.program_id = $1 AND b.bucket = t.bucket AND b.id = d.entry_id
                UNION ALL
                SELECT 1 FROM answer b WHERE b.program_id = $1 AND b.bucket = t.bucket AND b.id = d.entry_id
            ) b
            WHERE m.program_id = $1 AND m.bucket = $2 AND m.member_id = d.member_id AND m.merged_into IS NOT NULL
            LIMIT 1
          ) IS NULL
    """,
    "what was decided cannot be decided again": f"""
        SELECT e.member_id, 'event ' || e.id, 'no key', 'its key'
        FROM event e
        LEFT JOIN dedup d ON d.program_id = $1 AND d.bucket = $2 AND d.member_id = e.member_id AND d.entry_id = e.id
        WHERE e.program_id = $1 AND e.bucket = $2 AND e.status <> 'quarantined' AND e.type <> '{TIME_PASSED}' AND d.key IS NULL
          AND e.id >= $4::uuid
        UNION ALL
        SELECT a.member_id, 'answer ' || a.id, 'no key', 'its key'
        FROM answer a
        LEFT JOIN dedup d ON d.program_id = $1 AND d.bucket = $2 AND d.member_id = a.member_id AND d.entry_id = a.id
        WHERE a.program_id = $1 AND a.bucket = $2 AND d.key IS NULL AND a.id >= $5::uuid
    """,
}
"""What must hold → the rows that say where it does not."""

CHECK_BUCKET: Final = _BASE + "\nUNION ALL\n".join(
    f"(SELECT {number} AS number, q.* FROM ({sql}) q (member_id, subject, found, expected)"
    f" ORDER BY q.member_id LIMIT {FINDINGS_MAX})"
    for number, sql in enumerate(CHECKS.values())
)
NAMES: Final = tuple(CHECKS)
