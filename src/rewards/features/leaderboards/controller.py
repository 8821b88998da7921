"""`/v1/leaderboards`: rankings for the app's servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from litestar import Router, get, post
from litestar.datastructures import State
from litestar.params import FromQuery, JSONBody, Parameter

from rewards.domain.commands import MemberRef
from rewards.features.leaderboards.moderation import MODERATION
from rewards.features.leaderboards.naming import names_of
from rewards.features.leaderboards.reading import CURRENT, BoardReader, Excerpt, View
from rewards.features.leaderboards.schemas import (
    ENTRIES_DEFAULT,
    RADIUS_DEFAULT,
    AmongIn,
    BoardKey,
    BoardsOut,
    LimitQuery,
    OffsetQuery,
    PartQuery,
    PeriodQuery,
    RadiusQuery,
    RankingOut,
    StandingOut,
    board_out,
    ranking_out,
    standing_out,
)
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, member_ref

LocaleQuery = FromQuery[
    Annotated[str | None, Parameter(max_length=35, description="A BCP 47 tag; without it, the program's locale.")]
]


def reader(state: State) -> BoardReader:
    found: BoardReader = state.board_reader
    return found


@get("/leaderboards", operation_id="list_leaderboards", guards=[requires("read")], responses=also(409))
async def list_leaderboards(request: ApiRequest, *, locale: LocaleQuery = None) -> BoardsOut:
    """The leaderboards of the program, each with its current period."""
    published, boards = await reader(request.app.state).list(request.auth.program_id)
    fallback = published.program.locale
    return BoardsOut([board_out(board, period, locale=locale, fallback=fallback) for board, period in boards])


@get("/leaderboards/{board:str}", operation_id="get_leaderboard", guards=[requires("read")], responses=also(409, 422))
async def get_leaderboard(
    request: ApiRequest,
    board: BoardKey,
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
    limit: LimitQuery = ENTRIES_DEFAULT,
    offset: OffsetQuery = 0,
) -> RankingOut:
    """The top of a leaderboard, or a page further down. A closed period is answered from its frozen result."""
    boards = reader(request.app.state)
    view = await boards.view(request.auth.program_id, board, period, part)
    view, excerpt = await boards.read(view, lambda view: boards.page(view, offset, limit))
    return await _told(request.app.state, view, excerpt)


@get(
    "/leaderboards/{board:str}/around/{member:str}",
    operation_id="get_leaderboard_around",
    guards=[requires("read")],
    responses=also(409, 410, 422),
)
async def get_leaderboard_around(
    request: ApiRequest,
    board: BoardKey,
    member: MemberPath,
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
    radius: RadiusQuery = RADIUS_DEFAULT,
) -> RankingOut:
    """A member with its neighbours. Without a score there, or off the board, the member has none."""
    boards = reader(request.app.state)
    view = await boards.view(request.auth.program_id, board, period, part)
    view, excerpt = await around(boards, view, member_ref(member), radius)
    return await _told(request.app.state, view, excerpt)


@get(
    "/leaderboards/{board:str}/members/{member:str}",
    operation_id="get_leaderboard_member",
    guards=[requires("read")],
    responses=also(409, 410, 422),
)
async def get_leaderboard_member(
    request: ApiRequest, board: BoardKey, member: MemberPath, *, period: PeriodQuery = CURRENT, part: PartQuery = ""
) -> StandingOut:
    """A member's rank, score and percentile, and how far the next better rank is. Of a board in parts, in its own part."""
    boards = reader(request.app.state)
    view = await boards.view(request.auth.program_id, board, period, part)
    return await standing(boards, view, member_ref(member))


@post(
    "/leaderboards/{board:str}/among",
    operation_id="get_leaderboard_among",
    guards=[requires("read")],
    status_code=200,
    responses=also(409),
)
async def get_leaderboard_among(
    request: ApiRequest,
    board: BoardKey,
    data: JSONBody[AmongIn],
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
) -> RankingOut:
    """Those of some members (friends, a team) who are ranked, in the order of the ranking, with their ranks in all of it.

    Who was merged into another member appears as that one.
    """
    boards = reader(request.app.state)
    view = await boards.view(request.auth.program_id, board, period, part)
    refs = [MemberRef.parse(each) for each in data.members]
    view, excerpt = await among(boards, view, refs, followed=refs)
    return await _told(request.app.state, view, excerpt)


async def around(boards: BoardReader, view: View, ref: MemberRef, radius: int) -> tuple[View, Excerpt]:
    """As its id says; who is not found so was merged, is of another part, or is not there at all."""
    member = boards.quick(view, ref)
    if member is not None:
        sought = member
        view, excerpt = await boards.read(view, lambda view: boards.around(view, sought, radius))
        if excerpt.ranked:
            return view, excerpt
    view, resolved = await boards.resolve(view, ref)
    return await boards.read(view, lambda view: boards.around(view, resolved, radius))


async def standing(boards: BoardReader, view: View, ref: MemberRef) -> StandingOut:
    """The member's place, found as in `around`."""
    member = boards.quick(view, ref)
    if member is not None:
        sought = [member]
        view, places = await boards.read(view, lambda view: boards.places(view, sought))
        if places.placed:
            return standing_out(view, places)
    view, resolved = await boards.resolve(view, ref)
    view, places = await boards.read(view, lambda view: boards.places(view, [resolved]))
    return standing_out(view, places)


async def among(
    boards: BoardReader, view: View, refs: Sequence[MemberRef], *, followed: Sequence[MemberRef]
) -> tuple[View, Excerpt]:
    """The places of members as an excerpt; of those `followed` that are not there, of whom they were merged into."""
    member = view.published.identity.member
    members = list(dict.fromkeys(map(member, refs)))
    view, places = await boards.read(view, lambda view: boards.places(view, members))
    there = {each.ranked.member for each in places.placed}
    became = await boards.became(view, [each for each in dict.fromkeys(map(member, followed)) if each not in there])
    if not there.issuperset(became):
        members = list(dict.fromkeys([*members, *became]))
        view, places = await boards.read(view, lambda view: boards.places(view, members))
    ranked = [each.ranked for each in places.placed]
    return view, Excerpt(places.as_of, places.stale, places.total, ranked)


async def _told(state: State, view: View, excerpt: Excerpt) -> RankingOut:
    refs = {each.member: each.ref for each in excerpt.ranked}
    names = await names_of(state.engine, view.published.identity, view.published.program_id, view.board, refs)
    return ranking_out(view, excerpt, names)


def leaderboards_router() -> Router:
    """Needs `board_reader`, `engine` and `api_keys` in the application's state."""
    handlers = [
        list_leaderboards,
        get_leaderboard,
        get_leaderboard_around,
        get_leaderboard_member,
        get_leaderboard_among,
        *MODERATION,
    ]
    return Router("/v1", route_handlers=handlers, tags=["leaderboards"])
