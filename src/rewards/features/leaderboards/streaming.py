"""Live rankings as server-sent events: `snapshot` first, then `changes`, each with an id to come back with."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromHeader, FromQuery, HeaderParameter, Parameter, QueryParameter

from rewards.features.leaderboards.controller import reader
from rewards.features.leaderboards.feeds import STREAMS_OF_CALLER_MAX, STREAMS_OF_MEMBER_MAX, Feeds, Watched
from rewards.features.leaderboards.reading import CURRENT
from rewards.features.leaderboards.schemas import ENTRIES_DEFAULT, BoardKey, LimitQuery, PartQuery, PeriodQuery
from rewards.features.leaderboards.tickets import TICKET_SECONDS, RequiresStream, Tickets
from rewards.features.leaderboards.watching import Following, Stream
from rewards.http.auth import ApiRequest, requires
from rewards.http.event_stream import MEDIA_TYPE, EventStream
from rewards.http.openapi import also
from rewards.http.parameters import me
from rewards.http.token_watch import HeldToken, TokenWatch

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
    return await _stream(request, Watched(request.auth.program_id, board, period, part, limit), last_event_id)


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

    Of a leaderboard in parts, it is the member's own where none is asked for: within seconds after the member has moved to another
    part, as by an attribute, a `snapshot` of that follows. One follows as well when the member was merged into another.

    A page that opens another `EventSource` has a ticket but no header: it says in the address what it has seen. The header
    counts more, for a browser that comes back by itself sends what it has seen since.

    The stream ends within seconds when its token is revoked, and after a quarter of an hour: then open another.
    """
    state, ref = request.app.state, me(request)
    boards = reader(state)
    asked = Watched(request.auth.program_id, board, period, part, limit)
    named = (await boards.published(asked.program_id)).published.identity.member(ref)
    following = Following(boards, state.whereabouts, ref, asked, named)
    return await _stream(request, asked, last_event_id or last_seen, following)


@post("/me/stream-tickets", operation_id="make_stream_ticket", guards=[requires("me")], status_code=201)
async def make_stream_ticket(request: ApiRequest) -> TicketOut:
    """A ticket for a stream, good once: an `EventSource` cannot send the token in a header."""
    tickets: Tickets = request.app.state.stream_tickets
    return TicketOut(await tickets.make(request.auth), TICKET_SECONDS)


async def _stream(
    request: ApiRequest, asked: Watched, last_event_id: str | None, following: Following | None = None
) -> Response[None]:
    """Whatever can be refused is refused before the stream begins."""
    state = request.app.state
    feeds: Feeds = state.board_feeds
    tokens: TokenWatch = state.token_watch
    watched, news = asked, asyncio.Event()
    caller, limit = request.auth.actor, STREAMS_OF_CALLER_MAX
    endings = [state.ending]
    with ExitStack() as entered:
        if following is not None:
            entered.callback(following.end)
            watched, news = await following.look(), following.follower.news
            caller, limit = f"member:{following.member}", STREAMS_OF_MEMBER_MAX
            held = tokens.enter(HeldToken.of(request.auth, following.named))
            entered.callback(tokens.leave, held)
            endings.append(held.revoked)
        entered.callback(feeds.enter(caller, limit))
        watcher = await feeds.watch(watched, news)
        entered.callback(feeds.unwatch, watcher)
        stream = Stream(state.engine, reader(state), feeds, watcher, following)
        told = await stream.first()
        before = await feeds.shown(told.shown, watched, told.me, last_event_id) if last_event_id is not None else None
        return EventStream(stream.messages(told, before), endings=endings, left=entered.pop_all().close)


def streams_router() -> Router:
    """Needs `board_reader`, `board_feeds`, `whereabouts`, `stream_tickets`, `token_watch`, `ending`, and what the guards need."""
    handlers = [stream_leaderboard, stream_my_leaderboard, make_stream_ticket]
    return Router("/v1", route_handlers=handlers, tags=["leaderboards"])
