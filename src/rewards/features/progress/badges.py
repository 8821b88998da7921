"""`/v1/members/{member}/badges` and `/v1/me/badges`: which badges a member has, and how far the next ones are."""

from __future__ import annotations

from litestar import Router, get

from rewards.db.transact import reading
from rewards.domain.commands import MemberRef
from rewards.domain.program.badge import KIND
from rewards.features.progress.badge_views import BadgesOut, achieved_moments, badges_of
from rewards.features.progress.queries import achieved
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, me, member_ref
from rewards.pipeline.lookup import find_as_of_now


@get(
    "/members/{member:str}/badges", operation_id="list_badges", guards=[requires("read")], responses=also(409, 410, 422)
)
async def list_badges(request: ApiRequest, member: MemberPath) -> BadgesOut:
    """The badges of the program by key, each with the member's level and progress; secret ones once they are earned."""
    return await _badges(request, member_ref(member))


@get("/me/badges", operation_id="list_my_badges", guards=[requires("me")], responses=also(404, 409, 410))
async def list_my_badges(request: ApiRequest) -> BadgesOut:
    """The badges of the token's member, as `list_badges` tells them."""
    return await _badges(request, me(request))


async def _badges(request: ApiRequest, ref: MemberRef) -> BadgesOut:
    state = request.app.state
    program_id = request.auth.program_id
    wallet, member = await find_as_of_now(state.engine, state.programs, program_id, ref)
    members = dict.fromkeys((*wallet.found.ids, *wallet.found.state.absorbed))
    async with reading(state.engine) as connection:
        rows = await achieved(connection, program_id, list(members), (KIND,))
    return badges_of(wallet, member, achieved_moments(rows))


def badges_router() -> Router:
    """Needs `engine`, `programs`, `api_keys` and `member_tokens` in the application's state."""
    return Router("/v1", route_handlers=[list_badges, list_my_badges], tags=["progress"])
