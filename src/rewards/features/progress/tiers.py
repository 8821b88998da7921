"""`/v1/members/{member}/tier` and `/v1/me/tier`: which tier a member holds, what comes next, and what it takes to keep it."""

from __future__ import annotations

from litestar import Router, get

from rewards.domain.commands import MemberRef
from rewards.features.progress.tier_views import TierStandingOut, standing_of
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, me, member_ref
from rewards.pipeline.lookup import find_as_of_now


@get(
    "/members/{member:str}/tier", operation_id="get_tier", guards=[requires("read")], responses=also(404, 409, 410, 422)
)
async def get_tier(request: ApiRequest, member: MemberPath) -> TierStandingOut:
    """The member's tier as of now, the qualification for the next one, and until when it is kept."""
    return await _standing(request, member_ref(member))


@get("/me/tier", operation_id="get_my_tier", guards=[requires("me")], responses=also(404, 409, 410))
async def get_my_tier(request: ApiRequest) -> TierStandingOut:
    """The tier of the token's member, as `get_tier` tells it."""
    return await _standing(request, me(request))


async def _standing(request: ApiRequest, ref: MemberRef) -> TierStandingOut:
    state = request.app.state
    wallet, member = await find_as_of_now(state.engine, state.programs, request.auth.program_id, ref)
    return standing_of(wallet, member)


def tiers_router() -> Router:
    """Needs `engine`, `programs`, `api_keys` and `member_tokens` in the application's state."""
    return Router("/v1", route_handlers=[get_tier, get_my_tier], tags=["progress"])
