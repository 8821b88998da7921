"""Large tables are sampled lightly for the planner's statistics. See docs/decisions/0026.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

PARTITIONED = ("event", "answer", "outbox", "transaction", "transaction_note", "posting")
LARGE = (*PARTITIONED, "member", "account", "lot", "dedup", "due", "leaderboard_score", "member_news")
ALTER_ALL_COLUMNS = """
DO $$
DECLARE altered text;
BEGIN
    FOR altered IN
        SELECT format('ALTER TABLE %I %s', relname, string_agg(format('ALTER COLUMN %I SET STATISTICS {target}', attname), ', '))
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace AND relname IN ({tables}) AND attnum > 0 AND NOT attisdropped
        GROUP BY relname
    LOOP
        EXECUTE altered;
    END LOOP;
END $$
"""


def upgrade() -> None:
    _sample(10)


def downgrade() -> None:
    _sample(-1)


def _sample(target: int) -> None:
    """A partitioned table passes the change on to the partitions that it has."""
    tables = ", ".join(f"'{table}'" for table in LARGE)
    op.execute(ALTER_ALL_COLUMNS.format(target=target, tables=tables))
