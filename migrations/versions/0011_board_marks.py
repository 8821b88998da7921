"""Marks of boards: a row for all members whose scores a batch changed, instead of a row for each.

Revision ID: 0011
Revises: 0010
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MARKS = "board text, period text, part text, buckets smallint[], members uuid[], marked_at timestamptz"
MARKS_BEFORE = "bucket smallint, member_id uuid, board text, period text, part text, marked_at timestamptz"


def moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    op.rename_table("leaderboard_dirty", "leaderboard_dirty_before")
    op.execute("ALTER INDEX leaderboard_dirty_pkey RENAME TO leaderboard_dirty_before_pkey")
    op.create_table(
        "leaderboard_dirty",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("buckets", sa.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("members", sa.ARRAY(sa.Uuid()), nullable=False),
        moment("marked_at"),
        sa.PrimaryKeyConstraint("program_id", "board", "id", name=op.f("leaderboard_dirty_pkey")),
        comment=(
            "Whose scores a batch changed (or took from this part)."
            " Never updated; deleted by whoever has projected them."
        ),
        postgresql_with={"autovacuum_vacuum_threshold": "1000", "autovacuum_vacuum_scale_factor": "0"},
    )
    op.execute(
        "INSERT INTO leaderboard_dirty (program_id, board, period, part, buckets, members, marked_at)"
        " SELECT program_id, board, period, part, array_agg(bucket), array_agg(member_id), min(marked_at)"
        " FROM leaderboard_dirty_before GROUP BY program_id, board, period, part, bucket"
    )
    op.drop_table("leaderboard_dirty_before")
    op.execute("DROP TYPE written_leaderboard_marks")
    op.execute(f"CREATE TYPE written_leaderboard_marks_2 AS ({MARKS})")


def downgrade() -> None:
    op.execute("DROP TYPE written_leaderboard_marks_2")
    op.execute(f"CREATE TYPE written_leaderboard_marks AS ({MARKS_BEFORE})")
    op.rename_table("leaderboard_dirty", "leaderboard_dirty_after")
    op.execute("ALTER INDEX leaderboard_dirty_pkey RENAME TO leaderboard_dirty_after_pkey")
    op.create_table(
        "leaderboard_dirty",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="of the transaction that marked it last"),
        moment("marked_at"),
        sa.PrimaryKeyConstraint(
            "program_id", "bucket", "member_id", "board", "period", "part", name=op.f("leaderboard_dirty_pkey")
        ),
        comment="Scores that changed (or went from this part). Whoever has projected one deletes the mark of that version.",
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(
        "INSERT INTO leaderboard_dirty (program_id, bucket, member_id, board, period, part, version, marked_at)"
        " SELECT program_id, bucket, member_id, board, period, part, 0, min(marked_at)"
        " FROM leaderboard_dirty_after, unnest(buckets, members) AS marked (bucket, member_id)"
        " GROUP BY program_id, bucket, member_id, board, period, part"
    )
    op.drop_table("leaderboard_dirty_after")
