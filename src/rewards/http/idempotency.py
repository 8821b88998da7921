"""`Idempotency-Key` (IETF draft): one key, one effect, whatever is repeated. The dedup row lives in the pipeline."""

from __future__ import annotations

import re
from typing import Any, Final

from litestar import Request

from rewards.domain.errors import InvalidInput

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
KEY_LENGTH_MAX: Final = 255
_PRINTABLE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


NEEDS_KEY: Final = {"idempotency_key": "required"}
TAKES_KEY: Final = {"idempotency_key": "optional"}
"""For a handler's `opt`: whether the API document says that it needs the header."""


_EFFECT: Final = """\
Repeating a request with its key changes nothing and repeats the answer. Once that is kept no longer, what was done answers \
`answer_expired: true` and no more, and what was refused the problem that it was refused with, without its particulars and \
with `answer_expired: true`."""


class MalformedIdempotencyKey(InvalidInput):
    """The key is missing where one is needed, sent twice, empty, too long, or not printable ASCII."""

    code = "malformed-idempotency-key"


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """The key of the request, quoted or bare, or None when there is none. Raises MalformedIdempotencyKey."""
    values = request.headers.getall(HEADER, [])
    if not values:
        return None
    if len(values) > 1:
        raise _malformed(f"`{HEADER}` was sent {len(values)} times.")
    key: str = values[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':  # the draft's structured string
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if len(key) > KEY_LENGTH_MAX:
        raise _malformed(f"`{HEADER}` has {len(key)} characters.")
    if not _PRINTABLE.fullmatch(key):
        raise _malformed(f"`{HEADER}` is empty or not printable.")
    return key


def require_idempotency_key(request: Request[Any, Any, Any]) -> str:
    """The key of a request that must have one."""
    key = idempotency_key(request)
    if key is None:
        raise _malformed(f"`{HEADER}` is missing.")
    return key


def replay_headers(*, replayed: bool) -> dict[str, str]:
    """`Idempotency-Replayed: true` on the answer of a repetition, nothing on the first."""
    return {REPLAYED: "true"} if replayed else {}


def describe_idempotency(operation: dict[str, Any], need: str) -> None:
    """Add the header to an operation of the API document."""
    text = {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX, "pattern": f"^{_PRINTABLE.pattern}$"}
    parameter = {
        "name": HEADER,
        "in": "header",
        "required": need == "required",
        "description": _EFFECT,
        "schema": text,
    }
    operation.setdefault("parameters", []).append(parameter)
    replayed = {"schema": {"const": "true"}, "description": "There when the answer is that of an earlier request."}
    for status, answer in operation.get("responses", {}).items():
        if status.startswith("2"):
            answer.setdefault("headers", {})[REPLAYED] = replayed


def _malformed(message: str) -> MalformedIdempotencyKey:
    return MalformedIdempotencyKey(
        message, path=f"header.{HEADER}", expected=f"1 to {KEY_LENGTH_MAX} printable ASCII characters"
    )
