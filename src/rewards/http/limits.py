"""Rate limits per key: a token bucket in Valkey. A key without a limit costs nothing; without Valkey all pass."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

import structlog

from rewards.valkey import VALKEY_ERRORS, Valkey

log = structlog.get_logger("rewards.http")

BURST_SECONDS: Final = 2
PAUSE_SECONDS: Final = 1.0
"""How long a Valkey that failed is left alone, so that its absence does not add its time-out to every request."""

# The bucket refills at `rate` a second up to `burst`. Valkey's clock decides, so processes agree. It returns whether
# the request may pass, what is left, and the milliseconds until there is one more.
DRAW: Final = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local bucket = redis.call('HMGET', KEYS[1], 'left', 'at')
local left, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
left = math.min(burst, left + math.max(0, now - at) * rate / 1000)
local passes = 0
if left >= 1 then left = left - 1; passes = 1 end
redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {passes, math.floor(left), left >= 1 and 0 or math.ceil((1 - left) * 1000 / rate)}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """What the answer says about the limit, in the IETF draft's fields."""

    rate_per_second: int
    left: int
    wait_seconds: float
    """Until the bucket holds one more."""
    passes: bool

    def headers(self) -> list[tuple[bytes, bytes]]:
        policy = f'"key";q={self.rate_per_second * BURST_SECONDS};w={BURST_SECONDS}'
        return [
            (b"ratelimit-policy", policy.encode()),
            (b"ratelimit", f'"key";r={self.left};t={max(0, round(self.wait_seconds + 0.499))}'.encode()),
        ]


class RateLimiter:
    """Takes one token of a key's bucket per request."""

    def __init__(self, valkey: Valkey, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._take = valkey.register_script(DRAW)
        self._clock = clock
        self._paused_until = float("-inf")

    async def take(self, key_id: UUID, rate_per_second: int) -> Limit | None:
        """None when Valkey cannot tell: then the request passes."""
        if self._clock() < self._paused_until:
            return None
        burst = rate_per_second * BURST_SECONDS
        try:
            answer = await cast(
                "Awaitable[Any]", self._take(keys=[f"rewards:limit:{key_id}"], args=[rate_per_second, burst])
            )
        except VALKEY_ERRORS as error:
            self._paused_until = self._clock() + PAUSE_SECONDS
            log.warning("rate limits are off: Valkey does not answer", error=type(error).__name__)
            return None
        passes, left, wait_milliseconds = answer
        return Limit(rate_per_second, left, wait_milliseconds / 1000, passes=bool(passes))
