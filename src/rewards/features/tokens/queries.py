"""All SQL about member tokens: epochs, tokens that were revoked one by one, and origins."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.tables import audit, ended_member_token, member_token_epoch, program
from rewards.domain.ids import bucket_of, uuid8
from rewards.http.member_tokens import Standing
from rewards.http.token_watch import HeldToken
from rewards.pipeline.load import rows

_RAISE: Final = """
INSERT INTO member_token_epoch AS e (program_id, bucket, member_id, epoch)
SELECT $1, k.bucket, k.member_id, 1 FROM unnest($2::smallint[], $3::uuid[]) AS k (bucket, member_id)
ON CONFLICT (program_id, bucket, member_id) DO UPDATE SET epoch = e.epoch + 1
"""

_KEPT: Final = "interval '1 hour'"
"""How much longer than the token its end is remembered: the clocks of servers differ."""

_FORGET_OF_MEMBER: Final = f"""
DELETE FROM ended_member_token
WHERE program_id = $1 AND bucket = $2 AND member_id = $3 AND expires_at < now() - {_KEPT}
"""

_END: Final = f"""
INSERT INTO ended_member_token (program_id, bucket, member_id, token_id, expires_at)
SELECT $1, $2, $3, $4, $5::timestamptz WHERE $5::timestamptz >= now() - {_KEPT}
ON CONFLICT DO NOTHING
"""

_FORGET: Final = text(f"DELETE FROM ended_member_token WHERE expires_at < now() - {_KEPT}")

# Of many tokens those that count no longer, by their place among them.
_REVOKED: Final = """
SELECT held.number
FROM unnest($1::int[], $2::smallint[], $3::uuid[], $4::uuid[], $5::int[], $6::int[])
    WITH ORDINALITY AS held (program_id, bucket, member_id, token_id, program_epoch, member_epoch, number)
LEFT JOIN program p ON p.id = held.program_id
LEFT JOIN member_token_epoch e
    ON e.program_id = held.program_id AND e.bucket = held.bucket AND e.member_id = held.member_id
WHERE p.token_epoch IS DISTINCT FROM held.program_epoch OR coalesce(e.epoch, 0) <> held.member_epoch OR EXISTS (
    SELECT FROM ended_member_token t
    WHERE t.program_id = held.program_id AND t.bucket = held.bucket AND t.member_id = held.member_id
      AND t.token_id = held.token_id
)
"""

ENDED_TOKENS_MAX: Final = 100
"""Of a member, that have not expired. Past it all of the member's tokens end: revoking never fails, and what each request
has to look at stays small."""


async def read_standing(connection: AsyncConnection, program_id: int, member: UUID) -> Standing | None:
    """What holds for the tokens of a member, who need not be known. None when there is no such program."""
    epoch, ended = member_token_epoch.c, ended_member_token.c
    tokens = select(ended.token_id).where(
        ended.program_id == program_id, ended.bucket == bucket_of(member), ended.member_id == member
    )
    epochs = (program.c.token_epoch, func.coalesce(epoch.epoch, 0))
    statement = (
        select(program.c.key, *epochs, program.c.member_origins, func.array(tokens.scalar_subquery()))
        .outerjoin(
            member_token_epoch,
            (epoch.program_id == program.c.id) & (epoch.bucket == bucket_of(member)) & (epoch.member_id == member),
        )
        .where(program.c.id == program_id)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    key, program_epoch, member_epoch, origins, ended_tokens = row
    return Standing(member, key, program_epoch, member_epoch, frozenset(origins), frozenset(ended_tokens))


async def read_revoked(connection: AsyncConnection, tokens: Sequence[HeldToken]) -> frozenset[HeldToken]:
    """Those of the tokens that were revoked, in whichever way."""
    held = [
        (
            each.program_id,
            bucket_of(each.member_id),
            each.member_id,
            each.token_id,
            each.program_epoch,
            each.member_epoch,
        )
        for each in tokens
    ]
    found = await rows(connection, _REVOKED, *(list(column) for column in zip(*held, strict=True)))
    return frozenset(tokens[row.number - 1] for row in found)


async def raise_epochs(connection: AsyncConnection, program_id: int, members: Iterable[UUID], *, actor: str) -> None:
    """Ends every token of the members. The caller commits."""
    ordered = sorted(members)  # whoever revokes the same ones at the same time locks them in the same order
    await connection.exec_driver_sql(_RAISE, (program_id, [bucket_of(member) for member in ordered], ordered))
    ended = ended_member_token.c
    where = (ended.program_id == program_id, ended.bucket.in_(map(bucket_of, ordered)), ended.member_id.in_(ordered))
    await connection.execute(delete(ended_member_token).where(*where))
    for member in ordered:
        await _audit(connection, program_id, actor, "member_tokens.revoked", f"member:{member}", {})


async def end_token(
    connection: AsyncConnection, program_id: int, member: UUID, token: UUID, expires_at: datetime, *, actor: str
) -> None:
    """Ends one token of the member. The caller commits."""
    place = (program_id, bucket_of(member), member)
    await connection.exec_driver_sql(_FORGET_OF_MEMBER, place)
    await connection.exec_driver_sql(_END, (*place, token, expires_at))
    await _audit(connection, program_id, actor, "member_token.revoked", f"member:{member}", {"token": str(token)})
    ended = ended_member_token.c
    where = (ended.program_id == program_id, ended.bucket == bucket_of(member), ended.member_id == member)
    count = await connection.execute(select(func.count()).select_from(ended_member_token).where(*where))
    if count.scalar_one() > ENDED_TOKENS_MAX:
        await raise_epochs(connection, program_id, [member], actor=actor)


async def forget_expired_tokens(connection: AsyncConnection) -> None:
    """Tokens that have expired need not be remembered as ended. The caller commits."""
    await connection.execute(_FORGET)


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
