"""What members have achieved is kept in rows.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "achievement",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="badge, quest, quest_step, streak or tier"),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "level", sa.Integer(), nullable=False, comment="a badge's level, a quest's step, a milestone, a tier's rank"
        ),
        sa.Column("instance", sa.Integer(), nullable=False, comment="how many times the same, from 1"),
        sa.Column("achieved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("announced", sa.Boolean(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint(
            "program_id", "bucket", "member_id", "kind", "key", "level", "instance", name=op.f("achievement_pkey")
        ),
        comment="Badges, quests, milestones and tiers, kept for good.",
    )
    op.execute(
        "CREATE TYPE written_achievements AS (bucket smallint, member_id uuid, kind text, key text, level int, instance int, "
        "achieved_at timestamptz, recorded_at timestamptz, revoked_at timestamptz, announced bool, event_id uuid)"
    )


def downgrade() -> None:
    op.execute("DROP TYPE written_achievements")
    op.drop_table("achievement")
