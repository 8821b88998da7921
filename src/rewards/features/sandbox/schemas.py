"""The clock on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from rewards.http.decoding import Body


class Advance(Body, frozen=True):
    """How far the clock moves on."""

    advance: Annotated[
        str,
        Meta(
            max_length=16,
            pattern="^[1-9][0-9]*(s|m|h|d)$",
            description="Such as `10m`, `72h` or `3d`; at most 400 days.",
        ),
    ]


class Clock(Struct, frozen=True):
    """What the clock shows, and how far it is ahead of the world's."""

    now: datetime
    offset_seconds: int


class Advanced(Struct, frozen=True):
    """Where the clock stands, and at how many moments something fell due on the way."""

    now: datetime
    offset_seconds: int
    moments: int
