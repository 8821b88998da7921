"""All SQL about member tokens: epochs and origins."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.tables import audit, member_token_epoch, program
from rewards.domain.ids import bucket_of, uuid8
from rewards.http.member_tokens import Standing

_RAISE: Final = """
INSERT INTO member_token_epoch AS e (program_id, bucket, member_id, epoch)
SELECT $1, k.bucket, k.member_id, 1 FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
ON CONFLICT (program_id, bucket, member_id) DO UPDATE SET epoch = e.epoch + 1
"""


async def read_standing(connection: AsyncConnection, program_id: int, member: UUID) -> Standing | None:
    """What holds for the tokens of a member, who need not be known. None when there is no such program."""
    epoch = member_token_epoch.c
    statement = (
        select(program.c.key, program.c.token_epoch, program.c.member_origins, func.coalesce(epoch.epoch, 0))
        .outerjoin(
            member_token_epoch,
            (epoch.program_id == program.c.id) & (epoch.bucket == bucket_of(member)) & (epoch.member_id == member),
        )
        .where(program.c.id == program_id)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    key, program_epoch, origins, member_epoch = row
    return Standing(key, program_epoch, member_epoch, frozenset(origins))


async def raise_epochs(connection: AsyncConnection, program_id: int, members: Iterable[UUID], *, actor: str) -> None:
    """Ends every token of the members. The caller commits."""
    ordered = sorted(members)  # whoever revokes the same ones at the same time locks them in the same order
    await connection.exec_driver_sql(_RAISE, (program_id, [bucket_of(member) for member in ordered], ordered))
    for member in ordered:
        await _audit(connection, program_id, actor, "member_tokens.revoked", f"member:{member}", {})


async def raise_program_epoch(connection: AsyncConnection, program_id: int, *, actor: str) -> None:
    """Ends every member token of the program. The caller commits."""
    await connection.execute(
        update(program).where(program.c.id == program_id).values(token_epoch=program.c.token_epoch + 1)
    )
    await _audit(connection, program_id, actor, "member_tokens.revoked", "program", {})


async def read_origins(connection: AsyncConnection, program_id: int) -> list[str]:
    statement = select(program.c.member_origins).where(program.c.id == program_id)
    return list((await connection.execute(statement)).scalar_one())


async def write_origins(connection: AsyncConnection, program_id: int, origins: Sequence[str], *, actor: str) -> None:
    """The caller commits."""
    await connection.execute(update(program).where(program.c.id == program_id).values(member_origins=list(origins)))
    await _audit(connection, program_id, actor, "member_tokens.origins", "program", {"origins": list(origins)})


async def _audit(
    connection: AsyncConnection, program_id: int, actor: str, action: str, target: str, details: dict[str, Any]
) -> None:
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
