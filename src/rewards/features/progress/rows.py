"""Achievements as rows: they outlive what the member's document remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rewards.pipeline.write_batch import MEMBER_COLUMNS, Row, Rows, Writes, insert

_ACHIEVEMENT: Final = (
    *MEMBER_COLUMNS,
    ("kind", "text"),
    ("key", "text"),
    ("level", "int"),
    ("instance", "int"),
    ("achieved_at", "timestamptz"),
    ("recorded_at", "timestamptz"),
    ("revoked_at", "timestamptz"),
    ("announced", "bool"),
    ("event_id", "uuid"),
)
_CHANGING: Final = ("achieved_at", "recorded_at", "revoked_at", "announced", "event_id")


def _achievements(writes: Writes) -> Iterator[Row]:
    last: dict[tuple[object, ...], Row] = {}
    for decided in writes.decided:
        outcome = decided.outcome
        for each in outcome.achievements if outcome is not None else ():
            assert outcome is not None
            key = (outcome.state.id, each.kind, each.key, each.level, each.instance)
            last[key] = (
                outcome.state.bucket,
                outcome.state.id,
                each.kind,
                each.key,
                each.level,
                each.instance,
                each.achieved_at,
                outcome.now,
                each.revoked_at,
                each.announced,
                each.event,
            )
    yield from last.values()


ROWS: Final = (
    Rows(
        "achievements",
        _ACHIEVEMENT,
        insert("achievement", _ACHIEVEMENT)
        + " ON CONFLICT (program_id, bucket, member_id, kind, key, level, instance) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in _CHANGING),
        _achievements,
    ),
)
