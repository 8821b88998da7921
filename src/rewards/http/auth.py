"""Who calls: API keys, what they may do, and from which web pages.

A secret key `rk_…` belongs on servers and has scopes; a public key `pk_…` may be in apps and pages, and only sends
events that the program marks `client: true`. Keys are 256 random bits, stored as a keyed hash, and belong to one
program.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from rewards.http.limits import RateLimiter
from rewards.http.problems import Forbidden, TooManyRequests, Unauthorized

Scope: TypeAlias = Literal["events", "read", "ledger", "program", "admin"]
Kind: TypeAlias = Literal["secret", "public"]
SCOPES: Final[tuple[Scope, ...]] = ("events", "read", "ledger", "program", "admin")
PUBLIC_SCOPES: Final[frozenset[Scope]] = frozenset({"events"})

KEY_BYTES: Final = 32
PREFIXES: Final[dict[Kind, str]] = {"secret": "rk_", "public": "pk_"}
PREFIX_LENGTH_SHOWN: Final = 9
_TOKEN: Final = re.compile(r"[rp]k_[A-Za-z0-9_-]{43}")

CACHE_SECONDS: Final = 2.0
"""How long a process believes what it read about a key: a revoked one works at most this much longer."""
CACHE_KEYS_MAX: Final = 10_000

RESPONSE_HEADERS: Final = "rewards.response_headers"
"""In the ASGI scope: headers that the edge adds to the answer, whatever it is."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The key behind a request. Handlers find it in `request.auth`."""

    program_id: int
    program_key: str
    key_id: UUID
    kind: Kind
    scopes: frozenset[str]
    origins: frozenset[str] = field(default_factory=frozenset)
    rate_per_second: int | None = None

    @property
    def actor(self) -> str:
        """How the ledger and the audit name this caller."""
        return f"key:{self.key_id}"


ApiRequest: TypeAlias = Request[None, Caller, State]


def new_token(kind: Kind) -> str:
    """A fresh key, to be shown once."""
    return PREFIXES[kind] + secrets.token_urlsafe(KEY_BYTES)


def token_digest(secret_key: bytes, token: str) -> bytes:
    """What is stored of a key: HMAC-SHA-256. The database alone cannot confirm a guess."""
    return hmac.digest(secret_key, b"rewards api key\0" + token.encode(), "sha256")


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller | None
    fresh_until: float


class ApiKeys:
    """Finds callers by their key, and remembers them for two seconds. One lookup serves all who wait for it."""

    def __init__(
        self,
        secret_key: bytes,
        find: Callable[[bytes], Awaitable[Caller | None]],
        *,
        limiter: RateLimiter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`find` reads an unrevoked key by its digest; `limiter` applies to keys that have a rate."""
        self.secret_key = secret_key
        self._find = find
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._loading: dict[bytes, asyncio.Future[Caller | None]] = {}
        self.limiter = limiter

    async def caller(self, token: str) -> Caller:
        """Raises Unauthorized for a malformed, weak, unknown or revoked key, all in the same words."""
        caller = None
        if _TOKEN.fullmatch(token):
            digest = token_digest(self.secret_key, token)
            known = self._fresh(digest)
            caller = known.caller if known is not None else await self._load_once(digest)
        if caller is None:
            raise Unauthorized("The key is unknown or revoked.")
        return caller

    def known(self, token: str) -> Caller | None:
        """The caller, if it was found so lately that nothing need be read."""
        known = self._fresh(token_digest(self.secret_key, token))
        return known.caller if known is not None else None

    def _fresh(self, digest: bytes) -> _Known | None:
        known = self._known.get(digest)
        return known if known is not None and known.fresh_until > self._clock() else None

    def forget(self) -> None:
        """Read every key afresh."""
        self._known.clear()

    async def _load_once(self, digest: bytes) -> Caller | None:
        loading = self._loading.get(digest)
        if loading is None:
            loading = self._loading[digest] = asyncio.ensure_future(self._load(digest))
            loading.add_done_callback(lambda _: self._loading.pop(digest, None))
        return await asyncio.shield(loading)  # whoever gives up does not take the others along

    async def _load(self, digest: bytes) -> Caller | None:
        caller = await self._find(digest)
        if len(self._known) >= CACHE_KEYS_MAX:
            self._known.clear()
        self._known[digest] = _Known(caller, self._clock() + CACHE_SECONDS)
        return caller


def token_of(header: str | None) -> str:
    """The key in an `Authorization` header: `Bearer KEY`, or `Basic` with the key as user. Raises Unauthorized."""
    scheme, _, credentials = (header or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            user, _, _ = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise Unauthorized("The Authorization header is not valid Basic authentication.") from None
        return user
    raise Unauthorized("Send a key: `Authorization: Bearer KEY`.")


class Requires:
    """A guard: the caller needs a secret key with the scope. The caller is then in `request.auth`."""

    kinds: frozenset[Kind] = frozenset({"secret"})

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        await self.admit(connection, token_of(connection.headers.get("authorization")))

    async def admit(self, connection: ASGIConnection[Any, Any, Any, Any], token: str) -> None:
        """Let the request in by this key, wherever it was found."""
        keys = cast("ApiKeys", connection.app.state.api_keys)
        caller = await keys.caller(token)
        headers: list[tuple[bytes, bytes]] = []
        cast("dict[str, Any]", connection.scope)[RESPONSE_HEADERS] = headers
        if caller.kind == "public":
            _check_origin(caller, connection.headers.get("origin"), headers)
        if caller.rate_per_second is not None and keys.limiter is not None:
            limit = await keys.limiter.take(caller.key_id, caller.rate_per_second)
            if limit is not None:
                headers.extend(limit.headers())
                if not limit.passes:
                    raise TooManyRequests(
                        f"The key may send {limit.rate_per_second} requests a second.",
                        retry_after_seconds=limit.wait_seconds,
                    )
        if caller.kind not in self.kinds or self.scope not in caller.scopes:
            raise Forbidden(f"The key lacks the scope `{self.scope}`.", required=self.scope)
        connection.scope["auth"] = caller


class RequiresAny(Requires):
    """As Requires, and public keys are let in too: the handler must then look at `caller.kind`."""

    kinds = frozenset({"secret", "public"})


def requires(scope: Scope) -> Requires:
    """`@post("/spend", guards=[requires("ledger")])`"""
    return Requires(scope)


def requires_also_public(scope: Scope) -> RequiresAny:
    """For the few addresses that browsers and apps may use with a public key."""
    return RequiresAny(scope)


def _check_origin(caller: Caller, origin: str | None, headers: list[tuple[bytes, bytes]]) -> None:
    """Browsers name the page's origin; apps do not. Raises Forbidden for a page that the key does not list."""
    if origin is None:
        return
    if origin not in caller.origins and "*" not in caller.origins:
        raise Forbidden("The key does not allow this origin.", required="an origin that the key lists")
    headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
    headers.append((b"access-control-expose-headers", b"Idempotency-Replayed, RateLimit, Retry-After, X-Request-Id"))
    headers.append((b"vary", b"Origin"))
