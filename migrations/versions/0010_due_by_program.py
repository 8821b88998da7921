"""What falls due is found by program: each has its own clock, and none reads what is to come in another.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = (
    ("due_ready_idx", "due", "due_at", None),
    ("lot_due_idx", "lot", "due_at", "due_at IS NOT NULL"),
    ("hold_due_idx", "hold", "expires_at", "captured + released < amount"),
)


def upgrade() -> None:
    for name, table, moment, rows in INDEXES:
        op.drop_index(name, table_name=table)
        op.create_index(name, table, ["program_id", moment], postgresql_where=None if rows is None else sa.text(rows))


def downgrade() -> None:
    for name, table, moment, rows in INDEXES:
        op.drop_index(name, table_name=table)
        op.create_index(name, table, [moment], postgresql_where=None if rows is None else sa.text(rows))
