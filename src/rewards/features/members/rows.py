"""The member row after a batch: a new one, or the one that was there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from rewards.domain.state import MemberState
from rewards.pipeline.codec import encode_state
from rewards.pipeline.write_batch import MEMBER_COLUMNS, Row, Rows, Writes, insert

_json = msgspec.json.Encoder().encode


def _row(state: MemberState, writes: Writes) -> Row:
    return (
        _json(state.attributes).decode(),
        state.locale,
        state.timezone,
        encode_state(state, writes.program.metrics.values()),
        state.seq,
        state.last_now,
        state.merged_into,
    )


def _new_members(writes: Writes) -> Iterator[Row]:
    for state in writes.members.values():
        if state.id in writes.unknown:
            yield (state.bucket, state.id, state.kind, state.external_id, *_row(state, writes))


def _members(writes: Writes) -> Iterator[Row]:
    for state in writes.members.values():
        if state.id not in writes.unknown:
            yield (state.bucket, state.id, state.kind, *_row(state, writes), state.last_now)


_CHANGING: Final = (
    ("attributes", "jsonb"),
    ("locale", "text"),
    ("timezone", "text"),
    ("state", "bytea"),
    ("seq", "bigint"),
    ("last_now", "timestamptz"),
    ("merged_into", "uuid"),
)
_NEW: Final = (*MEMBER_COLUMNS, ("kind", "text"), ("external_id", "text"), *_CHANGING)
_MEMBER: Final = (*MEMBER_COLUMNS, ("kind", "text"), *_CHANGING, ("created_at", "timestamptz"))

ROWS: Final = (
    # Whoever makes the same member meanwhile is waited for here, in key order; then there is a row, and nothing is written.
    Rows(
        name="new_members",
        columns=_NEW,
        sql=insert("member", _NEW, also={"created_at": "now()"}) + " ORDER BY bucket, member_id"
        " ON CONFLICT (program_id, bucket, member_id) DO NOTHING RETURNING 1",
        collect=_new_members,
        exact=True,
    ),
    Rows(
        name="members",
        columns=_MEMBER,
        # The row exists and is locked. As an insert that conflicts it is found by its key, however tables are analysed.
        sql=insert("member", _MEMBER)
        + " ON CONFLICT (program_id, bucket, member_id) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name, _ in _CHANGING),
        collect=_members,
    ),
)
