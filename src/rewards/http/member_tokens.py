"""Member tokens: how a customer's browser or app calls `/v1/me`, for minutes, with nothing stored.

    mt_ base64url(signature, payload)        signature = HMAC-SHA-256 of the payload under a key of its own

The app server mints one for the member it has signed in. The payload is a JSON list that names the member, the end, and
two epochs; a token whose epochs are not those of the program and of the member any more was revoked, and so was one whose
id the member's standing lists. The browser SDK reads the first four: whose events it keeps, and when it needs another token.

    id      UUIDv8: when the token expires, the member's bucket, 30 random bits, 32 bits that only we can make of these
            and the member; so that revoking one token knows how long that must be remembered, and whose it is.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from rewards.domain.commands import MemberRef
from rewards.domain.ids import bucket_of, keyed_hash, uuid8
from rewards.http.auth import CACHE_SECONDS, MEMBER_PREFIX, Caller
from rewards.http.origins import ANY
from rewards.http.problems import Unauthorized
from rewards.http.recent import Recent

TTL_SECONDS_DEFAULT: Final = 15 * 60
TTL_SECONDS_MIN: Final = 60
TTL_SECONDS_MAX: Final = 24 * 60 * 60
TOKEN_LENGTH_MAX: Final = 2048
"""Two hundred characters of six bytes each, which no member's id exceeds in JSON, fit."""
STANDINGS_MAX: Final = 50_000

_TOKEN: Final = re.compile(rf"{MEMBER_PREFIX}[A-Za-z0-9_-]{{1,{TOKEN_LENGTH_MAX - len(MEMBER_PREFIX)}}}")
_SIGNATURE_BYTES: Final = 32
_ANOTHER: Final = "the app's server makes another with `POST /v1/members/{member}/tokens`."
_NONCE_BITS: Final = 30
_TAG_BITS: Final = 32


class TokenEnded(Unauthorized):
    """The member token is malformed, forged, expired or revoked: the app's server has to mint another."""

    code = "token-ended"
    # Basic would have browsers ask the customer for a password.
    headers: Final = {"WWW-Authenticate": 'Bearer realm="rewards", error="invalid_token"'}


class _Payload(msgspec.Struct, frozen=True, array_like=True):
    program_id: int
    member: str
    issued: int
    expires: int
    """Both in seconds since 1970."""
    program_epoch: int
    member_epoch: int
    id: UUID


@dataclass(frozen=True, slots=True)
class Minted:
    """A fresh token, to be handed out once, and what is known of it."""

    token: str
    id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for a member's tokens now. A token of other epochs was revoked, as was each of `ended`; no origins: any page."""

    member_id: UUID
    program_key: str
    program_epoch: int
    member_epoch: int
    origins: frozenset[str]
    ended: frozenset[UUID] = frozenset()


MemberKey: TypeAlias = tuple[int, str]
"""A program's id and the member as its tokens name it."""


class MemberTokens:
    """Mints tokens and finds the member behind one. What it read of a member it believes for two seconds."""

    def __init__(
        self,
        secret_key: bytes,
        find: Callable[[int, MemberRef], Awaitable[Standing | None]],
        *,
        requests_per_second: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`find` reads the standing of a program's member, None when there is no such program.

        One token may send `requests_per_second`, and twice as much in a burst.
        """
        self._key = hmac.digest(secret_key, b"rewards member token", "sha256")
        self._requests_per_second = requests_per_second
        self._clock = clock

        async def read(key: MemberKey) -> Standing | None:
            return await find(key[0], MemberRef.parse(key[1]))

        self._standings: Recent[MemberKey, Standing | None] = Recent(
            read, seconds=CACHE_SECONDS, keys_max=STANDINGS_MAX
        )

    def mint(self, program_id: int, member: MemberRef, standing: Standing, ttl: timedelta) -> Minted:
        """A token for the member. `standing` must have been read just now."""
        issued = int(self._clock())
        expires = issued + int(ttl.total_seconds())
        identifier = self._id(standing.member_id, expires, secrets.randbits(_NONCE_BITS))
        payload = msgspec.json.encode(
            _Payload(
                program_id=program_id,
                member=str(member),
                issued=issued,
                expires=expires,
                program_epoch=standing.program_epoch,
                member_epoch=standing.member_epoch,
                id=identifier,
            )
        )
        signed = base64.urlsafe_b64encode(self._signature(payload) + payload).rstrip(b"=").decode()
        return Minted(MEMBER_PREFIX + signed, identifier, datetime.fromtimestamp(expires, UTC))

    def expiry(self, identifier: UUID, member: UUID) -> datetime | None:
        """When the token of this id expires or has expired; None when it is no id of a token of the member."""
        expires = (identifier.int >> 80) // 1000
        nonce = identifier.int >> _TAG_BITS & (1 << _NONCE_BITS) - 1
        if self._id(member, expires, nonce) != identifier:
            return None
        return datetime.fromtimestamp(expires, UTC)

    async def caller(self, token: str) -> Caller:
        """Raises TokenEnded for a malformed, forged, expired or revoked token."""
        payload = self._read(token)
        if payload is None:
            raise TokenEnded(f"This is no member token, or it was cut or changed; {_ANOTHER}")
        if self._clock() >= payload.expires:
            raise TokenEnded(f"The member token has expired; {_ANOTHER}")
        standing = await self._standings.get((payload.program_id, payload.member))
        if (
            standing is None
            or payload.program_epoch != standing.program_epoch
            or payload.member_epoch != standing.member_epoch
            or payload.id in standing.ended
        ):
            raise TokenEnded(f"The member token was revoked; {_ANOTHER}")
        return Caller(
            program_id=payload.program_id,
            program_key=standing.program_key,
            key_id=payload.id,
            kind="member",
            scopes=frozenset({"me"}),
            origins=standing.origins or frozenset({ANY}),
            rate_per_second=self._requests_per_second,
            member=MemberRef.parse(payload.member),
            epochs=(payload.program_epoch, payload.member_epoch),
        )

    def forget(self) -> None:
        """Read every member's standing afresh."""
        self._standings.forget()

    def _read(self, token: str) -> _Payload | None:
        """The payload of a token that we made."""
        if not _TOKEN.fullmatch(token):
            return None
        text = token.removeprefix(MEMBER_PREFIX)
        if len(text) % 4 == 1:  # no bytes encode to that
            return None
        signed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload)):
            return None
        return msgspec.json.decode(payload, type=_Payload)

    def _id(self, member: UUID, expires: int, nonce: int) -> UUID:
        parts = (b"token id", member.bytes, expires.to_bytes(8, "big"), nonce.to_bytes(8, "big"))
        tag = int.from_bytes(keyed_hash(self._key, *parts, size_bytes=_TAG_BITS // 8), "big")
        return uuid8(expires * 1000, bucket_of(member), nonce << _TAG_BITS | tag)

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")
