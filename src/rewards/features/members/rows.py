"""The member row after a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from rewards.pipeline.codec import encode_state
from rewards.pipeline.write_batch import MEMBER_COLUMNS, Row, Rows, Writes

_json = msgspec.json.Encoder().encode


def _members(writes: Writes) -> Iterator[Row]:
    for state in writes.members.values():
        yield (
            state.bucket,
            state.id,
            _json(state.attributes).decode(),
            state.locale,
            state.timezone,
            encode_state(state, writes.program.metrics.values()),
            state.seq,
            state.last_now,
            state.merged_into,
        )


ROWS: Final = (
    Rows(
        name="members",
        columns=(
            *MEMBER_COLUMNS,
            ("attributes", "jsonb"),
            ("locale", "text"),
            ("timezone", "text"),
            ("state", "bytea"),
            ("seq", "bigint"),
            ("last_now", "timestamptz"),
            ("merged_into", "uuid"),
        ),
        sql="""
            UPDATE member m SET attributes = r.attributes, locale = r.locale, timezone = r.timezone, state = r.state,
                seq = r.seq, last_now = r.last_now, merged_into = r.merged_into
            FROM :rows
            WHERE m.program_id = $1 AND m.bucket = r.bucket AND m.member_id = r.member_id
        """,
        collect=_members,
    ),
)
