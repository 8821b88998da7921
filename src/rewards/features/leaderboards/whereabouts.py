"""Word of members who are elsewhere on boards now: in another part of one, or merged into somebody.

A stream follows its member by it. Whoever commits such a change publishes whose it was, and each process looks whether it
has streams of these: what it costs is paid by members who move, and nothing is asked for those who stay. Word may be lost, as
while Valkey is away; so whoever begins to listen takes all its members for moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from rewards.valkey import VALKEY_ERRORS, Valkey, end, listen

MOVED_CHANNEL: Final = "rewards:boards:moved"
"""Where the ids of members are published, one after the other; none stand for all members."""
MOVED_MAX: Final = 10_000
"""Members of whom word is kept until it is sent; when there are more, it is that any of all may have moved."""
AWAY_SECONDS: Final = 1.0
LOOKS_MAX: Final = 4
"""Streams that look at a time where their members are: if all did, nobody else would get a database connection."""
_MEMBER_BYTES: Final = 16


@dataclass(eq=False, slots=True)
class Follower:
    """One stream, as far as it follows its `member`.

    `moved` holds until the stream has looked where the member is; `news` is set with it. Who has not looked yet follows nobody.
    """

    news: asyncio.Event = field(default_factory=asyncio.Event)
    member: UUID | None = None
    moved: bool = True

    def tell(self) -> None:
        self.moved = True
        self.news.set()


class Whereabouts:
    """Says in all processes who has moved (inside `publishing`), and tells the followers of this one (inside `listening`)."""

    def __init__(self, valkey: Valkey) -> None:
        self.looks = asyncio.Semaphore(LOOKS_MAX)
        self._valkey = valkey
        self._followers: dict[UUID, set[Follower]] = {}
        self._moved: set[UUID] = set()
        self._anybody = False
        self._to_publish = asyncio.Event()

    def moved(self, members: Collection[UUID]) -> None:
        """For whoever has committed it."""
        self._moved.update(members)
        if len(self._moved) > MOVED_MAX:
            self._moved.clear()
            self._anybody = True
        self._to_publish.set()

    def follow(self, follower: Follower, member: UUID) -> None:
        """From now on it is told of this member, and of no other."""
        self.unfollow(follower)
        follower.member = member
        self._followers.setdefault(member, set()).add(follower)

    def unfollow(self, follower: Follower) -> None:
        """It is told of nobody."""
        if follower.member is None:
            return
        followers = self._followers.get(follower.member, set())
        followers.discard(follower)
        if not followers:
            self._followers.pop(follower.member, None)

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Leaving sends what has not been sent."""
        task = asyncio.create_task(self._publish(), name="members-moved")
        try:
            yield
        finally:
            await end(task)
            with suppress(*VALKEY_ERRORS):
                await self._send()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        hearing = listen(self._valkey, MOVED_CHANNEL, self._heard, began=self._tell_all)
        task = asyncio.create_task(hearing, name="members-followed")
        try:
            yield
        finally:
            await end(task)

    async def _publish(self) -> None:
        while True:
            await self._to_publish.wait()
            self._to_publish.clear()
            try:
                await self._send()
            except VALKEY_ERRORS:
                self._to_publish.set()
                await asyncio.sleep(AWAY_SECONDS)

    async def _send(self) -> None:
        if not self._moved and not self._anybody:
            return
        word = b"" if self._anybody else b"".join(member.bytes for member in self._moved)
        self._moved, self._anybody = set(), False
        try:
            await self._valkey.publish(MOVED_CHANNEL, word)
        except BaseException:
            self._anybody = True
            raise

    def _heard(self, word: bytes) -> None:
        if not word:
            self._tell_all()
        for start in range(0, len(word) - _MEMBER_BYTES + 1, _MEMBER_BYTES):
            for follower in self._followers.get(UUID(bytes=word[start : start + _MEMBER_BYTES]), ()):
                follower.tell()

    def _tell_all(self) -> None:
        for followers in self._followers.values():
            for follower in followers:
                follower.tell()
