"""What members have seen of their news."""

from __future__ import annotations

from sqlalchemy import Table

from rewards.db.tables.base import member_key, metadata, moment

member_news = Table(
    "member_news",
    metadata,
    *member_key(),
    moment("seen_until"),
    comment="Until when a member has seen what it was awarded, by the moment of recording.",
)
