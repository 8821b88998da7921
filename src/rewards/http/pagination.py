"""Lists by cursor: an opaque, signed position that fits one list of one program and nothing else."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from litestar.params import FromQuery, Parameter

from rewards.domain.errors import InvalidInput

T = TypeVar("T")

PAGE_ITEMS_MAX: Final = 200
PAGE_ITEMS_DEFAULT: Final = 50
CURSOR_LENGTH_MAX: Final = 1024
_SIGNATURE_BYTES: Final = 16

PageSize = FromQuery[
    Annotated[int, Parameter(ge=1, le=PAGE_ITEMS_MAX, description="How many items to answer at most.")]
]
PageCursor = FromQuery[
    Annotated[str | None, Parameter(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of the page before.")]
]


class MalformedCursor(InvalidInput):
    """The cursor was not made by this service for this list."""

    code = "malformed-cursor"


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


class Cursors:
    """Signs and reads positions. `of` names the list, its program and its filters: `statement/7/ab12…/points`."""

    __slots__ = ("_key",)

    def __init__(self, secret_key: bytes) -> None:
        self._key = hmac.digest(secret_key, b"rewards cursor", "sha256")

    def write(self, of: str, position: Sequence[str | int]) -> str:
        """A cursor for the position that the last item of a page has in the list's order."""
        payload = msgspec.json.encode(position)
        return base64.urlsafe_b64encode(self._signature(of, payload) + payload).rstrip(b"=").decode()

    def read(self, of: str, cursor: str | None) -> list[Any] | None:
        """The position, or None for the first page. Raises MalformedCursor."""
        if cursor is None:
            return None
        try:
            signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise self._malformed() from None
        signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(of, payload)):
            raise self._malformed()
        return msgspec.json.decode(payload, type=list[Any])

    def _signature(self, of: str, payload: bytes) -> bytes:
        return hmac.digest(self._key, of.encode() + b"\0" + payload, "sha256")[:_SIGNATURE_BYTES]

    @staticmethod
    def _malformed() -> MalformedCursor:
        return MalformedCursor(
            "The cursor does not belong to this list.", path="query.cursor", expected="`next_cursor` of the page before"
        )
