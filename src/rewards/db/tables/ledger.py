"""The ledger: balances and lots that change, transactions and postings that never do."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, SmallInteger, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from rewards.db.tables.base import amount, document, member_key, metadata, moment

_BUCKETS = ("available", "pending", "held", "debt")
_TOTALS = ("issued", "redeemed", "expired", "revoked", "sent", "received")
_LOT_PARTS = ("pending", "available", "held", "redeemed", "expired", "revoked", "sent")

account = Table(
    "account",
    metadata,
    *member_key(),
    Column("currency", Text, primary_key=True),
    *(amount(name) for name in (*_BUCKETS, *_TOTALS)),
    moment("last_activity_at", nullable=True),
    CheckConstraint(" AND ".join(f"{name} >= 0" for name in (*_BUCKETS, *_TOTALS)), name="not_negative"),
    CheckConstraint(
        "available + pending + held - debt = issued + received - redeemed - expired - revoked - sent", name="balanced"
    ),
    postgresql_with={"fillfactor": "70"},
)

lot = Table(
    "lot",
    metadata,
    *member_key(),
    Column("id", Uuid, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("rule", Text, nullable=False),
    moment("opened_at"),
    amount("amount"),
    *(amount(name) for name in _LOT_PARTS),
    moment("matures_at", nullable=True),
    moment("expires_at", nullable=True),
    moment("due_at", nullable=True),
    CheckConstraint(" AND ".join(f"{name} >= 0" for name in _LOT_PARTS), name="not_negative"),
    CheckConstraint(" + ".join(_LOT_PARTS) + " = amount", name="sums"),
    postgresql_with={"fillfactor": "80"},
)
Index(
    "lot_open_idx",
    lot.c.program_id,
    lot.c.bucket,
    lot.c.member_id,
    lot.c.due_at,
    postgresql_where=(lot.c.pending + lot.c.available + lot.c.held > 0),
)
Index("lot_due_idx", lot.c.program_id, lot.c.due_at, postgresql_where=lot.c.due_at.isnot(None))

hold = Table(
    "hold",
    metadata,
    *member_key(),
    Column("id", Uuid, primary_key=True),
    Column("currency", Text, nullable=False),
    amount("amount"),
    amount("captured"),
    amount("released"),
    Column("lots", ARRAY(Uuid), nullable=False),
    Column("amounts", ARRAY(BigInteger), nullable=False, comment="what each lot still holds, beside `lots`"),
    Column("reference", Text, nullable=True),
    moment("created_at"),
    moment("expires_at"),
    CheckConstraint("captured >= 0 AND released >= 0 AND captured + released <= amount", name="bounded"),
)
Index(
    "hold_open_idx",
    hold.c.program_id,
    hold.c.bucket,
    hold.c.member_id,
    postgresql_where=(hold.c.captured + hold.c.released < hold.c.amount),
)
Index(
    "hold_due_idx",
    hold.c.program_id,
    hold.c.expires_at,
    postgresql_where=(hold.c.captured + hold.c.released < hold.c.amount),
)

transaction = Table(
    "transaction",
    metadata,
    *member_key(),
    Column("id", Uuid, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("requested", BigInteger, nullable=True),
    Column("source", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("reverses", Uuid, nullable=True),
    Column("hold_id", Uuid, nullable=True),
    Column("event_id", Uuid, nullable=True),
    Column("reference_key", Uuid, nullable=True, comment="keyed hash of the reference, for reversal by order"),
    *(Column(f"{name}_after", BigInteger, nullable=False) for name in _BUCKETS),
    moment("effective_at"),
    moment("recorded_at"),
    postgresql_partition_by="RANGE (id)",
)
Index(
    "transaction_reference_idx",
    transaction.c.program_id,
    transaction.c.bucket,
    transaction.c.member_id,
    transaction.c.reference_key,
    postgresql_where=transaction.c.reference_key.isnot(None),
)

transaction_note = Table(
    "transaction_note",
    metadata,
    *member_key(),
    Column("id", Uuid, primary_key=True),
    Column("reference", Text, nullable=True),
    Column("note", Text, nullable=True),
    document("metadata"),
    postgresql_partition_by="RANGE (id)",
    comment="What is personal or free text about a transaction; erasable, unlike the transaction.",
)

posting = Table(
    "posting",
    metadata,
    *member_key(),
    Column("transaction_id", Uuid, primary_key=True),
    Column("ordinal", SmallInteger, primary_key=True),
    Column("debit", SmallInteger, nullable=False),
    Column("credit", SmallInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("lot_id", Uuid, nullable=True),
    CheckConstraint("amount > 0 AND debit <> credit", name="moves"),
    postgresql_partition_by="RANGE (transaction_id)",
)

reversal = Table(
    "reversal",
    metadata,
    *member_key(),
    Column("transaction_id", Uuid, primary_key=True),
    amount("reversed"),
    comment="How much of a transaction has been taken back; at most its amount.",
)
