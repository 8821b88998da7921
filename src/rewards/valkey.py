"""Valkey: a cache that may vanish. Nothing is kept only here, and whoever uses it says what happens without it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.exceptions import NoScriptError, RedisError

CONNECTIONS_MAX: Final = 32
CLUSTER_CONNECTIONS_MAX: Final = 256
"""To one node of a cluster. Beyond it the cluster's client fails at once, so there is more room than for one server."""

LISTENED_SECONDS: Final = 5.0
LISTEN_AGAIN_SECONDS: Final = 1.0
CANCEL_AGAIN_SECONDS: Final = 0.2

Valkey: TypeAlias = "Redis | RedisCluster"
"""One server or a cluster. Whoever names several keys in one call keeps them in one slot, by a hash tag."""

VALKEY_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What a call raises when Valkey is gone, slow or refuses."""


def make_valkey(
    url: str, *, timeout_seconds: float = 1.0, connections_max: int = CONNECTIONS_MAX, cluster: bool = False
) -> Valkey:
    """A client over a bounded pool. Callers beyond the bound wait up to the time-out instead of failing at once.

    Of a `cluster` the URL names one node, from which the others are found.
    """
    if cluster:
        return RedisCluster.from_url(
            url,
            max_connections=CLUSTER_CONNECTIONS_MAX,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            decode_responses=False,
        )
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        decode_responses=False,
    )
    return Redis(connection_pool=pool)


class Script:
    """A Lua script, known to the server by its digest. What its text is, is part of its name: versions never mix."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the server's own way to name scripts

    async def __call__(self, valkey: Valkey, keys: Sequence[str], *args: bytes | str | float) -> Any:
        """Runs it where its keys are; the text is sent only to a server that does not know it yet."""
        given: tuple[Any, ...] = (*keys, *args)
        try:
            return await valkey.evalsha(self._sha, len(keys), *given)
        except NoScriptError:
            return await valkey.eval(self._text, len(keys), *given)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks that use Valkey until they have ended: its client may lose a cancellation, while it connects say."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_SECONDS)


async def listen(
    valkey: Valkey, channel: str, heard: Callable[[bytes], None], *, began: Callable[[], None] = lambda: None
) -> None:
    """Calls `heard` with what is published, for good. What comes while Valkey is away is not heard: it is a hint only.

    `began` is called whenever listening begins: from then on all is heard, and what came before may have been missed.
    """
    while True:
        try:
            async with valkey.pubsub() as subscription:
                await subscription.subscribe(channel)
                while True:
                    message = await subscription.get_message(timeout=LISTENED_SECONDS)
                    if message is None:
                        continue
                    # A connection that broke is made anew without a word, but the server says each time that it listens.
                    if message["type"] == "subscribe":
                        began()
                    elif message["type"] == "message":
                        heard(message["data"])
        except VALKEY_ERRORS:
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)
