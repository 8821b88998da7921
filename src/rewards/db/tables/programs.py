"""Programs, their versions and keys, and the counters that all members share."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from rewards.db.tables.base import amount, document, metadata, moment

program = Table(
    "program",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False, server_default="live"),
    Column(
        "secret",
        LargeBinary,
        nullable=False,
        comment="the key behind member ids, wrapped by REWARDS_SECRET_KEY; never rotates",
    ),
    Column("clock_offset", Interval, nullable=False, server_default="0", comment="zero unless kind is sandbox"),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="rises with every publication, pause and resume",
    ),
    Column("published", Integer, nullable=True),
    moment("created_at"),
    Column(
        "member_origins",
        ARRAY(Text),
        nullable=False,
        server_default="{}",
        comment="web origins that may use member tokens; none: any",
    ),
    Column("token_epoch", Integer, nullable=False, server_default="0", comment="raised to revoke all member tokens"),
    Column(
        "boards",
        JSONB,
        nullable=False,
        server_default="{}",
        comment="by board: what it counts, its grace, and until when ended periods are sealed",
    ),
    CheckConstraint("kind IN ('live', 'sandbox')", name="kind"),
    CheckConstraint("kind = 'sandbox' OR clock_offset = interval '0'", name="clock"),
)

program_version = Table(
    "program_version",
    metadata,
    Column("program_id", Integer, ForeignKey("program.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("status", Text, nullable=False),
    document("document", nullable=False),
    Column("source", Text, nullable=True, comment="the document as written, comments included"),
    Column("digest", LargeBinary, nullable=False),
    Column("author", Text, nullable=False),
    Column("note", Text, nullable=True),
    moment("created_at"),
    moment("published_at", nullable=True),
    CheckConstraint("status IN ('draft', 'published', 'superseded')", name="status"),
)

rule_pause = Table(
    "rule_pause",
    metadata,
    Column("program_id", Integer, ForeignKey("program.id"), primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=True),
    moment("paused_at"),
    comment="Kill switches: rules that are paused without a new version.",
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("program_id", Integer, ForeignKey("program.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("origins", ARRAY(Text), nullable=False, server_default="{}"),
    Column("rate_per_second", Integer, nullable=True),
    moment("created_at"),
    moment("revoked_at", nullable=True),
    CheckConstraint("kind IN ('secret', 'public')", name="kind"),
)

counter = Table(
    "counter",
    metadata,
    Column("program_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True, comment="rule, unit and period"),
    amount("used"),
    amount("total"),
    CheckConstraint("used >= 0", name="not_negative"),
    postgresql_with={"fillfactor": "50"},
    comment="Budgets that all members share; locked after members and before any write.",
)
