"""Events say who sent them. Member tokens may be ended one by one.

Events recorded before say nothing of it: the column stays null for them, and nothing is rewritten.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

EVENTS = (
    "bucket smallint, member_id uuid, id uuid, client_id text, type text, status text, "
    "program_version int, occurred_at timestamptz, recorded_at timestamptz, properties json, context "
    "json, answer json, trace json, contributions json, sent_by text"
)


def upgrade() -> None:
    op.add_column(
        "event",
        sa.Column(
            "sent_by",
            sa.Text(),
            nullable=True,
            comment="server, public or customer; null: nobody, or not known any more",
        ),
    )
    op.execute(f"CREATE TYPE written_events_3 AS ({EVENTS})")
    op.create_table(
        "ended_member_token",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "bucket", "member_id", "token_id", name=op.f("ended_member_token_pkey")),
        comment="Member tokens that were revoked one by one, until some time after they would have expired.",
    )


def downgrade() -> None:
    op.drop_table("ended_member_token")
    op.execute("DROP TYPE written_events_3")
    op.drop_column("event", "sent_by")
