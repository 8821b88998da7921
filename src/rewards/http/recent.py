"""What was read lately and is believed for a moment, so that not every request asks the database who its caller is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Read(Generic[V]):
    value: V
    fresh_until: float


class Recent(Generic[K, V]):
    """Reads by key, and remembers. One reading serves all who wait for it."""

    def __init__(
        self,
        read: Callable[[K], Awaitable[V]],
        *,
        seconds: float,
        keys_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Past `keys_max` everything is forgotten: what is in use is soon read again."""
        self._read = read
        self._seconds = seconds
        self._keys_max = keys_max
        self._clock = clock
        self._known: dict[K, _Read[V]] = {}
        self._reading: dict[K, asyncio.Future[V]] = {}

    def peek(self, key: K) -> V | None:
        """The value, if it was read so lately that nothing need be read."""
        known = self._fresh(key)
        return known.value if known is not None else None

    async def get(self, key: K) -> V:
        known = self._fresh(key)
        return known.value if known is not None else await self._read_once(key)

    def forget(self) -> None:
        """Read everything afresh."""
        self._known.clear()

    def _fresh(self, key: K) -> _Read[V] | None:
        known = self._known.get(key)
        return known if known is not None and known.fresh_until > self._clock() else None

    async def _read_once(self, key: K) -> V:
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.ensure_future(self._load(key))
            reading.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(reading)  # whoever gives up does not take the others along

    async def _load(self, key: K) -> V:
        value = await self._read(key)
        if len(self._known) >= self._keys_max:
            self._known.clear()
        self._known[key] = _Read(value, self._clock() + self._seconds)
        return value
