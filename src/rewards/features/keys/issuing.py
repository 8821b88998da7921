"""Making keys: what may be asked for, and the one moment at which a key is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import transact
from rewards.domain.errors import IdentityConflict, InvalidInput
from rewards.domain.ids import keyed_hash, uuid8
from rewards.features.keys.queries import Asked, KeyRow, insert_key, new_id
from rewards.http.auth import PREFIX_LENGTH_SHOWN, PUBLIC_SCOPES, SCOPES, Kind, new_token, token_digest
from rewards.http.origins import check_origins

NAME_LENGTH_MAX: Final = 100
RATE_PER_SECOND_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a new key shall be. Raises InvalidInput when it makes no sense."""

    name: str
    kind: Kind = "secret"
    scopes: Sequence[str] = ("events",)
    origins: Sequence[str] = ()
    rate_per_second: int | None = None

    @property
    def asked(self) -> Asked:
        """What is stored of it; see `KeyRow.asked`."""
        scopes, origins = (tuple(dict.fromkeys(each)) for each in (self.scopes, self.origins))
        return self.kind, self.name, scopes, origins, self.rate_per_second

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= NAME_LENGTH_MAX:
            raise InvalidInput("A key needs a name.", path="name", expected=f"1 to {NAME_LENGTH_MAX} characters")
        for index, scope in enumerate(self.scopes):
            if scope not in SCOPES:
                raise InvalidInput(
                    f"`{scope}` is not a scope.", path=f"scopes[{index}]", expected=f"one of {', '.join(SCOPES)}"
                )
        if not self.scopes:
            raise InvalidInput("A key without scopes can do nothing.", path="scopes", expected="at least one scope")
        if self.kind == "public" and not set(self.scopes) <= PUBLIC_SCOPES:
            raise InvalidInput("A public key may only send events.", path="scopes", expected="events")
        if self.kind == "secret" and self.origins:
            raise InvalidInput("A secret key does not belong in web pages.", path="origins", expected="no origins")
        check_origins(self.origins)
        if self.rate_per_second is not None and not 0 < self.rate_per_second <= RATE_PER_SECOND_MAX:
            raise InvalidInput(
                "The rate makes no sense.", path="rate_per_second", expected=f"1 to {RATE_PER_SECOND_MAX}, or none"
            )


async def create_key(
    engine: AsyncEngine, secret_key: bytes, *, program_id: int, request: KeyRequest, actor: str
) -> tuple[str, KeyRow]:
    """Make and store a key. Its text is returned here and known nowhere else."""
    token = new_token(request.kind)
    _, row = await transact(
        engine, partial(_store, request, program_id, token, token_digest(secret_key, token), new_id(), actor)
    )
    return token, row


async def create_key_once(
    engine: AsyncEngine, secret_key: bytes, *, program_id: int, request: KeyRequest, actor: str, idempotency_key: str
) -> tuple[str | None, KeyRow]:
    """The same for whoever may ask again: without the text, which only a hash is kept of, where the key was made before.

    The key's id derives from the `Idempotency-Key`, so that the database lets one in. Raises `IdentityConflict`.
    """
    token = new_token(request.kind)
    parts = (b"api key", str(program_id).encode(), idempotency_key.encode())
    bits = int.from_bytes(keyed_hash(secret_key, *parts), "big")
    derived = uuid8(bits >> 80, bits >> 72, bits)  # of no moment: nothing is looked for by when a key was made
    mine, row = await transact(
        engine, partial(_store, request, program_id, token, token_digest(secret_key, token), derived, actor)
    )
    if not mine and row.asked != request.asked:
        raise IdentityConflict(
            "this Idempotency-Key was used before for another API key; nothing was changed. Another key needs another one"
        )
    return token if mine else None, row


async def _store(
    request: KeyRequest,
    program_id: int,
    token: str,
    digest: bytes,
    key_id: UUID,
    actor: str,
    connection: AsyncConnection,
) -> tuple[bool, KeyRow]:
    """The key of this id, and whether it is this one."""
    kind, name, scopes, origins, rate_per_second = request.asked
    return await insert_key(
        connection,
        key_id=key_id,
        program_id=program_id,
        kind=kind,
        digest=digest,
        prefix=token[:PREFIX_LENGTH_SHOWN],
        name=name,
        scopes=scopes,
        origins=origins,
        rate_per_second=rate_per_second,
        actor=actor,
    )
