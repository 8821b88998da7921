"""Keys on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from rewards.features.keys.issuing import NAME_LENGTH_MAX, RATE_PER_SECOND_MAX
from rewards.features.keys.queries import KeyRow
from rewards.http.auth import Scope
from rewards.http.decoding import Body
from rewards.http.origins import ORIGINS_MAX


class NewKey(Body, frozen=True):
    """What a new key shall be."""

    name: Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX, description="For people: what uses it.")]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=5)]
    kind: Literal["secret", "public"] = "secret"
    origins: Annotated[list[str], Meta(max_length=ORIGINS_MAX, description="Web pages that may use a public key.")] = (
        field(default_factory=list)
    )
    rate_per_second: Annotated[int, Meta(ge=1, le=RATE_PER_SECOND_MAX)] | None = None


class Key(Struct, frozen=True):
    """A key; its text is shown once, when it is made."""

    id: UUID
    kind: Literal["secret", "public"]
    prefix: str
    name: str
    scopes: list[str]
    origins: list[str]
    rate_per_second: int | None
    created_at: datetime
    revoked_at: datetime | None


class CreatedKey(Struct, frozen=True):
    """A new key with its text, which nobody can show again: null when it was made before, by the same `Idempotency-Key`."""

    key: str | None
    details: Key


def key_of(row: KeyRow) -> Key:
    return Key(
        row.id,
        row.kind,
        row.prefix,
        row.name,
        list(row.scopes),
        list(row.origins),
        row.rate_per_second,
        row.created_at,
        row.revoked_at,
    )
