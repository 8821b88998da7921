"""Ids: pseudonymous member ids, and UUIDv8 that carry time and bucket (RFC 9562 section 5.8).

Layout of a UUIDv8 here: 48 bits of Unix milliseconds, version, 8 bits of bucket, then 54 bits that the caller derives.
Rows are therefore partitioned and routed by id alone.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

BUCKETS: Final = 256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def keyed_hash(key: bytes, *parts: bytes, size_bytes: int = 16) -> bytes:
    """A keyed BLAKE2b of length-prefixed parts, so that no two part lists collide by concatenation."""
    digest = hashlib.blake2b(key=key, digest_size=size_bytes)
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


def uuid8(unix_ms: int, bucket: int, rest: int) -> UUID:
    """A UUIDv8 of a moment and a bucket; `rest` (66 bits) fills what is left, its high bits sorting first."""
    return UUID(
        int=(unix_ms & 0xFFFF_FFFF_FFFF) << 80
        | 0x8 << 76
        | (bucket & 0xFF) << 68
        | (rest >> 62 & 0xF) << 64
        | 0x2 << 62
        | (rest & 0x3FFF_FFFF_FFFF_FFFF)
    )


class Ids:
    """The ids of one command, derived from its key and an ordinal: deciding it again gives the same ones.

    `seq` (the member's sequence number before the command) and the ordinal lead the derived bits, so that the ids of a
    member sort in the order in which they were made, also within a millisecond.
    """

    __slots__ = ("_bucket", "_key", "_ordinal", "_seq", "_unix_ms")

    def __init__(self, key: bytes, *, bucket: int, unix_ms: int, seq: int) -> None:
        self._key = key
        self._bucket = bucket
        self._unix_ms = unix_ms
        self._seq = seq
        self._ordinal = 0

    def next(self) -> UUID:
        self._ordinal += 1
        ordinal = self._ordinal
        digest = hashlib.blake2b(self._key + ordinal.to_bytes(4, "big"), digest_size=8).digest()
        order = (self._seq & 0x3FFF) << 14 | ordinal & 0x3FFF
        rest = order << 38 | int.from_bytes(digest, "big") & 0x3F_FFFF_FFFF
        return uuid8(self._unix_ms, self._bucket, rest)

    def lot(self, member: UUID, material: str) -> UUID:
        """The id of a lot that merges: the same material gives the same lot of the member."""
        digest = hashlib.blake2b(material.encode(), key=member.bytes, digest_size=16).digest()
        return UUID(bytes=digest)


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
