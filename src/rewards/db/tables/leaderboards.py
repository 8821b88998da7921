"""Leaderboards: scores as they stand, marks of what readers have not seen yet, periods, frozen results, and removals."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from rewards.db.tables.base import member_key, metadata, moment

leaderboard_score = Table(
    "leaderboard_score",
    metadata,
    *member_key(),
    Column("board", Text, primary_key=True),
    Column("period", Text, primary_key=True, comment="as boards name their periods: 2026-W47, all_time, …"),
    Column("part", Text, nullable=False, comment="the value of the attribute that splits the board; else empty"),
    Column("score", Double, nullable=False, comment="absolute: the same however often it is written"),
    moment("achieved_at"),
    Column("shown", Boolean, nullable=False, comment="false: removed, opted out or outside of the board's segment"),
    Column("definition", Text, nullable=False, comment="the hash of what was counted; another one starts anew"),
    moment("updated_at"),
    postgresql_with={"fillfactor": "70"},
    comment="One score per member, board and period, until the period's result is frozen.",
)
# Nothing that a new score changes is in an index, so that it stays on the page (HOT).
Index(
    "leaderboard_score_board_idx",
    leaderboard_score.c.program_id,
    leaderboard_score.c.board,
    leaderboard_score.c.period,
)

leaderboard_dirty = Table(
    "leaderboard_dirty",
    metadata,
    Column("program_id", Integer, primary_key=True),
    Column("board", Text, primary_key=True),
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("period", Text, nullable=False),
    Column("part", Text, nullable=False),
    Column("buckets", ARRAY(SmallInteger), nullable=False),
    Column("members", ARRAY(Uuid), nullable=False),
    moment("marked_at"),
    # A queue: nearly all of its rows are dead, and whoever reads it reads past them.
    postgresql_with={"autovacuum_vacuum_threshold": "1000", "autovacuum_vacuum_scale_factor": "0"},
    comment="Whose scores a batch changed (or took from this part). Never updated; deleted by whoever has projected them.",
)

leaderboard_period = Table(
    "leaderboard_period",
    metadata,
    Column("program_id", Integer, primary_key=True),
    Column("board", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("definition", Text, nullable=False),
    moment("starts_at", nullable=True),
    moment("ends_at", nullable=True),
    moment("closes_at", nullable=True),
    moment("closed_at", nullable=True),
    Column("members", BigInteger, nullable=True, comment="in the frozen result, all parts together"),
    moment("cleared_at", nullable=True),
    comment="Periods in which somebody scored. All time has no end.",
)
Index(
    "leaderboard_period_open_idx",
    leaderboard_period.c.program_id,
    leaderboard_period.c.closes_at,
    postgresql_where=leaderboard_period.c.closed_at.is_(None),
)

leaderboard_result = Table(
    "leaderboard_result",
    metadata,
    Column("program_id", Integer, primary_key=True),
    Column("board", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, comment="from 1, without gaps; members of one rank by their ids"),
    Column("rank", BigInteger, nullable=False),
    Column("bucket", SmallInteger, nullable=False),
    Column("member_id", Uuid, nullable=False),
    Column("score", Double, nullable=False),
    moment("achieved_at"),
    comment="Rankings as they were when their periods closed, frozen.",
)
Index(
    "leaderboard_result_member_idx",
    leaderboard_result.c.program_id,
    leaderboard_result.c.bucket,
    leaderboard_result.c.member_id,
    leaderboard_result.c.board,
    leaderboard_result.c.period,
)

leaderboard_removal = Table(
    "leaderboard_removal",
    metadata,
    *member_key(),
    Column("board", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    moment("removed_at"),
    comment="Members whom staff took off a board, until they are restored.",
)
