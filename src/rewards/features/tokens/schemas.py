"""Member tokens on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from rewards.http.decoding import Body
from rewards.http.member_tokens import TTL_SECONDS_DEFAULT, TTL_SECONDS_MAX, TTL_SECONDS_MIN
from rewards.http.origins import ORIGINS_MAX


class NewToken(Body, frozen=True):
    """How long the token shall last."""

    ttl_seconds: Annotated[int, Meta(ge=TTL_SECONDS_MIN, le=TTL_SECONDS_MAX)] = TTL_SECONDS_DEFAULT


class Token(Struct, frozen=True):
    """A token for the member's browser or app. It is stored nowhere; by its `id` it can be revoked.

    What was done with it names the actor `token:` and this id.
    """

    token: str
    id: UUID
    member: str
    expires_at: datetime


class Origins(Body, frozen=True):
    """The web pages that may use the program's member tokens. None at all: any page."""

    origins: Annotated[list[str], Meta(max_length=ORIGINS_MAX)]
