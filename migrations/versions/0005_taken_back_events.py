"""Events that no longer count: what a reversal took the ground of.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "taken_back_event",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "bucket", "member_id", "event_id", name=op.f("taken_back_event_pkey")),
        comment="Events that count no longer, since what they paid was taken back.",
    )
    op.execute(
        "CREATE TYPE written_taken_back_events AS (bucket smallint, member_id uuid, event_id uuid, recorded_at timestamptz)"
    )


def downgrade() -> None:
    op.execute("DROP TYPE written_taken_back_events")
    op.drop_table("taken_back_event")
