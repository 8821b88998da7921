"""Parameters that many addresses share: which member, of the path or of the token, and moments in queries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias

import msgspec
from litestar.params import FromPath, PathParameter

from rewards.domain.commands import MemberRef
from rewards.domain.errors import InvalidInput
from rewards.http.auth import ApiRequest

MOMENT_LENGTH_MAX: Final = 40
SLASH_INSIDE: Final = "\udc2f"
"""An escaped slash (`%2F`) of a path between the edge and the handler: a lone surrogate, which no decoded path holds."""
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]

MemberPath: TypeAlias = FromPath[
    Annotated[
        str,
        PathParameter(description="The member's id as the app calls it; `anon:` and `group:` choose other kinds."),
    ]
]


def unescaped(part: str) -> str:
    """A part of the path as the caller meant it: ids may hold slashes, which are escaped on their way here."""
    return part.replace(SLASH_INSIDE, "/")


def member_ref(part: str) -> MemberRef:
    """The member of a path. Raises `InvalidInput`."""
    return MemberRef.parse(unescaped(part))


def me(request: ApiRequest) -> MemberRef:
    """The member whose token the request carries; only behind `guards=[requires("me")]`.

    After a merge it still names the member that the token was minted for: looking it up leads to the one it became.
    """
    member = request.auth.member
    assert member is not None, "the guard lets nothing else in"
    return member


def moment(text: str | None, name: str) -> datetime | None:
    """A moment of RFC 3339 with its offset, in UTC; None when the parameter was not sent. Raises `InvalidInput`."""
    if text is None:
        return None
    try:
        # A `+` that was not percent-encoded arrives as a space.
        return msgspec.convert(text.strip().replace(" ", "+"), _Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidInput(
            f"`{name}` is no moment.", path=f"query.{name}", expected="RFC 3339 with an offset: 2026-11-21T10:00:00Z"
        ) from None
