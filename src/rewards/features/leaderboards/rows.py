"""What a batch writes for leaderboards: scores as they are now, marks for those who project them, removals and their audit.

Scores are absolute and written under the member's lock, so that neither order nor repetition does any harm. A batch leaves
one mark a board, period and part, with all members whose scores it changed there: whoever has read it reads scores that
are at least as new, and deletes it once they are projected. A later change leaves a mark of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID, uuid5

import msgspec

from rewards.domain.outcome import BoardScore, Outcome
from rewards.pipeline.submission import Decided
from rewards.pipeline.write_batch import MEMBER_COLUMNS, Row, Rows, Writes, insert

_json = msgspec.json.Encoder().encode


def _last_scores(writes: Writes) -> dict[tuple[UUID, str, str], tuple[BoardScore, Outcome]]:
    """The last word of the batch on each member, board and period."""
    last: dict[tuple[UUID, str, str], tuple[BoardScore, Outcome]] = {}
    for decided in writes.decided:
        outcome = decided.outcome
        if outcome is not None:
            for row in outcome.scores:
                last[outcome.state.id, row.board, row.period] = row, outcome
    return last


def _scores(writes: Writes) -> Iterator[Row]:
    for (member, board, period), (row, outcome) in _last_scores(writes).items():
        if row.score is not None:
            yield (
                outcome.state.bucket,
                member,
                board,
                period,
                row.part,
                row.score,
                row.achieved_at,
                row.shown,
                row.definition,
                outcome.now,
            )


def _gone(writes: Writes) -> Iterator[Row]:
    for (member, board, period), (row, outcome) in _last_scores(writes).items():
        if row.score is None:
            yield outcome.state.bucket, member, board, period


def _marks(writes: Writes) -> Iterator[Row]:
    marks: dict[tuple[str, str, str], dict[UUID, int]] = {}
    moment = None
    for decided in writes.decided:
        outcome = decided.outcome
        for row in outcome.scores if outcome is not None else ():
            assert outcome is not None
            moment = outcome.now
            member, bucket = outcome.state.id, outcome.state.bucket
            marks.setdefault((row.board, row.period, row.part), {})[member] = bucket
            if row.left_part != row.part:
                marks.setdefault((row.board, row.period, row.left_part), {})[member] = bucket
    for place, members in marks.items():
        yield *place, list(members.values()), list(members), moment


def _last_removals(writes: Writes) -> dict[tuple[UUID, str], tuple[str | None, Decided]]:
    """The last word of the batch on who is off which board: the reason, or None for who is back."""
    last: dict[tuple[UUID, str], tuple[str | None, Decided]] = {}
    for decided in writes.decided:
        outcome = decided.outcome
        for notice in outcome.board_notices if outcome is not None else ():
            assert outcome is not None
            if notice.board is not None:
                reason = notice.reason if notice.action == "removed" else None
                last[outcome.state.id, notice.board] = reason, decided
    return last


def _removals(writes: Writes) -> Iterator[Row]:
    for (member, board), (reason, decided) in _last_removals(writes).items():
        outcome = decided.outcome
        assert outcome is not None
        if reason is not None:
            yield outcome.state.bucket, member, board, reason, decided.submission.actor, outcome.now


def _restored(writes: Writes) -> Iterator[Row]:
    for (member, board), (reason, decided) in _last_removals(writes).items():
        outcome = decided.outcome
        assert outcome is not None
        if reason is None:
            yield outcome.state.bucket, member, board


def _audits(writes: Writes) -> Iterator[Row]:
    for decided in writes.decided:
        outcome = decided.outcome
        for notice in outcome.board_notices if outcome is not None else ():
            assert outcome is not None
            details = {"leaderboard": notice.board, "reason": notice.reason}
            told = {name: value for name, value in details.items() if value is not None}
            yield (
                uuid5(outcome.id, f"{notice.action}:{notice.board}"),
                decided.submission.actor,
                f"leaderboard.{notice.action}",
                f"member:{outcome.state.id}",
                _json(told).decode(),
                outcome.now,
            )


_SCORE: Final = (
    *MEMBER_COLUMNS,
    ("board", "text"),
    ("period", "text"),
    ("part", "text"),
    ("score", "double precision"),
    ("achieved_at", "timestamptz"),
    ("shown", "bool"),
    ("definition", "text"),
    ("updated_at", "timestamptz"),
)
_CHANGING: Final = ("part", "score", "achieved_at", "shown", "definition", "updated_at")
_GONE: Final = (*MEMBER_COLUMNS, ("board", "text"), ("period", "text"))
_MARK: Final = (
    ("board", "text"),
    ("period", "text"),
    ("part", "text"),
    ("buckets", "smallint[]"),
    ("members", "uuid[]"),
    ("marked_at", "timestamptz"),
)
_REMOVAL: Final = (
    *MEMBER_COLUMNS,
    ("board", "text"),
    ("reason", "text"),
    ("actor", "text"),
    ("removed_at", "timestamptz"),
)
_RESTORED: Final = (*MEMBER_COLUMNS, ("board", "text"))
_AUDIT: Final = (
    ("id", "uuid"),
    ("actor", "text"),
    ("action", "text"),
    ("target", "text"),
    ("details", "jsonb"),
    ("recorded_at", "timestamptz"),
)

ROWS: Final = (
    Rows(
        "leaderboard_scores",
        _SCORE,
        insert("leaderboard_score", _SCORE)
        + " ON CONFLICT (program_id, bucket, member_id, board, period) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in _CHANGING),
        _scores,
    ),
    Rows(
        "leaderboard_gone",
        _GONE,
        "DELETE FROM leaderboard_score s USING :rows WHERE s.program_id = $1 AND s.bucket = r.bucket"
        " AND s.member_id = r.member_id AND s.board = r.board AND s.period = r.period",
        _gone,
    ),
    Rows("leaderboard_marks", _MARK, insert("leaderboard_dirty", _MARK), _marks, version=2),
    Rows(
        "leaderboard_removals",
        _REMOVAL,
        insert("leaderboard_removal", _REMOVAL) + " ON CONFLICT (program_id, bucket, member_id, board) DO UPDATE SET"
        " reason = excluded.reason, actor = excluded.actor, removed_at = excluded.removed_at",
        _removals,
    ),
    Rows(
        "leaderboard_restored",
        _RESTORED,
        "DELETE FROM leaderboard_removal s USING :rows WHERE s.program_id = $1 AND s.bucket = r.bucket"
        " AND s.member_id = r.member_id AND s.board = r.board",
        _restored,
    ),
    Rows("leaderboard_audits", _AUDIT, insert("audit", _AUDIT), _audits),
)
