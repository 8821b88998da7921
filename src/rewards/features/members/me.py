"""`/v1/me`: what a customer's browser or app is told of the member of its token, and may change."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get, patch
from litestar.params import JSONBody

from rewards.features.members.schemas import Buckets, MeOut, MyProfileIn, MyProfileOut
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import TAKES_KEY, idempotency_key, replay_headers
from rewards.http.openapi import also
from rewards.http.parameters import me
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.lookup import find_as_of_now, projected


@get("/", operation_id="get_me", responses=also(404, 409, 410))
async def get_me(request: ApiRequest) -> MeOut:
    """The member's profile and balances as of now, as `get_member` tells them."""
    state = request.app.state
    wallet, found = await find_as_of_now(state.engine, state.programs, request.auth.program_id, me(request))
    accounts, _ = projected(wallet)
    return MeOut(
        member=str(wallet.found.ref),
        merged_into=wallet.found.merged_into,
        attributes=found.attributes,
        locale=found.locale,
        timezone=found.timezone,
        balances={
            currency: Buckets(account.available, account.pending, account.held, account.debt)
            for currency, account in accounts.items()
        },
    )


@patch("/", operation_id="change_me", opt=TAKES_KEY, responses=also(409, 410))
async def change_me(request: ApiRequest, data: JSONBody[MyProfileIn]) -> Response[MyProfileOut]:
    """Change the member's locale or time zone."""
    intake: Intake = request.app.state.intake
    content = {"operation": "my profile", "body": data}
    command = Addressed(me(request), data.command(), idempotency_key(request), content, request.auth.actor)
    receipt = await intake.one(request.auth.program_id, command)
    answer = msgspec.convert(receipt.answer, MyProfileOut)
    return Response(answer, headers=replay_headers(replayed=receipt.replayed))


def me_router() -> Router:
    """Needs `intake`, `engine`, `programs`, `api_keys` and `member_tokens` in the application's state."""
    return Router("/v1/me", route_handlers=[get_me, change_me], guards=[requires("me")], tags=["me"])
