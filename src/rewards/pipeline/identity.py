"""Who a command is about and whether it was seen before: keyed hashes under the program's own secret."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rewards.domain.commands import MemberRef, SentBy
from rewards.domain.errors import RewardsError
from rewards.domain.ids import keyed_hash, member_id

SECRET_SIZE_BYTES: Final = 32
_NONCE_SIZE_BYTES: Final = 12
_EVENTS: Final[Mapping[SentBy, str]] = {"server": "event", "public": "public event", "customer": "my event"}
_canonical = msgspec.json.Encoder(order="deterministic")


class WrongSecretKey(RewardsError):
    """REWARDS_SECRET_KEY is not the one that the programs of this database were created with."""

    code = "wrong-secret-key"


def new_secret(secret_key: bytes) -> bytes:
    """A fresh program secret, wrapped with AES-256-GCM under the service's secret key. It never rotates."""
    nonce = secrets.token_bytes(_NONCE_SIZE_BYTES)
    return nonce + AESGCM(secret_key).encrypt(nonce, secrets.token_bytes(SECRET_SIZE_BYTES), b"program")


def unwrap_secret(secret_key: bytes, wrapped: bytes) -> bytes:
    """The program secret. Raises `WrongSecretKey`."""
    try:
        return AESGCM(secret_key).decrypt(wrapped[:_NONCE_SIZE_BYTES], wrapped[_NONCE_SIZE_BYTES:], b"program")
    except InvalidTag as wrong:
        raise WrongSecretKey("REWARDS_SECRET_KEY does not fit this database; use the key it was set up with") from wrong


@dataclass(frozen=True, slots=True)
class Identity:
    """The hashes of one program. Everything that leaves here is pseudonymous."""

    secret: bytes

    def member(self, ref: MemberRef) -> UUID:
        return member_id(self.secret, ref.kind, ref.external_id)

    def command(self, ref: MemberRef, scope: str, client_id: str) -> UUID:
        """The dedup key of (member as sent, id). `scope` keeps apart what may have the same id."""
        return UUID(
            bytes=keyed_hash(
                self.secret, scope.encode(), ref.kind.encode(), ref.external_id.encode(), client_id.encode()
            )
        )

    def event(self, ref: MemberRef, sent_by: SentBy, client_id: str) -> UUID:
        """The dedup key of an event: nobody can use up an id that a more trusted sender is going to use."""
        return self.command(ref, _EVENTS[sent_by], client_id)

    def leg(self, command: bytes, ordinal: int) -> UUID:
        """The dedup key of a command that another command caused for another member."""
        return UUID(bytes=keyed_hash(self.secret, b"leg", command, ordinal.to_bytes(4, "big")))

    def wake(self, member: UUID) -> UUID:
        """The one wake-up that a member can have arranged."""
        return UUID(bytes=keyed_hash(self.secret, b"wake", member.bytes))

    def job(self, name: str, key: str) -> UUID:
        """The id of a job over all members: the same key starts the same job."""
        return UUID(bytes=keyed_hash(self.secret, b"job", name.encode(), key.encode()))

    def job_member(self, job: UUID, member: UUID) -> UUID:
        """The dedup key of what a job does for one member."""
        return UUID(bytes=keyed_hash(self.secret, b"job member", job.bytes, member.bytes))

    def reference(self, member: UUID, reference: str) -> UUID:
        """How a transaction is found by the caller's own reference, without storing it in the ledger."""
        return UUID(bytes=keyed_hash(self.secret, b"reference", member.bytes, reference.encode()))

    def fingerprint(self, content: Any) -> bytes:
        """What tells a repeat from another command under the same id; independent of the order of keys."""
        return keyed_hash(self.secret, b"content", _canonical.encode(content))
