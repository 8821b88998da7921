"""The member row: the version and the lock that everything of a member stands behind, and the compact state that deciding needs."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text, Uuid

from rewards.db.tables.base import document, member_key, metadata, moment

member = Table(
    "member",
    metadata,
    *member_key(),
    Column("kind", Text, nullable=False),
    Column("external_id", Text, nullable=True, comment="what callers call the member; erasable"),
    document("attributes", nullable=False),
    Column("locale", Text, nullable=True),
    Column("timezone", Text, nullable=True),
    Column(
        "state", LargeBinary, nullable=False, comment="msgpack of metrics, limits and segments; see pipeline/codec.py"
    ),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    moment("last_now", nullable=True),
    Column("merged_into", Uuid, nullable=True),
    moment("erased_at", nullable=True),
    moment("created_at"),
    postgresql_with={"fillfactor": "70"},
    comment="One per program and external id. What the member owns changes only together with this row, which is locked by what writes.",
)
