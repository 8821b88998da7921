"""What is decided without a lock is checked by the statement that writes it.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NEW_MEMBERS = (
    "bucket smallint, member_id uuid, kind text, external_id text, attributes jsonb, locale text, timezone text, state bytea,"
    " seq bigint, last_now timestamptz, merged_into uuid"
)
CLAIMS = "key text, amount bigint, total bigint"
REFUSE_WRITE = """
CREATE FUNCTION refuse_write(failed text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RW001', MESSAGE = failed;
END $$
"""


def upgrade() -> None:
    op.execute(f"CREATE TYPE written_new_members AS ({NEW_MEMBERS})")
    op.execute(f"CREATE TYPE written_claims AS ({CLAIMS})")
    op.execute(REFUSE_WRITE)


def downgrade() -> None:
    op.execute("DROP FUNCTION refuse_write(text)")
    op.execute("DROP TYPE written_claims")
    op.execute("DROP TYPE written_new_members")
