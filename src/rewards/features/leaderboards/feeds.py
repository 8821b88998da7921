"""Rankings that are watched: each is read once for all who watch it in this process, and only when it has changed.

While one cannot be read, what was shown last is all that there is: it goes on being watched, and its watchers are told when
that has become old.

What was shown under which version is kept in Valkey for a while, whichever process showed it, so that whoever comes back
with the version that it has seen is told of what has changed since.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from redis.exceptions import ResponseError

from rewards.db.transact import DatabaseUnavailable
from rewards.domain.errors import RewardsError
from rewards.features.leaderboards.ranking import BoardId, BoardUnavailable
from rewards.features.leaderboards.reading import BoardReader, Excerpt, Ranked, View, fresh_seconds
from rewards.features.leaderboards.scripts import CHANGED_CHANNEL
from rewards.http.problems import TooManyRequests
from rewards.valkey import VALKEY_ERRORS, Valkey, end, listen

log = structlog.get_logger("rewards.boards")

INTERVAL_SECONDS: Final = 0.4
"""Between two readings of a watched ranking: changes in between become one."""
POLL_SECONDS: Final = 1.0
SHOWN_MAX: Final = 128
SHOWN_SECONDS: Final = 600
STREAMS_MAX: Final = 2_000
"""In one process."""
STREAMS_OF_CALLER_MAX: Final = 20
STREAMS_OF_MEMBER_MAX: Final = 5
TRY_AGAIN_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Shown:
    """What a ranking's top was. `version` is that of the board when it was read, `seen` that of the latest reading."""

    view: View
    version: int
    as_of: datetime
    stale: bool
    total: int
    ranked: list[Ranked]
    seen: int

    def same(self, other: Shown) -> bool:
        """Whether a reader would see no difference."""
        return (self.view.set, self.total, self.ranked) == (other.view.set, other.total, other.ranked)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched: the top `limit` of a board's current period, or of another one."""

    program_id: int
    board: str
    period: str
    part: str
    limit: int


@dataclass(eq=False, slots=True)
class Feed:
    """One watched ranking, and who watches it: their events are set whenever the board was looked at or grew old."""

    watched: Watched
    latest: Shown
    tag: bytes = field(init=False)
    """Of the board, by which it is told of."""
    watchers: set[asyncio.Event] = field(default_factory=set)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    failed: RewardsError | None = None
    """Why it cannot be watched any more."""
    ageing: asyncio.TimerHandle | None = None
    """A clock of its own: reading may take as long as it likes to find out that nobody answers."""

    def __post_init__(self) -> None:
        self.tag = self.latest.view.set.board.tag.encode()

    def show(self, shown: Shown) -> None:
        """From now on, and as fresh for as long as it is."""
        self.latest = shown
        self.rest()
        seconds = None if shown.stale else fresh_seconds(shown.view, shown.as_of)
        if seconds is not None:
            self.ageing = asyncio.get_running_loop().call_later(seconds, self._grow_old)

    def rest(self) -> None:
        """It grows no older."""
        if self.ageing is not None:
            self.ageing.cancel()

    def stir(self) -> None:
        for news in self.watchers:
            news.set()

    def _grow_old(self) -> None:
        self.latest = replace(self.latest, stale=True)
        self.stir()


@dataclass(eq=False, slots=True)
class Watcher:
    """Who watches a feed, and another one once it is to. `news` is set for the watcher to look at the feed's `latest`."""

    feed: Feed
    news: asyncio.Event


class Feeds:
    """All feeds of a process. Only inside `running` do they hear of changes at once; else they look each second."""

    def __init__(self, reader: BoardReader, valkey: Valkey) -> None:
        self._reader = reader
        self._valkey = valkey
        self._feeds: dict[Watched, Feed] = {}
        self._tasks: dict[Watched, asyncio.Task[None]] = {}
        self._callers: dict[str, int] = {}
        self._streams = 0

    @property
    def streams(self) -> int:
        return self._streams

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Leaving ends every feed."""
        listening = asyncio.create_task(listen(self._valkey, CHANGED_CHANNEL, self._heard), name="boards-changed")
        try:
            yield
        finally:
            await end(listening, *self._tasks.values())

    def enter(self, caller: str, limit: int) -> Callable[[], None]:
        """Takes a place for a stream; what is returned gives it back. Raises TooManyRequests."""
        if self._streams >= STREAMS_MAX or self._callers.get(caller, 0) >= limit:
            raise TooManyRequests("Too many streams are open.", retry_after_seconds=TRY_AGAIN_SECONDS)
        self._streams += 1
        self._callers[caller] = self._callers.get(caller, 0) + 1

        def leave() -> None:
            self._streams -= 1
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

        return leave

    async def watch(self, watched: Watched, news: asyncio.Event) -> Watcher:
        """Joins the feed, which has been read. Raises what reading raises."""
        feed = await self._feed(watched)
        feed.watchers.add(news)
        return Watcher(feed, news)

    async def turn(self, watcher: Watcher, watched: Watched) -> None:
        """From now on that is watched. Raises what reading raises; then it is what it was."""
        if watched == watcher.feed.watched:
            return
        feed = await self._feed(watched)
        self.unwatch(watcher)
        feed.watchers.add(watcher.news)
        watcher.feed = feed

    def unwatch(self, watcher: Watcher) -> None:
        """The last one to leave ends the feed."""
        feed = watcher.feed
        feed.watchers.discard(watcher.news)
        if not feed.watchers:
            self._close(feed)

    async def shown(self, now: Shown, watched: Watched, me: UUID | None, last_id: str) -> list[Ranked] | None:
        """What the same watcher was shown of the same ranking under the id of a message; None if that is not known."""
        version, _, place = last_id.partition("-")
        if place != _place(now.view, watched.limit, me) or not (version.isascii() and version.isdigit()):
            return None
        if int(version) == now.version:
            return now.ranked
        try:
            found: Any = await self._valkey.xrange(_log_key(now.view, watched.limit), f"{version}-0", f"{version}-0")
        except VALKEY_ERRORS:
            return None
        if not found:
            return None
        rows = msgspec.msgpack.decode(found[0][1][b"ranked"], type=list[tuple[bytes, int, float, str | None]])
        return [Ranked(UUID(bytes=member), rank, score, ref) for member, rank, score, ref in rows]

    async def _feed(self, watched: Watched) -> Feed:
        """Whoever gets it watches it at once: one that nobody watches ends."""
        feed = self._feeds.get(watched)
        if feed is None:
            latest = await self._read(watched, None)
            feed = self._feeds.get(watched)  # somebody else may have been quicker
            if feed is None:
                feed = self._feeds[watched] = Feed(watched, latest)
                feed.show(latest)
                self._tasks[watched] = asyncio.create_task(self._follow(feed), name="board-feed")
        return feed

    def _close(self, feed: Feed) -> None:
        if self._feeds.get(feed.watched) is feed:
            del self._feeds[feed.watched]
            feed.rest()
            self._tasks.pop(feed.watched).cancel()

    def _heard(self, tag: bytes) -> None:
        for feed in self._feeds.values():
            if feed.tag == tag:
                feed.stirred.set()

    async def _follow(self, feed: Feed) -> None:
        while feed.watchers:
            began = time.monotonic()
            try:
                feed.show(await self._read(feed.watched, feed.latest))
            except (BoardUnavailable, DatabaseUnavailable):
                pass
            except RewardsError as error:
                feed.failed = error
            except Exception:
                log.exception("feed_defective", board=feed.watched.board)
                feed.failed = BoardUnavailable("The board cannot be read.")
            feed.stir()
            if feed.failed is not None:
                self._close(feed)
                return
            await asyncio.sleep(max(0.0, began + INTERVAL_SECONDS - time.monotonic()))
            await _until(feed.stirred, POLL_SECONDS)

    async def _read(self, watched: Watched, known: Shown | None) -> Shown:
        view = await self._reader.view(watched.program_id, watched.board, watched.period, watched.part)
        view, found = await self._reader.read(view, lambda view: self._reader.page(view, 0, watched.limit))
        read = _shown(view, found)
        if known is not None and read.same(known):
            return replace(read, version=known.version)
        await self._keep(read, watched.limit)
        return read

    async def _keep(self, shown: Shown, limit: int) -> None:
        key = _log_key(shown.view, limit)
        rows = [(each.member.bytes, each.rank, each.score, each.ref) for each in shown.ranked]
        packed: dict[Any, Any] = {"ranked": msgspec.msgpack.encode(rows)}
        try:
            await self._valkey.xadd(key, packed, id=f"{shown.version}-0", maxlen=SHOWN_MAX, approximate=True)
            await self._valkey.expire(key, SHOWN_SECONDS)
        except ResponseError:
            pass  # another process has shown it, or what came after it
        except VALKEY_ERRORS as error:
            log.warning("shown_not_kept", error=type(error).__name__)


def _shown(view: View, found: Excerpt) -> Shown:
    return Shown(view, found.version, found.as_of, found.stale, found.total, found.ranked, found.version)


def message_id(shown: Shown, limit: int, me: UUID | None) -> str:
    """The id of the message that shows it. Versions are the board's, which all its rankings share: the rest says of which
    ranking it is, and whose place in it was marked."""
    return f"{shown.version}-{_place(shown.view, limit, me)}"


def _place(view: View, limit: int, me: UUID | None) -> str:
    return f"{zlib.crc32(f'{_log_key(view, limit)} {me}'.encode()):08x}"


def _log_key(view: View, limit: int) -> str:
    board: BoardId = view.set.board
    return f"{board.prefix}shown/{limit}/{view.set.name}"


async def _until(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
