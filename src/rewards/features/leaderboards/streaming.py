"""Live rankings as server-sent events: `snapshot` first, then `changes`, each with an id to come back with."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeGuard
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromHeader, FromQuery, HeaderParameter, Parameter, QueryParameter

from rewards.db.transact import DatabaseUnavailable
from rewards.features.leaderboards.controller import reader
from rewards.features.leaderboards.feeds import (
    STREAMS_OF_CALLER_MAX,
    STREAMS_OF_MEMBER_MAX,
    Feed,
    Feeds,
    Shown,
    Watched,
)
from rewards.features.leaderboards.naming import names_of
from rewards.features.leaderboards.ranking import BoardUnavailable
from rewards.features.leaderboards.reading import CURRENT, BoardReader, Ranked, View
from rewards.features.leaderboards.schemas import (
    ENTRIES_DEFAULT,
    BoardKey,
    EntryOut,
    LimitQuery,
    MyEntryOut,
    PartQuery,
    PeriodQuery,
    my_entry,
    number,
    period_out,
)
from rewards.features.leaderboards.tickets import TICKET_SECONDS, RequiresStream, Tickets
from rewards.http.auth import ApiRequest, requires
from rewards.http.event_stream import HEARTBEAT, MEDIA_TYPE, EventStream, message
from rewards.http.openapi import also
from rewards.http.parameters import me
from rewards.http.token_watch import HeldToken, TokenWatch
from rewards.pipeline.lookup import UnknownMember

HEARTBEAT_SECONDS: Final = 15.0
MEMBER_STREAM_SECONDS_MAX: Final = 900.0
"""Then a customer's stream ends, and the browser comes back with a credential that still counts."""

LastEventId = FromHeader[
    Annotated[
        str | None,
        HeaderParameter(name="Last-Event-ID", max_length=200, description="The id of the last message that was seen."),
    ]
]
LastEventQuery = FromQuery[
    Annotated[
        str | None,
        QueryParameter(
            name="last_event_id",
            max_length=200,
            description="As the header `Last-Event-ID`, for whoever can send none.",
        ),
    ]
]
TicketQuery = FromQuery[
    Annotated[str | None, Parameter(max_length=200, description="In the place of a token; see `make_stream_ticket`.")]
]


class TicketOut(msgspec.Struct, frozen=True):
    """Opens one stream with `?ticket=…`, within so many seconds."""

    ticket: str
    expires_in_seconds: int


@dataclass(frozen=True, slots=True)
class Audience:
    """Who watches: the app's server, or a member, who sees others as the program says and is told its own place."""

    state: State
    me: UUID | None = None
    token: HeldToken | None = None
    """The member's, with which its stream ends."""

    async def entries(self, view: View, ranked: Sequence[Ranked]) -> list[EntryOut | MyEntryOut]:
        published = view.published
        refs = {each.member: each.ref for each in ranked}
        names = await names_of(self.state.engine, published.identity, published.program_id, view.board, refs)
        return [self._entry(each, names) for each in ranked]

    def _entry(self, ranked: Ranked, names: Mapping[UUID, str]) -> EntryOut | MyEntryOut:
        if self.me is None:
            return EntryOut(ranked.rank, number(ranked.score), ranked.ref, names[ranked.member])
        return my_entry(ranked, names[ranked.member], self.me)

    async def about_me(self, view: View) -> dict[str, Any]:
        """What a member is told beside the entries."""
        if self.me is None:
            return {}
        boards, sought = reader(self.state), [self.me]
        _, places = await boards.read(view, lambda view: boards.places(view, sought))
        place = places.placed[0].ranked if places.placed else None
        return {"me": None if place is None else {"rank": place.rank, "score": number(place.score)}}


@get(
    "/leaderboards/{board:str}/stream", operation_id="stream_leaderboard", media_type=MEDIA_TYPE,
    guards=[requires("read")], responses=also(409, 422),
)  # fmt: skip
async def stream_leaderboard(
    request: ApiRequest,
    board: BoardKey,
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
    limit: LimitQuery = ENTRIES_DEFAULT,
    last_event_id: LastEventId = None,
) -> Response[None]:
    """The top of a leaderboard, live.

    `snapshot` holds what `get_leaderboard` answers. `changes` holds those entries that differ, each with its `position`
    from 1, and how many positions there are (`length`). Coming back with the id of the last message, one is told what
    has changed since; where that is not known any more, a snapshot follows.
    """
    watched = Watched(request.auth.program_id, board, period, part, limit)
    return await _stream(request.app.state, Audience(request.app.state), watched, last_event_id, request.auth.actor)


@get(
    "/me/leaderboards/{board:str}/stream", operation_id="stream_my_leaderboard", media_type=MEDIA_TYPE,
    guards=[RequiresStream()], responses=also(409, 410, 422),
)  # fmt: skip
async def stream_my_leaderboard(
    request: ApiRequest,
    board: BoardKey,
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
    limit: LimitQuery = ENTRIES_DEFAULT,
    last_event_id: LastEventId = None,
    last_seen: LastEventQuery = None,
    ticket: TicketQuery = None,  # noqa: ARG001 - the guard has taken it
) -> Response[None]:
    """As `stream_leaderboard`, for customers; every message also has the member's own rank and score as `me`.

    A page that opens another `EventSource` has a ticket but no header: it says in the address what it has seen. The header
    counts more, for a browser that comes back by itself sends what it has seen since.

    The stream ends within seconds when its token is revoked, and after a quarter of an hour: then open another.
    """
    state = request.app.state
    boards: BoardReader = reader(state)
    view = await boards.view(request.auth.program_id, board, period, part)
    ref = me(request)
    member = view.published.identity.member(ref)
    token = HeldToken.of(request.auth, member)
    with suppress(UnknownMember):  # whoever has done nothing yet may watch too
        view, member = await boards.resolve(view, ref)
    watched = Watched(request.auth.program_id, board, period, view.part, limit)
    return await _stream(state, Audience(state, member, token), watched, last_event_id or last_seen, f"member:{member}")


@post("/me/stream-tickets", operation_id="make_stream_ticket", guards=[requires("me")], status_code=201)
async def make_stream_ticket(request: ApiRequest) -> TicketOut:
    """A ticket for a stream, good once: an `EventSource` cannot send the token in a header."""
    tickets: Tickets = request.app.state.stream_tickets
    return TicketOut(await tickets.make(request.auth), TICKET_SECONDS)


async def _stream(
    state: State, audience: Audience, watched: Watched, last_event_id: str | None, caller: str
) -> Response[None]:
    """Whatever can be refused is refused before the stream begins."""
    feeds: Feeds = state.board_feeds
    tokens: TokenWatch = state.token_watch
    with ExitStack() as entered:
        limit = STREAMS_OF_CALLER_MAX if audience.me is None else STREAMS_OF_MEMBER_MAX
        entered.callback(feeds.enter(caller, limit))
        feed, news = await feeds.watch(watched)
        entered.callback(feeds.unwatch, feed, news)
        now = feed.latest
        own = await audience.about_me(now.view)
        before = await feeds.shown(now, watched.limit, int(last_event_id)) if _is_version(last_event_id) else None
        endings = [state.ending]
        if audience.token is not None:
            watching = tokens.enter(audience.token)
            entered.callback(tokens.leave, watching)
            endings.append(watching.revoked)
        messages = _messages(feed, news, audience, now, own, before)
        return EventStream(messages, endings=endings, left=entered.pop_all().close)


async def _messages(
    feed: Feed,
    news: asyncio.Event,
    audience: Audience,
    now: Shown,
    own: Mapping[str, Any],
    before: Sequence[Ranked] | None,
) -> AsyncGenerator[bytes, None]:
    """First of `now`, to those who have seen what was `before` only what differs; then of whatever comes."""
    own_of = now.view.set, now.seen  # of a period that has just begun there may be nothing newer to see
    if before is None:
        yield await _snapshot(audience, now, own)
    else:
        # Even where none of it differs: it may have been old then, or be so now.
        yield await _changes(audience, before, now, own)
    clock = asyncio.get_running_loop().time
    until = clock() + MEMBER_STREAM_SECONDS_MAX if audience.me is not None else math.inf
    silent_from = clock()
    while feed.failed is None and clock() < until:
        # The board is looked at each second, so news alone does not mean that anything was sent.
        if clock() >= silent_from + HEARTBEAT_SECONDS:
            yield HEARTBEAT
            silent_from = clock()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(silent_from + HEARTBEAT_SECONDS):
                await news.wait()
        if not news.is_set():
            continue
        news.clear()
        was, now = now, feed.latest
        was_own = own
        if (now.view.set, now.seen) != own_of:
            with suppress(BoardUnavailable, DatabaseUnavailable):  # what was told last is all that there is
                own, own_of = await audience.about_me(now.view), (now.view.set, now.seen)
        if now.view.set != was.view.set:
            yield await _snapshot(audience, now, own)
        elif not now.same(was) or own != was_own or now.stale != was.stale:
            yield await _changes(audience, was.ranked, now, own)
        else:
            continue
        silent_from = clock()


async def _snapshot(audience: Audience, now: Shown, own: Mapping[str, Any]) -> bytes:
    view = now.view
    told = {
        "leaderboard": view.board.key,
        "period": period_out(view.board, view.period, final=view.final),
        "part": view.part,
        **_moment(now),
        "entries": await audience.entries(view, now.ranked),
        **own,
    }
    return message("snapshot", msgspec.json.encode(told), id=str(now.version))


async def _changes(audience: Audience, was: Sequence[Ranked], now: Shown, own: Mapping[str, Any]) -> bytes:
    differing = [
        (position, each)
        for position, each in enumerate(now.ranked, start=1)
        if position > len(was) or was[position - 1] != each
    ]
    entries = await audience.entries(now.view, [each for _, each in differing])
    told = {
        **_moment(now),
        "length": len(now.ranked),
        "entries": [
            {"position": position, **msgspec.structs.asdict(entry)}
            for (position, _), entry in zip(differing, entries, strict=True)
        ],
        **own,
    }
    return message("changes", msgspec.json.encode(told), id=str(now.version))


def _moment(now: Shown) -> dict[str, Any]:
    return {"as_of": now.as_of, "stale": now.stale, "total": now.total}


def _is_version(text: str | None) -> TypeGuard[str]:
    return text is not None and text.isascii() and text.isdigit()


def streams_router() -> Router:
    """Needs `board_reader`, `board_feeds`, `stream_tickets`, `ending` and what the guards need in the application's state."""
    handlers = [stream_leaderboard, stream_my_leaderboard, make_stream_ticket]
    return Router("/v1", route_handlers=handlers, tags=["leaderboards"])
