"""Waking the projector at once when scores were written, also from processes that have none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from rewards.valkey import VALKEY_ERRORS, Valkey, end, listen

WRITTEN_CHANNEL: Final = "rewards:boards:written"
GATHER_SECONDS: Final = 0.01
AWAY_SECONDS: Final = 1.0


class ScoreHints:
    """`written` is called after each commit that left marks; `scores_written` is what the projector of a process waits for.

    A hint may be lost: the projector looks each second anyway.
    """

    def __init__(self, valkey: Valkey) -> None:
        self.scores_written = asyncio.Event()
        self._valkey = valkey
        self._to_publish = asyncio.Event()
        self._listeners = 0

    def written(self) -> None:
        self.scores_written.set()
        if not self._listeners:
            self._to_publish.set()

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Inside, the projectors of other processes hear of what is written here, if there is none here."""
        async with _alongside(self._publish()):
            yield

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Inside, this process hears of what is written in others."""
        self._listeners += 1
        try:
            async with _alongside(listen(self._valkey, WRITTEN_CHANNEL, lambda _: self.scores_written.set())):
                yield
        finally:
            self._listeners -= 1

    async def _publish(self) -> None:
        while True:
            await self._to_publish.wait()
            self._to_publish.clear()
            try:
                await self._valkey.publish(WRITTEN_CHANNEL, b"")
            except VALKEY_ERRORS:
                await asyncio.sleep(AWAY_SECONDS)
            await asyncio.sleep(GATHER_SECONDS)


@asynccontextmanager
async def _alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)
