"""`/v1/me/leaderboards`: rankings for customers, who see each other as the program says, and themselves marked."""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from uuid import UUID

from litestar import Router, get, post
from litestar.params import JSONBody

from rewards.domain.commands import MemberRef
from rewards.domain.errors import MemberErased
from rewards.domain.program.board import Shown
from rewards.features.leaderboards.controller import LocaleQuery, among, around, reader, standing
from rewards.features.leaderboards.moderation import MY_OPT_OUT
from rewards.features.leaderboards.naming import names_of
from rewards.features.leaderboards.reading import CURRENT, Excerpt, View
from rewards.features.leaderboards.schemas import (
    ENTRIES_DEFAULT,
    RADIUS_DEFAULT,
    AmongIn,
    BoardKey,
    BoardsOut,
    LimitQuery,
    MyRankingOut,
    OffsetQuery,
    PartQuery,
    PeriodQuery,
    RadiusQuery,
    StandingOut,
    board_out,
    my_ranking_out,
)
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.parameters import me
from rewards.http.problems import Forbidden
from rewards.pipeline.lookup import UnknownMember, find_wallet


@get("/leaderboards", operation_id="list_my_leaderboards", responses=also(409, 410))
async def list_my_leaderboards(request: ApiRequest, *, locale: LocaleQuery = None) -> BoardsOut:
    """The leaderboards of the program, each with its current period, in the language asked for, else in the member's."""
    published, boards = await reader(request.app.state).list(request.auth.program_id)
    fallback = published.program.locale
    locale = locale or await _my_locale(request)
    return BoardsOut([board_out(board, period, locale=locale, fallback=fallback) for board, period in boards])


@get("/leaderboards/{board:str}", operation_id="get_my_leaderboard", responses=also(409, 410, 422))
async def get_my_leaderboard(
    request: ApiRequest,
    board: BoardKey,
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
    limit: LimitQuery = ENTRIES_DEFAULT,
    offset: OffsetQuery = 0,
) -> MyRankingOut:
    """The top of a leaderboard, or a page further down. Of a board in parts, the member's own where none is asked for."""
    boards = reader(request.app.state)
    view = await _my_part(request, await boards.view(request.auth.program_id, board, period, part))
    view, excerpt = await boards.read(view, lambda view: boards.page(view, offset, limit))
    return await told(request, view, excerpt)


@get("/leaderboards/{board:str}/around", operation_id="get_my_leaderboard_around", responses=also(409, 410, 422))
async def get_my_leaderboard_around(
    request: ApiRequest,
    board: BoardKey,
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
    radius: RadiusQuery = RADIUS_DEFAULT,
) -> MyRankingOut:
    """The member of the token with its neighbours."""
    boards = reader(request.app.state)
    view = await boards.view(request.auth.program_id, board, period, part)
    view, excerpt = await around(boards, view, me(request), radius)
    return await told(request, view, excerpt)


@get("/leaderboards/{board:str}/members/me", operation_id="get_my_leaderboard_standing", responses=also(409, 410, 422))
async def get_my_leaderboard_standing(
    request: ApiRequest, board: BoardKey, *, period: PeriodQuery = CURRENT, part: PartQuery = ""
) -> StandingOut:
    """The rank, score and percentile of the token's member, and how far the next better rank is."""
    boards = reader(request.app.state)
    view = await boards.view(request.auth.program_id, board, period, part)
    return await standing(boards, view, me(request))


@post(
    "/leaderboards/{board:str}/among",
    operation_id="get_my_leaderboard_among",
    status_code=200,
    responses=also(409, 410),
)
async def get_my_leaderboard_among(
    request: ApiRequest,
    board: BoardKey,
    data: JSONBody[AmongIn],
    *,
    period: PeriodQuery = CURRENT,
    part: PartQuery = "",
) -> MyRankingOut:
    """Friends by the ids that the app calls them, and the member itself: only where the program shows these ids.

    Anywhere else asking for a member by its id would tell whose pseudonym is whose: the app's server may ask.
    """
    boards = reader(request.app.state)
    view = await boards.view(request.auth.program_id, board, period, part)
    if view.board.names.shown is not Shown.EXTERNAL_ID:
        raise Forbidden("This leaderboard does not show who is who.", required="a leaderboard that shows external ids")
    view = await _my_part(request, view)
    refs = [me(request), *(MemberRef.parse(each) for each in data.members)]
    # Who of the friends was merged into whom is not told to customers.
    view, excerpt = await among(boards, view, refs, followed=[me(request)])
    return await told(request, view, excerpt)


async def told(request: ApiRequest, view: View, excerpt: Excerpt) -> MyRankingOut:
    """The excerpt as the member of the token sees it."""
    published = view.published
    refs = {each.member: each.ref for each in excerpt.ranked}
    names = await names_of(request.app.state.engine, published.identity, published.program_id, view.board, refs)
    return my_ranking_out(view, excerpt, names, await _my_id(request, view, refs))


async def _my_part(request: ApiRequest, view: View) -> View:
    """Of a board in parts the one that the member is in; as it was asked for where one was, or where it is in none."""
    if view.board.attribute is None or view.part:
        return view
    with suppress(UnknownMember):
        view, _ = await reader(request.app.state).resolve(view, me(request))
    return view


async def _my_locale(request: ApiRequest) -> str | None:
    """None for the program's."""
    state = request.app.state
    try:
        wallet = await find_wallet(state.engine, state.programs, request.auth.program_id, me(request))
    except UnknownMember:
        return None
    return wallet.found.state.locale


async def _my_id(request: ApiRequest, view: View, shown: Container[UUID]) -> UUID:
    """Whom to mark as the member of the token; one that is not shown may have become somebody who is."""
    plain = view.published.identity.member(me(request))
    if plain in shown:
        return plain
    try:
        _, became = await reader(request.app.state).resolve(view, me(request))
    except (UnknownMember, MemberErased):
        return plain  # and is nobody of these
    return became


def my_leaderboards_router() -> Router:
    """Needs `board_reader`, `engine`, `api_keys` and `member_tokens` in the application's state."""
    handlers = [
        list_my_leaderboards,
        get_my_leaderboard,
        get_my_leaderboard_around,
        get_my_leaderboard_standing,
        get_my_leaderboard_among,
        *MY_OPT_OUT,
    ]
    return Router("/v1/me", route_handlers=handlers, guards=[requires("me")], tags=["leaderboards"])
