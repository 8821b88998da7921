"""Member tokens: from which pages they may be used, and how often they were revoked. What members have seen of their news.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "program",
        sa.Column(
            "member_origins",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            server_default="{}",
            comment="web origins that may use member tokens; none: any",
        ),
    )
    op.add_column(
        "program",
        sa.Column(
            "token_epoch",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="raised to revoke all member tokens",
        ),
    )
    op.create_table(
        "member_token_epoch",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "bucket", "member_id", name=op.f("member_token_epoch_pkey")),
        comment="Raised to revoke all tokens of a member; a member without a row is at 0.",
    )
    op.create_table(
        "member_news",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("seen_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "bucket", "member_id", name=op.f("member_news_pkey")),
        comment="Until when a member has seen what it was awarded, by the moment of recording.",
    )


def downgrade() -> None:
    op.drop_table("member_news")
    op.drop_table("member_token_epoch")
    op.drop_column("program", "token_epoch")
    op.drop_column("program", "member_origins")
