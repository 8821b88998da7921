"""What is kept of member tokens, which are not stored: how often those of a member were revoked, and which singly."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Uuid

from rewards.db.tables.base import member_key, metadata, moment

member_token_epoch = Table(
    "member_token_epoch",
    metadata,
    *member_key(),
    Column("epoch", Integer, nullable=False),
    comment="Raised to revoke all tokens of a member; a member without a row is at 0.",
)

ended_member_token = Table(
    "ended_member_token",
    metadata,
    *member_key(),
    Column("token_id", Uuid, primary_key=True),
    moment("expires_at"),
    comment="Member tokens that were revoked one by one, until some time after they would have expired.",
)
