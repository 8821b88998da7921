"""Reading events. One statement per intent; `$1` is the program, then buckets and members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.ids import bucket_of
from rewards.domain.program.compiled import Program
from rewards.domain.recorded import TIME_PASSED
from rewards.pipeline.load import rows

_EVENT: Final = """e.bucket, e.member_id, e.id, e.client_id, e.type, e.status, e.program_version, e.occurred_at, e.recorded_at,
       e.properties, e.context, e.answer, e.sent_by"""

# A quarantined event that was replayed since is there twice, since history is only added to: the newer one counts.
EVENTS: Final = f"""
SELECT e.*
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN LATERAL (
    SELECT {_EVENT}
    FROM event e
    WHERE e.program_id = $1 AND e.bucket = k.bucket AND e.member_id = k.member_id
      AND ($4::uuid IS NULL OR e.id < $4) AND ($5::text[] IS NULL OR e.type = ANY($5)) AND ($6::text IS NULL OR e.status = $6)
      AND (e.status <> 'quarantined' OR EXISTS (
          SELECT FROM dedup d
          WHERE d.program_id = $1 AND d.bucket = k.bucket AND d.member_id = k.member_id AND d.entry_id = e.id AND d.quarantined
      ))
    ORDER BY e.id DESC
    LIMIT $7
) e
ORDER BY e.id DESC
LIMIT $7
"""

EVENT: Final = f"""
SELECT {_EVENT}, e.trace, e.contributions, n.place
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN unnest($4::uuid[]) WITH ORDINALITY AS n (key, place)
JOIN dedup d ON d.program_id = $1 AND d.bucket = k.bucket AND d.member_id = k.member_id AND d.key = n.key
LEFT JOIN event e ON e.program_id = d.program_id AND e.bucket = d.bucket AND e.member_id = d.member_id AND e.id = d.entry_id
ORDER BY n.place, e.id DESC NULLS LAST
LIMIT 1
"""
"""One row with nulls when the event was seen and has been dropped since; no row when it never was."""

PASSED: Final = f"""
SELECT {_EVENT}, e.trace, e.contributions, 1 AS place
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
JOIN event e ON e.program_id = $1 AND e.bucket = k.bucket AND e.member_id = k.member_id AND e.id = $4
WHERE e.client_id = $5 AND e.type = '{TIME_PASSED}'
"""
"""Nobody sent it, so no dedup row knows it."""

WAITING: Final = """
SELECT u.failure, n.place
FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
CROSS JOIN unnest($4::uuid[]) WITH ORDINALITY AS n (key, place)
JOIN due u ON u.program_id = $1 AND u.bucket = k.bucket AND u.member_id = k.member_id AND u.key = n.key
ORDER BY n.place
LIMIT 1
"""

CAUSED: Final = """
SELECT t.id, t.kind, t.currency, t.amount, t.source
FROM transaction t
WHERE t.program_id = $1 AND t.bucket = $2 AND t.member_id = $3 AND t.event_id = $4 AND t.id > $4 AND t.id < $5
ORDER BY t.seq
"""
"""A command's ids carry one moment, so its transactions lie right behind its event."""

TOLD: Final = """
SELECT t.id, t.kind, t.currency, t.amount, t.source
FROM transaction t
WHERE t.program_id = $1 AND t.bucket = $2 AND t.member_id = $3 AND t.id = ANY($6::uuid[]) AND t.id > $4 AND t.id < $5
ORDER BY t.seq
"""
"""What time brought about names the event that began it; which transactions that were, its effects say."""

_QUARANTINED: Final = f"""
SELECT {_EVENT}, e.trace, d.key, d.fingerprint, m.kind, m.external_id
FROM dedup d
JOIN event e ON e.program_id = d.program_id AND e.bucket = d.bucket AND e.member_id = d.member_id AND e.id = d.entry_id
JOIN member m ON m.program_id = d.program_id AND m.bucket = d.bucket AND m.member_id = d.member_id
WHERE d.program_id = $1 AND d.quarantined AND m.erased_at IS NULL"""

QUARANTINE: Final = f"""{_QUARANTINED}
  AND ($2::uuid IS NULL OR d.entry_id > $2) AND ($3::text[] IS NULL OR e.type = ANY($3))
ORDER BY d.entry_id
LIMIT $4
"""

QUARANTINED: Final = f"""{_QUARANTINED} AND d.entry_id = $2"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a member: of these types, of a status, older than `before`."""

    types: list[str] | None = None
    status: str | None = None
    before: UUID | None = None


def names_of(program: Program, name: str | None) -> list[str] | None:
    """All names of a type: an event that did not fit is kept under the name that it was sent with."""
    if name is None:
        return None
    key = program.names.get(name)
    return [name, *(known for known, its_key in program.names.items() if its_key == key)] if key else [name]


async def events(
    connection: AsyncConnection, program_id: int, members: Sequence[UUID], wanted: Wanted, limit: int
) -> Sequence[Any]:
    """The newest events recorded for these members."""
    buckets = [bucket_of(member) for member in members]
    return await rows(
        connection, EVENTS, program_id, buckets, members, wanted.before, wanted.types, wanted.status, limit
    )


async def event(
    connection: AsyncConnection, program_id: int, members: Sequence[UUID], keys: Sequence[UUID]
) -> Any | None:
    """The event of the first of these dedup keys that is known, and its `place` among them from 1.

    The rest of the row is null when the event has been dropped since.
    """
    found = await rows(connection, EVENT, program_id, [bucket_of(member) for member in members], members, keys)
    return found[0] if found else None


async def passed(connection: AsyncConnection, program_id: int, members: Sequence[UUID], identifier: str) -> Any | None:
    """As `event`, what time did by itself or a job brought about: recorded under `WORD:ID`, with its own id."""
    _, _, entry = identifier.rpartition(":")
    try:
        entry_id = UUID(entry)
    except ValueError:
        return None
    place = ([bucket_of(member) for member in members], members, entry_id, identifier)
    found = await rows(connection, PASSED, program_id, *place)
    return found[0] if found else None


async def waiting(
    connection: AsyncConnection, program_id: int, members: Sequence[UUID], keys: Sequence[UUID]
) -> Any | None:
    """As `event`, one accepted for later that is not decided; its `failure` says why it cannot be."""
    found = await rows(connection, WAITING, program_id, [bucket_of(member) for member in members], members, keys)
    return found[0] if found else None


async def caused(connection: AsyncConnection, program_id: int, event: Any) -> Sequence[Any]:
    """The transactions that deciding the event, a row of these statements, posted."""
    next_moment = UUID(int=(event.id.int >> 80) + 1 << 80)
    place = (bucket_of(event.member_id), event.member_id, event.id, next_moment)
    if event.type != TIME_PASSED:
        return await rows(connection, CAUSED, program_id, *place)
    told = [effect["transaction"] for effect in (event.answer or {}).get("effects", ()) if "transaction" in effect]
    return await rows(connection, TOLD, program_id, *place, told)


async def quarantine(
    connection: AsyncConnection, program_id: int, *, after: UUID | None, types: list[str] | None, limit: int
) -> Sequence[Any]:
    """Quarantined events that are not decided yet, the oldest first."""
    return await rows(connection, QUARANTINE, program_id, after, types, limit)


async def quarantined(connection: AsyncConnection, program_id: int, entry: UUID) -> Any | None:
    """One quarantined event that is not decided yet."""
    found = await rows(connection, QUARANTINED, program_id, entry)
    return found[0] if found else None
