"""One stream of a live ranking: what it watches, and what it says. A member's goes where the member goes.

Nothing is asked of PostgreSQL for a member who stays where it is: it is looked for again when word came that it has moved, and
when it is missing from the ranking in which it was, whether or not such word got lost.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import DatabaseUnavailable
from rewards.domain.commands import MemberRef
from rewards.domain.errors import RewardsError
from rewards.features.leaderboards.feeds import Feeds, Shown, Watched, Watcher, message_id
from rewards.features.leaderboards.naming import names_of
from rewards.features.leaderboards.ranking import BoardUnavailable, SetId
from rewards.features.leaderboards.reading import BoardReader, Ranked
from rewards.features.leaderboards.schemas import EntryOut, MyEntryOut, my_entry, number, period_out
from rewards.features.leaderboards.whereabouts import Follower, Whereabouts
from rewards.http.event_stream import HEARTBEAT, message
from rewards.pipeline.lookup import UnknownMember

HEARTBEAT_SECONDS: Final = 15.0
MEMBER_STREAM_SECONDS_MAX: Final = 900.0
"""Then a customer's stream ends, and the browser comes back with a credential that still counts."""


class Following:
    """Where a member is: as whom, since merges, and in which part of a board where none was asked for."""

    def __init__(
        self, boards: BoardReader, whereabouts: Whereabouts, ref: MemberRef, asked: Watched, named: UUID
    ) -> None:
        """`named` is the member as `ref` says."""
        self.named = named
        self.follower = Follower()
        self._boards = boards
        self._whereabouts = whereabouts
        self._ref = ref
        self._asked = asked
        whereabouts.follow(self.follower, named)

    @property
    def member(self) -> UUID:
        """As which it was found last."""
        member = self.follower.member
        assert member is not None, "it is followed from the beginning"
        return member

    async def look(self) -> Watched:
        """What it watches now. Raises MemberErased, and what viewing a board raises."""
        asked = self._asked
        view = await self._boards.view(asked.program_id, asked.board, asked.period, asked.part)
        while True:
            # Whatever changes from here on has it looked for again.
            self.follower.moved = False
            try:
                there, member = await self._boards.resolve(view, self._ref)
            except UnknownMember:  # whoever has done nothing yet may watch too
                return asked
            if member == self.member:
                return replace(asked, part=there.part)
            # What became of this one while it was not followed yet is not known.
            self._whereabouts.follow(self.follower, member)

    async def look_again(self) -> Watched:
        """As `look`, in turn with other streams."""
        async with self._whereabouts.looks:
            return await self.look()

    def end(self) -> None:
        self._whereabouts.unfollow(self.follower)


@dataclass(frozen=True, slots=True)
class Told:
    """What a stream has said: a ranking, and to a member (`me`) its place in it, None while it has none.

    `of` is what the place was read of: it may be older than the ranking, while nothing newer can be read.
    """

    shown: Shown
    me: UUID | None = None
    place: Mapping[str, Any] | None = None
    of: tuple[UUID | None, SetId, int] | None = None

    @property
    def ranking(self) -> tuple[UUID | None, SetId]:
        """Where this differs, nothing of what was said is left."""
        return self.me, self.shown.view.set


class Stream:
    """What one client is sent."""

    def __init__(
        self, engine: AsyncEngine, boards: BoardReader, feeds: Feeds, watcher: Watcher, following: Following | None
    ) -> None:
        """`following` is of the member who watches; without it, it is the app's server, which is told who is who."""
        self._engine = engine
        self._boards = boards
        self._feeds = feeds
        self._watcher = watcher
        self._following = following

    async def first(self) -> Told:
        """What there is to say first. Raises what reading raises."""
        me, now = self._me(), self._watcher.feed.latest
        return Told(now, me, await self._place(now, me), (me, now.view.set, now.seen))

    async def messages(self, told: Told, before: Sequence[Ranked] | None) -> AsyncGenerator[bytes, None]:
        """First what `first` found, to those who have seen what was `before` only what differs; then whatever comes.

        It ends when what is watched is no more: whoever comes back is told why.
        """
        try:
            # Even where nothing differs: it may have been old then, or be so now.
            greeting = await (self._snapshot(told) if before is None else self._changes(before, told))
        except RewardsError:
            return
        yield greeting
        clock = asyncio.get_running_loop().time
        until = clock() + MEMBER_STREAM_SECONDS_MAX if self._following is not None else math.inf
        silent_from = clock()
        news = self._watcher.news
        while self._watcher.feed.failed is None and clock() < until:
            # The board is looked at each second, so news alone does not mean that anything was sent.
            if clock() >= silent_from + HEARTBEAT_SECONDS:
                yield HEARTBEAT
                silent_from = clock()
            try:
                async with asyncio.timeout_at(silent_from + HEARTBEAT_SECONDS):
                    await news.wait()
            except TimeoutError:
                continue
            news.clear()
            try:
                was, told = told, await self._next(told)
                text = await self._difference(was, told)
            except RewardsError:
                return
            if text is not None:
                yield text
                silent_from = clock()

    async def _next(self, was: Told) -> Told:
        following = self._following
        if following is None:
            return Told(self._watcher.feed.latest)
        if following.follower.moved:
            await self._follow(following)
        told = await self._read(was)
        if told.ranking == was.ranking and was.place is not None and told.place is None:
            await self._follow(following)
            told = await self._read(was)
        return told

    async def _follow(self, following: Following) -> None:
        """Watches what the member does by now. While that cannot be read it stays as it was, until the next news."""
        try:
            await self._feeds.turn(self._watcher, await following.look_again())
        except (BoardUnavailable, DatabaseUnavailable):
            following.follower.moved = True

    async def _read(self, was: Told) -> Told:
        """The member's place is read anew only where the board has changed: there may be nothing newer to see in a period
        that has just begun."""
        me, now = self._me(), self._watcher.feed.latest
        of = me, now.view.set, now.seen
        if of == was.of:
            return Told(now, me, was.place, of)
        try:
            return Told(now, me, await self._place(now, me), of)
        except (BoardUnavailable, DatabaseUnavailable):
            return Told(now, me, was.place if (me, now.view.set) == was.ranking else None, was.of)

    async def _difference(self, was: Told, told: Told) -> bytes | None:
        if told.ranking != was.ranking:
            return await self._snapshot(told)
        if told.shown.same(was.shown) and told.shown.stale == was.shown.stale and told.place == was.place:
            return None
        return await self._changes(was.shown.ranked, told)

    def _me(self) -> UUID | None:
        return self._following.member if self._following is not None else None

    async def _place(self, now: Shown, me: UUID | None) -> Mapping[str, Any] | None:
        if me is None:
            return None
        boards, sought = self._boards, [me]
        _, places = await boards.read(now.view, lambda view: boards.places(view, sought))
        if not places.placed:
            return None
        ranked = places.placed[0].ranked
        return {"rank": ranked.rank, "score": number(ranked.score)}

    async def _snapshot(self, told: Told) -> bytes:
        now, view = told.shown, told.shown.view
        content = {
            "leaderboard": view.board.key,
            "period": period_out(view.board, view.period, final=view.final),
            "part": view.part,
            **_moment(now),
            "entries": await self._entries(told, now.ranked),
        }
        return self._message("snapshot", told, content)

    async def _changes(self, was: Sequence[Ranked], told: Told) -> bytes:
        now = told.shown
        differing = [
            (position, each)
            for position, each in enumerate(now.ranked, start=1)
            if position > len(was) or was[position - 1] != each
        ]
        entries = await self._entries(told, [each for _, each in differing])
        content = {
            **_moment(now),
            "length": len(now.ranked),
            "entries": [
                {"position": position, **msgspec.structs.asdict(entry)}
                for (position, _), entry in zip(differing, entries, strict=True)
            ],
        }
        return self._message("changes", told, content)

    def _message(self, event: str, told: Told, content: Mapping[str, Any]) -> bytes:
        own = {} if told.me is None else {"me": told.place}
        limit = self._watcher.feed.watched.limit
        return message(event, msgspec.json.encode({**content, **own}), id=message_id(told.shown, limit, told.me))

    async def _entries(self, told: Told, ranked: Sequence[Ranked]) -> list[EntryOut | MyEntryOut]:
        view, me = told.shown.view, told.me
        refs = {each.member: each.ref for each in ranked}
        names = await names_of(self._engine, view.published.identity, view.published.program_id, view.board, refs)
        if me is None:
            return [EntryOut(each.rank, number(each.score), each.ref, names[each.member]) for each in ranked]
        return [my_entry(each, names[each.member], me) for each in ranked]


def _moment(now: Shown) -> dict[str, Any]:
    return {"as_of": now.as_of, "stale": now.stale, "total": now.total}
