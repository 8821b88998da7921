"""What was refused is known to have been when the answer itself is kept no longer.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

DEDUPS = "bucket smallint, member_id uuid, key uuid, fingerprint bytea, entry_id uuid, quarantined bool, refused text"


def upgrade() -> None:
    op.add_column(
        "dedup",
        sa.Column("refused", sa.Text(), nullable=True, comment="the code of the refusal; null: it was done"),
    )
    # Of what was refused so long ago that its answer has gone, nobody can tell any more.
    op.execute(
        "UPDATE dedup d SET refused = a.body ->> 'code' FROM answer a"
        " WHERE a.status = 1 AND d.program_id = a.program_id AND d.bucket = a.bucket AND d.member_id = a.member_id"
        " AND d.entry_id = a.id"
    )
    op.execute(f"CREATE TYPE written_dedups_2 AS ({DEDUPS})")


def downgrade() -> None:
    op.execute("DROP TYPE written_dedups_2")
    op.drop_column("dedup", "refused")
