"""`/v1/members/{member}`: who a member is, and changing the profile."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get, patch
from litestar.params import JSONBody

from rewards.db.transact import reading
from rewards.features.members.queries import created_at
from rewards.features.members.schemas import Buckets, MemberOut, ProfileIn, ProfileOut
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import TAKES_KEY, idempotency_key, replay_headers
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, member_ref
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.lookup import find_as_of_now, projected


@get("/members/{member:str}", operation_id="get_member", guards=[requires("read")], responses=also(409, 410, 422))
async def get_member(request: ApiRequest, member: MemberPath) -> MemberOut:
    """A member with attributes, segments and balances as of now.

    What has come due counts, done or not, but for the points that rules give: they are there once they are posted.
    """
    state = request.app.state
    program_id = request.auth.program_id
    wallet, found = await find_as_of_now(state.engine, state.programs, program_id, member_ref(member))
    async with reading(state.engine) as connection:
        since = await created_at(connection, program_id, found.id)
    accounts, _ = projected(wallet)
    return MemberOut(
        member=str(wallet.found.ref),
        kind=found.kind,
        merged_into=wallet.found.merged_into,
        attributes=found.attributes,
        locale=found.locale,
        timezone=found.timezone,
        segments=list(found.segments),
        balances={
            currency: Buckets(account.available, account.pending, account.held, account.debt)
            for currency, account in accounts.items()
        },
        created_at=since,
    )


@patch(
    "/members/{member:str}",
    operation_id="change_member",
    guards=[requires("events")],
    opt=TAKES_KEY,
    responses=also(409, 410),
)
async def change_member(request: ApiRequest, member: MemberPath, data: JSONBody[ProfileIn]) -> Response[ProfileOut]:
    """Change declared attributes, the locale or the time zone of a member, who need not be known before."""
    intake: Intake = request.app.state.intake
    content = {"operation": "profile", "body": data}
    command = Addressed(member_ref(member), data.command(), idempotency_key(request), content, request.auth.actor)
    receipt = await intake.one(request.auth.program_id, command)
    answer = msgspec.convert(receipt.answer, ProfileOut)
    return Response(answer, headers=replay_headers(replayed=receipt.replayed))


def members_router() -> Router:
    """Needs `intake`, `engine`, `programs` and `api_keys` in the application's state."""
    return Router("/v1", route_handlers=[get_member, change_member], tags=["members"])
