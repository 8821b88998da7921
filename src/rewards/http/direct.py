"""What the short ways past the framework share: see docs/decisions/0009."""

from __future__ import annotations

from typing import Final

from rewards.http.auth import ApiKeys, Caller, Scope
from rewards.http.edge import Send

JSON: Final = b"application/json"
_BEARER: Final = b"Bearer "


def known_caller(keys: ApiKeys, authorization: bytes | None, scope: Scope) -> Caller | None:
    """Who sends it, if that is a secret key without a limit that has the scope, and was found so lately that nothing need
    be read. Everybody else is the framework's."""
    if authorization is None or not authorization.startswith(_BEARER):
        return None
    caller = keys.known(authorization[len(_BEARER) :].decode("latin-1"))
    if caller is None or caller.kind != "secret" or caller.rate_per_second is not None:
        return None
    return caller if scope in caller.scopes else None


async def answer(send: Send, status: int, body: bytes, media_type: bytes, *more: tuple[bytes, bytes]) -> None:
    """All of an answer."""
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
