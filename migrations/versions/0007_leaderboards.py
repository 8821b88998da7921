"""Leaderboards: scores, marks, periods, results and removals.

Revision ID: 0007
Revises: 0006
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TYPES = {
    "written_leaderboard_scores": (
        "bucket smallint, member_id uuid, board text, period text, part text, score double precision, "
        "achieved_at timestamptz, shown bool, definition text, updated_at timestamptz"
    ),
    "written_leaderboard_gone": "bucket smallint, member_id uuid, board text, period text",
    "written_leaderboard_marks": (
        "bucket smallint, member_id uuid, board text, period text, part text, marked_at timestamptz"
    ),
    "written_leaderboard_removals": (
        "bucket smallint, member_id uuid, board text, reason text, actor text, removed_at timestamptz"
    ),
    "written_leaderboard_restored": "bucket smallint, member_id uuid, board text",
    "written_leaderboard_audits": (
        "id uuid, actor text, action text, target text, details jsonb, recorded_at timestamptz"
    ),
}


def member_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
    ]


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def create_scores() -> None:
    op.create_table(
        "leaderboard_score",
        *member_columns(),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False, comment="as boards name their periods: 2026-W47, all_time, …"),
        sa.Column(
            "part", sa.Text(), nullable=False, comment="the value of the attribute that splits the board; else empty"
        ),
        sa.Column("score", sa.Double(), nullable=False, comment="absolute: the same however often it is written"),
        moment("achieved_at"),
        sa.Column(
            "shown", sa.Boolean(), nullable=False, comment="false: removed, opted out or outside of the board's segment"
        ),
        sa.Column(
            "definition", sa.Text(), nullable=False, comment="the hash of what was counted; another one starts anew"
        ),
        moment("updated_at"),
        sa.PrimaryKeyConstraint(
            "program_id", "bucket", "member_id", "board", "period", name=op.f("leaderboard_score_pkey")
        ),
        comment="One score per member, board and period, until the period's result is frozen.",
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("leaderboard_score_board_idx", "leaderboard_score", ["program_id", "board", "period"])
    op.create_table(
        "leaderboard_dirty",
        *member_columns(),
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


def create_periods() -> None:
    op.create_table(
        "leaderboard_period",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        moment("starts_at", nullable=True),
        moment("ends_at", nullable=True),
        moment("closes_at", nullable=True),
        moment("closed_at", nullable=True),
        sa.Column("members", sa.BigInteger(), nullable=True, comment="in the frozen result, all parts together"),
        moment("cleared_at", nullable=True),
        sa.PrimaryKeyConstraint("program_id", "board", "period", name=op.f("leaderboard_period_pkey")),
        comment="Periods in which somebody scored. All time has no end.",
    )
    op.create_index(
        "leaderboard_period_open_idx",
        "leaderboard_period",
        ["program_id", "closes_at"],
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "leaderboard_result",
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column(
            "position",
            sa.BigInteger(),
            nullable=False,
            comment="from 1, without gaps; members of one rank by their ids",
        ),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        moment("achieved_at"),
        sa.PrimaryKeyConstraint(
            "program_id", "board", "period", "part", "position", name=op.f("leaderboard_result_pkey")
        ),
        comment="Rankings as they were when their periods closed, frozen.",
    )
    op.create_index(
        "leaderboard_result_member_idx",
        "leaderboard_result",
        ["program_id", "bucket", "member_id", "board", "period"],
    )


def upgrade() -> None:
    create_scores()
    create_periods()
    op.create_table(
        "leaderboard_removal",
        *member_columns(),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        moment("removed_at"),
        sa.PrimaryKeyConstraint("program_id", "bucket", "member_id", "board", name=op.f("leaderboard_removal_pkey")),
        comment="Members whom staff took off a board, until they are restored.",
    )
    for name, columns in TYPES.items():
        op.execute(f"CREATE TYPE {name} AS ({columns})")


def downgrade() -> None:
    for name in TYPES:
        op.execute(f"DROP TYPE {name}")
    for table in (
        "leaderboard_removal",
        "leaderboard_result",
        "leaderboard_period",
        "leaderboard_dirty",
        "leaderboard_score",
    ):
        op.drop_table(table)
