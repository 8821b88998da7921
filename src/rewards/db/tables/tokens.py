"""What is kept of member tokens, which are not stored: how often those of a member were revoked."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table

from rewards.db.tables.base import member_key, metadata

member_token_epoch = Table(
    "member_token_epoch",
    metadata,
    *member_key(),
    Column("epoch", Integer, nullable=False),
    comment="Raised to revoke all tokens of a member; a member without a row is at 0.",
)
