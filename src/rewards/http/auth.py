"""Who calls: API keys and member tokens, what they may do, and from which web pages.

A secret key `rk_…` belongs on servers and has scopes; a public key `pk_…` may be in apps and pages, and only sends
events that the program marks `client: true`. Keys are 256 random bits, stored as a keyed hash, and belong to one
program. A member token `mt_…` (see `member_tokens`) opens `/v1/me` for one customer, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from rewards.domain.commands import MemberRef
from rewards.http.limits import RateLimiter
from rewards.http.origins import ANY
from rewards.http.problems import Forbidden, NoMemberToken, TooManyRequests, Unauthorized
from rewards.http.recent import Recent

if TYPE_CHECKING:
    from rewards.http.member_tokens import MemberTokens

Scope: TypeAlias = Literal["events", "read", "ledger", "program", "admin"]
Kind: TypeAlias = Literal["secret", "public"]
CallerKind: TypeAlias = Literal["secret", "public", "member"]
SCOPES: Final[tuple[Scope, ...]] = ("events", "read", "ledger", "program", "admin")
PUBLIC_SCOPES: Final[frozenset[Scope]] = frozenset({"events"})

KEY_BYTES: Final = 32
PREFIXES: Final[dict[Kind, str]] = {"secret": "rk_", "public": "pk_"}
PREFIX_LENGTH_SHOWN: Final = 9
CUSTOMER_ACTOR: Final = "token:"
"""How actors begin that are customers with a member token."""
MEMBER_PREFIX: Final = "mt_"
_TOKEN: Final = re.compile(r"[rp]k_[A-Za-z0-9_-]{43}")

CACHE_SECONDS: Final = 2.0
"""How long a process believes what it read about a key: a revoked one works at most this much longer."""
CACHE_KEYS_MAX: Final = 10_000

RESPONSE_HEADERS: Final = "rewards.response_headers"
"""In the ASGI scope: headers that the edge adds to the answer, whatever it is."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The key or member token behind a request. Handlers find it in `request.auth`."""

    program_id: int
    program_key: str
    key_id: UUID
    """Of the key, or of the token."""
    kind: CallerKind
    scopes: frozenset[str]
    origins: frozenset[str] = field(default_factory=frozenset)
    rate_per_second: int | None = None
    member: MemberRef | None = None
    """Whose token it is; see `parameters.me`."""
    epochs: tuple[int, int] = (0, 0)
    """Those of the program and of the member at which the token was minted."""

    @property
    def actor(self) -> str:
        """How the ledger and the audit name this caller."""
        return f"key:{self.key_id}" if self.member is None else f"{CUSTOMER_ACTOR}{self.key_id}"


ApiRequest: TypeAlias = Request[None, Caller, State]


def new_token(kind: Kind) -> str:
    """A fresh key, to be shown once."""
    return PREFIXES[kind] + secrets.token_urlsafe(KEY_BYTES)


def token_digest(secret_key: bytes, token: str) -> bytes:
    """What is stored of a key: HMAC-SHA-256. The database alone cannot confirm a guess."""
    return hmac.digest(secret_key, b"rewards api key\0" + token.encode(), "sha256")


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
        self.limiter = limiter
        self._callers = Recent(find, seconds=CACHE_SECONDS, keys_max=CACHE_KEYS_MAX, clock=clock)

    async def caller(self, token: str) -> Caller:
        """Raises Unauthorized for a malformed, weak, unknown or revoked key, all in the same words."""
        caller = None
        if _TOKEN.fullmatch(token):
            caller = await self._callers.get(token_digest(self.secret_key, token))
        if caller is None:
            raise Unauthorized("The key is unknown or revoked.")
        return caller

    def known(self, token: str) -> Caller | None:
        """The caller, if it was found so lately that nothing need be read."""
        return self._callers.peek(token_digest(self.secret_key, token))

    def forget(self) -> None:
        """Read every key afresh."""
        self._callers.forget()


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

    kinds: frozenset[CallerKind] = frozenset({"secret"})

    def __init__(self, scope: Scope | Literal["me"]) -> None:
        self.scope = scope

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        await self.admit(connection, token_of(connection.headers.get("authorization")))

    async def admit(self, connection: ASGIConnection[Any, Any, Any, Any], token: str) -> None:
        """Let the request in by this key or token, wherever it was found."""
        state = connection.app.state
        keys = cast("ApiKeys", state.api_keys)
        if token.startswith(MEMBER_PREFIX):
            caller = await cast("MemberTokens", state.member_tokens).caller(token)
        else:
            caller = await keys.caller(token)
        await self.let_in(connection, caller)

    async def let_in(self, connection: ASGIConnection[Any, Any, Any, Any], caller: Caller) -> None:
        """Let in a caller who has shown who it is, if it may do this, from that page and that often."""
        keys = cast("ApiKeys", connection.app.state.api_keys)
        headers: list[tuple[bytes, bytes]] = []
        cast("dict[str, Any]", connection.scope)[RESPONSE_HEADERS] = headers
        if caller.kind != "secret":
            _check_origin(caller, connection.headers.get("origin"), headers)
        if caller.rate_per_second is not None and keys.limiter is not None:
            limit = await keys.limiter.take(caller.key_id, caller.rate_per_second)
            if limit is not None:
                headers.extend(limit.headers())
                if not limit.passes:
                    raise TooManyRequests(
                        f"The {_credential(caller)} may send {limit.rate_per_second} requests a second.",
                        retry_after_seconds=limit.wait_seconds,
                    )
        if caller.kind not in self.kinds or self.scope not in caller.scopes:
            raise self.lacking(caller)
        connection.scope["auth"] = caller

    def lacking(self, caller: Caller) -> Forbidden:
        """What to say to a caller who may not do this."""
        if caller.member is not None:
            return Forbidden("A member token opens `/v1/me` and nothing else.", required=self.scope)
        return Forbidden(f"The key lacks the scope `{self.scope}`.", required=self.scope)


class RequiresAny(Requires):
    """As Requires, and public keys are let in too: the handler must then look at `caller.kind`."""

    kinds = frozenset({"secret", "public"})


class RequiresAll(Requires):
    """As Requires, for a key that has all of several scopes: for what stands in for all that these allow."""

    def __init__(self, *scopes: Scope) -> None:
        super().__init__(scopes[0])
        self.scopes = frozenset(scopes)

    async def let_in(self, connection: ASGIConnection[Any, Any, Any, Any], caller: Caller) -> None:
        """Raises Forbidden, besides, for a key that lacks one of the scopes."""
        await super().let_in(connection, caller)
        if not self.scopes <= caller.scopes:
            wanted = " and ".join(sorted(self.scopes))
            raise Forbidden(f"This needs a secret key with the scopes {wanted}.", required=wanted)


class RequiresMember(Requires):
    """A guard of `/v1/me`: the caller needs a member token. Whose it is says `parameters.me`."""

    kinds = frozenset({"member"})

    def __init__(self) -> None:
        super().__init__("me")

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        # A page that may not read that its token has ended could not get another. It says nothing else.
        origin = connection.headers.get("origin")
        cast("dict[str, Any]", connection.scope)[RESPONSE_HEADERS] = [] if origin is None else _cors(origin)
        try:
            token = token_of(connection.headers.get("authorization"))
        except Unauthorized:
            raise NoMemberToken("Send a member token: `Authorization: Bearer TOKEN`.") from None
        await self.admit(connection, token)

    async def admit(self, connection: ASGIConnection[Any, Any, Any, Any], token: str) -> None:
        try:
            await super().admit(connection, token)
        except Unauthorized:
            if token.startswith(MEMBER_PREFIX):
                raise
            raise NoMemberToken(
                f"This is no member token, which begins with `{MEMBER_PREFIX}`: it was cut or changed, or is something "
                "else. The app's server makes one with `POST /v1/members/{member}/tokens`."
            ) from None

    def lacking(self, caller: Caller) -> Forbidden:  # noqa: ARG002
        return Forbidden(
            "An API key does not open `/v1/me`: use a member token, which `POST /v1/members/{member}/tokens` makes.",
            required="a member token",
        )


def requires(scope: Scope | Literal["me"]) -> Requires:
    """`@post("/spend", guards=[requires("ledger")])`; `me` for what customers do with a member token."""
    return RequiresMember() if scope == "me" else Requires(scope)


def requires_all(*scopes: Scope) -> RequiresAll:
    """For what makes a credential: it must not allow more than its maker may."""
    return RequiresAll(*scopes)


def requires_also_public(scope: Scope) -> RequiresAny:
    """For the few addresses that browsers and apps may use with a public key."""
    return RequiresAny(scope)


def _check_origin(caller: Caller, origin: str | None, headers: list[tuple[bytes, bytes]]) -> None:
    """Browsers name the page's origin; apps do not. Raises Forbidden for a page that is not listed."""
    if origin is None:
        return
    if origin not in caller.origins and ANY not in caller.origins:
        who = "key" if caller.member is None else "program"
        raise Forbidden(f"The {who} does not allow this origin.", required=f"an origin that the {who} lists")
    headers.extend(_cors(origin))


def _cors(origin: str) -> list[tuple[bytes, bytes]]:
    """What lets a page read the answer."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"Idempotency-Replayed, RateLimit, Retry-After, X-Request-Id"),
        (b"vary", b"Origin"),
    ]


def _credential(caller: Caller) -> str:
    return "key" if caller.member is None else "token"
