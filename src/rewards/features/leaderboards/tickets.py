"""Tickets for streams. A page cannot send headers with an event stream, and a token in an address ends up in logs.

So the page asks for a ticket with its token, and opens the stream with the ticket, which is good once and for seconds.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Any, Final, cast
from uuid import UUID

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from rewards.domain.commands import MemberRef
from rewards.domain.errors import RewardsError
from rewards.http.auth import RESPONSE_HEADERS, Caller, RequiresMember
from rewards.http.problems import NoMemberToken
from rewards.valkey import VALKEY_ERRORS, Valkey

TICKET_SECONDS: Final = 30
TICKET_BYTES: Final = 32
PREFIX: Final = "ticket_"
_TICKET: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


class TicketsUnavailable(RewardsError):
    """Tickets are kept in Valkey, which does not answer."""

    code = "unavailable"


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    program_id: int
    program_key: str
    key_id: UUID
    member: str
    origins: frozenset[str]
    rate_per_second: int | None
    epochs: tuple[int, int] = (0, 0)


class Tickets:
    """Made for a member token's caller, and taken once."""

    def __init__(self, secret_key: bytes, valkey: Valkey) -> None:
        """By the `secret_key` a ticket opens streams of this installation only, though another may share its Valkey."""
        self._secret_key = secret_key
        self._valkey = valkey

    async def make(self, caller: Caller) -> str:
        """Raises TicketsUnavailable."""
        assert caller.member is not None, "the guard lets nothing else in"
        ticket = PREFIX + secrets.token_urlsafe(TICKET_BYTES)
        kept = _Kept(
            caller.program_id,
            caller.program_key,
            caller.key_id,
            str(caller.member),
            caller.origins,
            caller.rate_per_second,
            caller.epochs,
        )
        try:
            await self._valkey.set(self._key(ticket), msgspec.msgpack.encode(kept), ex=TICKET_SECONDS)
        except VALKEY_ERRORS as error:
            raise TicketsUnavailable("Tickets cannot be made now.") from error
        return ticket

    async def take(self, ticket: str) -> Caller:
        """The caller for whom it was made; from then on it is worth nothing. Raises NoMemberToken, TicketsUnavailable."""
        try:
            found: Any = await self._valkey.getdel(self._key(ticket)) if _TICKET.fullmatch(ticket) else None
        except VALKEY_ERRORS as error:
            raise TicketsUnavailable("Tickets cannot be looked up now.") from error
        if found is None:
            raise NoMemberToken("The ticket is unknown, was used, or is too old: ask for another.")
        kept = msgspec.msgpack.decode(found, type=_Kept)
        return Caller(
            program_id=kept.program_id,
            program_key=kept.program_key,
            key_id=kept.key_id,
            kind="member",
            scopes=frozenset({"me"}),
            origins=kept.origins,
            rate_per_second=kept.rate_per_second,
            member=MemberRef.parse(kept.member),
            epochs=kept.epochs,
        )

    def _key(self, ticket: str) -> str:
        """The ticket itself is not kept."""
        digest = hmac.digest(self._secret_key, b"rewards stream ticket\0" + ticket.encode(), "sha256")
        return f"rewards:ticket:{digest.hex()}"


class RequiresStream(RequiresMember):
    """A guard for streams under `/v1/me`: a member token, or a ticket in the address."""

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        ticket = connection.query_params.get("ticket")
        if ticket is None:
            await super().__call__(connection, handler)
            return
        cast("dict[str, Any]", connection.scope)[RESPONSE_HEADERS] = []
        tickets = cast("Tickets", connection.app.state.stream_tickets)
        await self.let_in(connection, await tickets.take(ticket))
