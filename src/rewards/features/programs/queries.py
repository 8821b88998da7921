"""Reading SQL of programs: their versions, what is paused, and the audit of who changed what."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.tables import audit, program, program_version, rule_pause
from rewards.domain.ids import uuid8
from rewards.features.programs.store import UnknownVersion


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version without its document. `status` is draft, published or superseded."""

    number: int
    status: str
    author: str
    note: str | None
    created_at: datetime
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A version's document: as plain values, and as it was written where that was YAML."""

    number: int
    document: dict[str, Any]
    source: str | None

    @property
    def as_json(self) -> bytes:
        return msgspec.json.encode(self.document)

    @property
    def as_written(self) -> bytes:
        """YAML; JSON is YAML too."""
        return self.source.encode() if self.source is not None else self.as_json


@dataclass(frozen=True, slots=True)
class Pause:
    """A rule that does not fire, and who stopped it."""

    rule: str
    actor: str
    reason: str | None
    paused_at: datetime


@dataclass(frozen=True, slots=True)
class ProgramRow:
    """A program, the version that decides if there is one, and how many rules are paused."""

    id: int
    key: str
    kind: str
    published: int | None
    document: dict[str, Any]
    paused_rules: int


_versions = program_version.c
_SHOWN = (
    _versions.number,
    _versions.status,
    _versions.author,
    _versions.note,
    _versions.created_at,
    _versions.published_at,
)


async def read_program(connection: AsyncConnection, program_id: int) -> ProgramRow:
    """The document is empty where nothing is published."""
    pauses = select(func.count()).where(rule_pause.c.program_id == program.c.id).scalar_subquery()
    published = (_versions.program_id == program.c.id) & (_versions.number == program.c.published)
    row = (
        await connection.execute(
            select(program.c.id, program.c.key, program.c.kind, program.c.published, _versions.document, pauses)
            .outerjoin(program_version, published)
            .where(program.c.id == program_id)
        )
    ).one()
    return ProgramRow(*row[:4], _plain(row[4] or {}), row[5])


async def program_keys(connection: AsyncConnection, *, limit: int) -> list[tuple[str, str]]:
    """The programs of this installation by key, each with its kind; the live ones first."""
    found = select(program.c.key, program.c.kind).order_by(program.c.kind, program.c.key).limit(limit)
    return [(row.key, row.kind) for row in await connection.execute(found)]


def _plain(document: Any) -> dict[str, Any]:
    """Documents arrive as text where they were not decoded."""
    plain: dict[str, Any] = document if isinstance(document, dict) else msgspec.json.decode(document)
    return plain


async def list_versions(
    connection: AsyncConnection, program_id: int, *, before: int | None, limit: int
) -> list[VersionRow]:
    """The newest first."""
    statement = select(*_SHOWN).where(_versions.program_id == program_id)
    if before is not None:
        statement = statement.where(_versions.number < before)
    found = await connection.execute(statement.order_by(_versions.number.desc()).limit(limit))
    return [VersionRow(*row) for row in found]


async def read_version(connection: AsyncConnection, program_id: int, number: int) -> VersionRow:
    """Raises `UnknownVersion`."""
    mine = (_versions.program_id == program_id, _versions.number == number)
    row = (await connection.execute(select(*_SHOWN).where(*mine))).one_or_none()
    if row is None:
        raise UnknownVersion(f"the program has no version {number}", number=number)
    return VersionRow(*row)


async def read_document(connection: AsyncConnection, program_id: int, number: int) -> StoredDocument:
    """Raises `UnknownVersion`."""
    mine = (_versions.program_id == program_id, _versions.number == number)
    row = (await connection.execute(select(_versions.document, _versions.source).where(*mine))).one_or_none()
    if row is None:
        raise UnknownVersion(f"the program has no version {number}", number=number)
    return StoredDocument(number, _plain(row.document), row.source)


async def published_number(connection: AsyncConnection, program_id: int) -> int | None:
    found = await connection.execute(select(program.c.published).where(program.c.id == program_id))
    number: int | None = found.scalar_one()
    return number


async def newest_number(connection: AsyncConnection, program_id: int) -> int | None:
    newest = select(func.max(_versions.number)).where(_versions.program_id == program_id)
    number: int | None = (await connection.execute(newest)).scalar_one()
    return number


async def published_before(connection: AsyncConnection, program_id: int, number: int) -> int | None:
    """The newest version below `number` that was published once."""
    earlier = select(func.max(_versions.number)).where(
        _versions.program_id == program_id, _versions.number < number, _versions.published_at.isnot(None)
    )
    found: int | None = (await connection.execute(earlier)).scalar_one()
    return found


async def list_pauses(connection: AsyncConnection, program_id: int) -> dict[str, Pause]:
    """What is paused, by rule."""
    columns = rule_pause.c
    found = await connection.execute(
        select(columns.rule, columns.actor, columns.reason, columns.paused_at).where(columns.program_id == program_id)
    )
    return {row.rule: Pause(*row) for row in found}


async def record_audit(
    connection: AsyncConnection, program_id: int, *, actor: str, action: str, target: str, details: dict[str, Any]
) -> None:
    """Who did what. The caller commits it with the change itself."""
    await connection.execute(
        insert(audit).values(
            id=uuid8(time.time_ns() // 1_000_000, 0, secrets.randbits(66)),
            program_id=program_id,
            actor=actor,
            action=action,
            target=target,
            details=details,
            recorded_at=func.now(),
        )
    )
