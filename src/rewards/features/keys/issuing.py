"""Making keys: what may be asked for, and the one moment at which a key is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import transact
from rewards.domain.errors import InvalidInput
from rewards.features.keys.queries import KeyRow, insert_key
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

    async def store(connection: AsyncConnection) -> KeyRow:
        return await insert_key(
            connection,
            program_id=program_id,
            kind=request.kind,
            digest=token_digest(secret_key, token),
            prefix=token[:PREFIX_LENGTH_SHOWN],
            name=request.name,
            scopes=list(dict.fromkeys(request.scopes)),
            origins=list(dict.fromkeys(request.origins)),
            rate_per_second=request.rate_per_second,
            actor=actor,
        )

    return token, await transact(engine, store)
