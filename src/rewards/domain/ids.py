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


def uuid8(unix_ms: int, bucket: int, tail: bytes) -> UUID:
    """A UUIDv8 of a moment and a bucket; `tail` (8 bytes) fills what is left."""
    rest = int.from_bytes(tail[:8], "big")
    return UUID(
        int=(unix_ms & 0xFFFF_FFFF_FFFF) << 80
        | 0x8 << 76
        | (bucket & 0xFF) << 68
        | (rest >> 56 & 0xF) << 64
        | 0x2 << 62
        | (rest & 0x3FFF_FFFF_FFFF_FFFF)
    )


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
