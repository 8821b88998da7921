"""Commands as they came in: events with their answers, what makes them happen once, and what is still to run."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from rewards.db.tables.base import document, member_key, metadata, moment, record

event = Table(
    "event",
    metadata,
    *member_key(),
    Column("id", Uuid, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("program_version", Integer, nullable=False),
    moment("occurred_at"),
    moment("recorded_at"),
    record("properties"),
    record("context"),
    record("answer"),
    record("trace"),
    record("contributions"),
    Column("sent_by", Text, nullable=True, comment="server, public or customer; null: nobody, or not known any more"),
    postgresql_partition_by="RANGE (id)",
)

answer = Table(
    "answer",
    metadata,
    *member_key(),
    Column("id", Uuid, primary_key=True),
    Column("status", SmallInteger, nullable=False, comment="0 accepted, 1 refused"),
    record("body"),
    postgresql_partition_by="RANGE (id)",
    comment="The stored answer of a mutation other than an event, replayed for the same Idempotency-Key.",
)

dedup = Table(
    "dedup",
    metadata,
    *member_key(),
    Column("key", Uuid, primary_key=True, comment="keyed hash of (member as sent, id)"),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("entry_id", Uuid, nullable=False, comment="the event or answer that holds what was said then"),
    Column("quarantined", Boolean, nullable=False, server_default="false"),
    Column("refused", Text, nullable=True, comment="the code of the refusal; null: it was done"),
    comment="Permanent. What was seen once is never decided again.",
)
Index("dedup_quarantined_idx", dedup.c.program_id, dedup.c.entry_id, postgresql_where=dedup.c.quarantined)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("program_id", Integer, nullable=False),
    Column("bucket", SmallInteger, nullable=False),
    Column("member_id", Uuid, nullable=False),
    Column("command", Text, nullable=False),
    Column("content", LargeBinary, nullable=False, comment="the command as msgpack"),
    Column("sqlstate", Text, nullable=True),
    moment("recorded_at"),
    comment="Commands that the database refused to store.",
)

taken_back_event = Table(
    "taken_back_event",
    metadata,
    *member_key(),
    Column("event_id", Uuid, primary_key=True),
    moment("recorded_at"),
    comment="Events that count no longer, since what they paid was taken back.",
)

outbox = Table(
    "outbox",
    metadata,
    *member_key(),
    Column("id", Uuid, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    document("payload"),
    moment("recorded_at"),
    postgresql_partition_by="RANGE (id)",
    comment="What others may want to hear of, written with the facts.",
)

due = Table(
    "due",
    metadata,
    *member_key(),
    Column("key", Uuid, primary_key=True, comment="the dedup key that the command will have"),
    moment("due_at"),
    Column("name", Text, nullable=False),
    document("payload", nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    moment("leased_until", nullable=True),
    Column("failure", Text, nullable=True),
    comment="Commands to come: accepted for later, for another member, or at a moment.",
)
Index("due_ready_idx", due.c.program_id, due.c.due_at)
