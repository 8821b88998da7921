"""Ids: pseudonymous member ids, and UUIDv8 that carry time and bucket (RFC 9562 section 5.8).

Layout of a UUIDv8 here: 48 bits of Unix milliseconds, version, 8 bits of bucket, then 54 bits that the caller derives.
Rows are therefore partitioned and routed by id alone.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final
from uuid import UUID, SafeUUID

BUCKETS: Final = 256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def keyed_hash(key: bytes, *parts: bytes, size_bytes: int = 16) -> bytes:
    """A keyed BLAKE2b of length-prefixed parts, so that no two part lists collide by concatenation."""
    digest = blake2b(key=key, digest_size=size_bytes)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.digest()


def member_id(key: bytes, kind: str, external_id: str) -> UUID:
    """The pseudonymous id of a member: HMAC-SHA-256 of the kind-prefixed external id under the program's key."""
    return UUID(bytes=hmac.digest(key, f"{kind}:{external_id}".encode(), "sha256")[:16])


def bucket_of(member: UUID) -> int:
    """The bucket, 0 to 255, that all rows of a member live in: the first byte of the id."""
    return member.int >> 120


_set = object.__setattr__
_UNKNOWN: Final = SafeUUID.unknown


def uuid_of(value: int) -> UUID:
    """A UUID of 128 bits that are known to be in range: the constructor's checks would cost more than all the rest."""
    made = UUID.__new__(UUID)
    _set(made, "int", value)
    _set(made, "is_safe", _UNKNOWN)
    return made


_FIXED: Final = 0x8 << 76 | 0x2 << 62
"""The version and variant bits."""


def uuid8(unix_ms: int, bucket: int, rest: int) -> UUID:
    """A UUIDv8 of a moment and a bucket; `rest` fills what is left: four bits beside the bucket, 62 behind the variant."""
    return uuid_of(_head(unix_ms, bucket) | _spread(rest))


def _head(unix_ms: int, bucket: int) -> int:
    return (unix_ms & 0xFFFF_FFFF_FFFF) << 80 | (bucket & 0xFF) << 68 | _FIXED


def _spread(rest: int) -> int:
    return (rest >> 62 & 0xF) << 64 | rest & 0x3FFF_FFFF_FFFF_FFFF


class Ids:
    """The ids of one command, derived from its key and an ordinal: deciding it again gives the same ones.

    A UUIDv8 of the moment and the bucket; `seq` (the member's sequence number before the command) and the ordinal lead the
    bits that are left, so that the ids of a member sort in the order in which they were made, also within a millisecond.
    The last 38 bits are the key's: they tell the commands of one millisecond and bucket apart, whatever their `seq`.
    """

    __slots__ = ("_base", "_ordinal")

    def __init__(self, key: bytes, *, bucket: int, unix_ms: int, seq: int) -> None:
        digest = blake2b(key, digest_size=5).digest()
        rest = (seq & 0x3FFF) << 52 | int.from_bytes(digest, "big") & 0x3F_FFFF_FFFF
        self._base = _head(unix_ms, bucket) | _spread(rest)
        self._ordinal = 0

    def next(self) -> UUID:
        self._ordinal = ordinal = self._ordinal + 1
        return uuid_of(self._base | (ordinal & 0x3FFF) << 38)

    def lot(self, member: UUID, material: str) -> UUID:
        """The id of a lot that merges: the same material gives the same lot of the member."""
        digest = blake2b(material.encode(), key=member.bytes, digest_size=16).digest()
        return uuid_of(int.from_bytes(digest, "big"))


def unix_ms(moment: datetime) -> int:
    """Milliseconds since 1970, floored."""
    delta = moment - _EPOCH
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000


def id_bucket(identifier: UUID) -> int:
    """The bucket inside a UUIDv8 made by `uuid8`."""
    return identifier.int >> 68 & 0xFF


def id_floor(moment: datetime) -> UUID:
    """The smallest id of a moment: a bound for partitions and range queries."""
    return UUID(int=unix_ms(moment) << 80)
