"""One id per request: taken from the caller when it is harmless, else made; in the answer, the problem and the log."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

HEADER: Final = b"x-request-id"
SCOPE_KEY: Final = "rewards.request_id"
_HARMLESS: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


def request_id_from(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's `X-Request-Id` if it is 8 to 64 letters, digits, `.`, `_` or `-`; else a new one of 96 bits."""
    for name, value in headers:
        if name == HEADER:
            if _HARMLESS.fullmatch(value):
                return value.decode("ascii")
            break
    return secrets.token_hex(12)


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The id that the edge gave this request; empty where no edge is (a test of one handler)."""
    found = scope.get(SCOPE_KEY, "")
    return found if isinstance(found, str) else ""
