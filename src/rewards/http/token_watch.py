"""Streams of customers that are open in this process, and ending those whose member token was revoked meanwhile.

A request asks once whether its token still counts; a stream goes on for minutes. All open streams are asked about together,
in one query every second or so, and none is asked while no stream is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from rewards.domain.errors import RewardsError
from rewards.http.auth import Caller
from rewards.valkey import end

log = structlog.get_logger("rewards.http")

WATCH_SECONDS: Final = 1.0
"""Between two looks: a stream outlives its token by about this long."""


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A member token that a stream was opened with. The epochs are those at which it was minted."""

    program_id: int
    member_id: UUID
    """Of the member that the token names."""
    token_id: UUID
    program_epoch: int
    member_epoch: int

    @classmethod
    def of(cls, caller: Caller, member_id: UUID) -> HeldToken:
        return cls(caller.program_id, member_id, caller.key_id, *caller.epochs)


FindRevoked: TypeAlias = Callable[[Sequence[HeldToken]], Awaitable[Collection[HeldToken]]]


@dataclass(frozen=True, eq=False, slots=True)
class Watching:
    """One stream, and its token; `revoked` is set when it is to end."""

    token: HeldToken
    revoked: asyncio.Event = field(default_factory=asyncio.Event)


class TokenWatch:
    """All open streams of customers in this process. Only inside `running` they end when their token is revoked."""

    def __init__(self, find_revoked: FindRevoked) -> None:
        """`find_revoked` tells which of the tokens were revoked; it may raise `StorageError` where nobody can tell."""
        self._find_revoked = find_revoked
        self._open: set[Watching] = set()
        self._some = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watch(), name="token-watch")
        try:
            yield
        finally:
            await end(task)

    def enter(self, token: HeldToken) -> Watching:
        """A stream begins; it is to `leave` when it has ended."""
        watching = Watching(token)
        self._open.add(watching)
        self._some.set()
        return watching

    def leave(self, watching: Watching) -> None:
        self._open.discard(watching)
        if not self._open:
            self._some.clear()

    async def look(self) -> None:
        """Ends the streams whose token was revoked."""
        tokens = list({watching.token for watching in self._open})
        revoked = await self._find_revoked(tokens) if tokens else ()
        for watching in self._open:
            if watching.token in revoked:
                watching.revoked.set()

    async def _watch(self) -> None:
        while True:
            await self._some.wait()
            try:
                await self.look()
            except RewardsError as error:
                # Streams go on: what the database cannot say now, it says the next time.
                log.warning("streams_not_checked", streams=len(self._open), error=error.code)
            except Exception:
                log.exception("token_watch_defective")
            await asyncio.sleep(WATCH_SECONDS)
