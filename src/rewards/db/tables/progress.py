"""What members have achieved."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, Table, Text, Uuid

from rewards.db.tables.base import member_key, metadata, moment

achievement = Table(
    "achievement",
    metadata,
    *member_key(),
    Column("kind", Text, primary_key=True, comment="badge, quest, quest_step, streak or tier"),
    Column("key", Text, primary_key=True),
    Column("level", Integer, primary_key=True, comment="a badge's level, a quest's step, a milestone, a tier's rank"),
    Column("instance", Integer, primary_key=True, comment="how many times the same, from 1"),
    moment("achieved_at"),
    moment("recorded_at"),
    moment("revoked_at", nullable=True),
    Column("announced", Boolean, nullable=False),
    Column("event_id", Uuid, nullable=True),
    comment="Badges, quests, milestones and tiers, kept for good.",
)
