"""Valkey: a cache that may vanish. Nothing is kept only here, and whoever uses it says what happens without it."""

from __future__ import annotations

from typing import Final, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

CONNECTIONS_MAX: Final = 32

Valkey: TypeAlias = "Redis"

VALKEY_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What a call raises when Valkey is gone, slow or refuses."""


def make_valkey(url: str, *, timeout_seconds: float = 1.0, connections_max: int = CONNECTIONS_MAX) -> Valkey:
    """A client over a bounded pool. Callers beyond the bound wait up to the time-out instead of failing at once."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        decode_responses=False,
    )
    return Redis(connection_pool=pool)
