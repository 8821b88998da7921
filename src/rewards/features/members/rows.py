"""The member row after a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from rewards.pipeline.codec import encode_state
from rewards.pipeline.write_batch import MEMBER_COLUMNS, Row, Rows, Writes, insert

_json = msgspec.json.Encoder().encode


def _members(writes: Writes) -> Iterator[Row]:
    for state in writes.members.values():
        yield (
            state.bucket,
            state.id,
            state.kind,
            _json(state.attributes).decode(),
            state.locale,
            state.timezone,
            encode_state(state, writes.program.metrics.values()),
            state.seq,
            state.last_now,
            state.merged_into,
            state.last_now,
        )


_MEMBER: Final = (
    *MEMBER_COLUMNS,
    ("kind", "text"),
    ("attributes", "jsonb"),
    ("locale", "text"),
    ("timezone", "text"),
    ("state", "bytea"),
    ("seq", "bigint"),
    ("last_now", "timestamptz"),
    ("merged_into", "uuid"),
    ("created_at", "timestamptz"),
)
_CHANGING: Final = ("attributes", "locale", "timezone", "state", "seq", "last_now", "merged_into")

ROWS: Final = (
    Rows(
        name="members",
        columns=_MEMBER,
        # The row exists and is locked. As an insert that conflicts it is found by its key, however tables are analysed.
        sql=insert("member", _MEMBER)
        + " ON CONFLICT (program_id, bucket, member_id) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in _CHANGING),
        collect=_members,
    ),
)
