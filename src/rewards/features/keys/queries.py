"""All SQL about API keys."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, cast
from uuid import UUID

from sqlalchemy import RowMapping, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.tables import api_key, audit, program
from rewards.db.transact import reading
from rewards.domain.ids import uuid8
from rewards.http.auth import Caller, Kind

Asked: TypeAlias = tuple[Kind, str, tuple[str, ...], tuple[str, ...], int | None]
"""Kind, name, scopes, origins and rate: all that one says of a key that is to be made."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key without its secret."""

    id: UUID
    kind: Kind
    prefix: str
    name: str
    scopes: Sequence[str]
    origins: Sequence[str]
    rate_per_second: int | None
    created_at: datetime
    revoked_at: datetime | None

    @property
    def asked(self) -> Asked:
        """What was asked for when it was made."""
        return self.kind, self.name, tuple(self.scopes), tuple(self.origins), self.rate_per_second


_SHOWN = (
    api_key.c.id,
    api_key.c.kind,
    api_key.c.prefix,
    api_key.c.name,
    api_key.c.scopes,
    api_key.c.origins,
    api_key.c.rate_per_second,
    api_key.c.created_at,
    api_key.c.revoked_at,
)


async def find_caller(engine: AsyncEngine, digest: bytes) -> Caller | None:
    """The caller behind an unrevoked key, by its digest."""
    statement = (
        select(
            api_key.c.id,
            api_key.c.kind,
            api_key.c.scopes,
            api_key.c.origins,
            api_key.c.rate_per_second,
            api_key.c.program_id,
            program.c.key.label("program_key"),
        )
        .join(program, program.c.id == api_key.c.program_id)
        .where(api_key.c.hash == digest, api_key.c.revoked_at.is_(None))
    )
    async with reading(engine) as connection:
        row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        return None
    return Caller(
        program_id=row["program_id"],
        program_key=row["program_key"],
        key_id=row["id"],
        kind=row["kind"],
        scopes=frozenset(row["scopes"]),
        origins=frozenset(row["origins"]),
        rate_per_second=row["rate_per_second"],
    )


async def insert_key(
    connection: AsyncConnection,
    *,
    key_id: UUID,
    program_id: int,
    kind: Kind,
    digest: bytes,
    prefix: str,
    name: str,
    scopes: Sequence[str],
    origins: Sequence[str],
    rate_per_second: int | None,
    actor: str,
) -> tuple[bool, KeyRow]:
    """Store a key and the audit of it, and True; where there is one of this id, that one, and whether it has this digest.

    The caller commits.
    """
    statement = (
        insert(api_key)
        .values(
            id=key_id,
            program_id=program_id,
            kind=kind,
            hash=digest,
            prefix=prefix,
            name=name,
            scopes=list(scopes),
            origins=list(origins),
            rate_per_second=rate_per_second,
            created_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=[api_key.c.id])
        .returning(*_SHOWN)
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is not None:
        await _audit(connection, program_id, actor, "key.created", key_id, {"name": name, "scopes": list(scopes)})
        return True, _key_row(row)
    there = select(*_SHOWN).where(api_key.c.program_id == program_id, api_key.c.id == key_id)
    found = _key_row((await connection.execute(there)).mappings().one())
    same = select(api_key.c.hash == digest).where(api_key.c.id == key_id)
    return bool((await connection.execute(same)).scalar_one()), found


async def revoke_key(connection: AsyncConnection, program_id: int, key_id: UUID, *, actor: str) -> KeyRow | None:
    """Revoke a key of the program; a revoked one keeps its time. None when there is no such key. The caller commits."""
    revoked = (
        update(api_key)
        .where(api_key.c.program_id == program_id, api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(*_SHOWN)
    )
    row = (await connection.execute(revoked)).mappings().one_or_none()
    if row is not None:
        await _audit(connection, program_id, actor, "key.revoked", key_id, {})
        return _key_row(row)
    before = select(*_SHOWN).where(api_key.c.program_id == program_id, api_key.c.id == key_id)
    row = (await connection.execute(before)).mappings().one_or_none()
    return None if row is None else _key_row(row)


async def list_keys(
    connection: AsyncConnection, program_id: int, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[KeyRow]:
    """The program's keys, the oldest first, revoked ones included."""
    statement = select(*_SHOWN).where(api_key.c.program_id == program_id)
    if after is not None:
        statement = statement.where(tuple_(api_key.c.created_at, api_key.c.id) > after)
    statement = statement.order_by(api_key.c.created_at, api_key.c.id).limit(limit)
    return [_key_row(row) for row in (await connection.execute(statement)).mappings()]


async def _audit(
    connection: AsyncConnection, program_id: int, actor: str, action: str, target: UUID, details: dict[str, Any]
) -> None:
    await connection.execute(
        insert(audit).values(
            id=new_id(),
            program_id=program_id,
            actor=actor,
            action=action,
            target=f"key:{target}",
            details=details,
            recorded_at=func.now(),
        )
    )


def _key_row(row: RowMapping) -> KeyRow:
    return KeyRow(**cast("dict[str, Any]", dict(row)))


def new_id() -> UUID:
    """Of a row that is made now."""
    return uuid8(time.time_ns() // 1_000_000, 0, secrets.randbits(66))
