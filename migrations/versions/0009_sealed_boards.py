"""A program knows what its boards count and until when their ended periods are sealed.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "program",
        sa.Column(
            "boards",
            postgresql.JSONB(),
            nullable=False,
            server_default="{}",
            comment="by board: what it counts, its grace, and until when ended periods are sealed",
        ),
    )


def downgrade() -> None:
    op.drop_column("program", "boards")
