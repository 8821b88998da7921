"""`/v1/members/{member}/groups/{group}`: which groups a member belongs to. They are told with the member's quests."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from litestar import Response, Router, delete, put
from litestar.params import FromPath, PathParameter
from msgspec import UNSET, Struct, UnsetType

from rewards.domain.commands import MemberRef
from rewards.domain.group_commands import JoinGroup, LeaveGroup
from rewards.domain.play.groups import group_ref
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import TAKES_KEY, idempotency_key, replay_headers
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, member_ref, unescaped
from rewards.pipeline.intake import Addressed, Intake

GroupPath: TypeAlias = FromPath[
    Annotated[str, PathParameter(description="The id of the group, with or without `group:` before it.")]
]


class GroupsOut(Struct, frozen=True, omit_defaults=True):
    """The groups that the member belongs to now; left out only with `answer_expired`."""

    groups: list[str] | UnsetType = UNSET
    answer_expired: bool = False


@put(
    "/members/{member:str}/groups/{group:str}",
    operation_id="join_group",
    status_code=200,
    guards=[requires("events")],
    opt=TAKES_KEY,
    responses=also(409, 410, 422),
)
async def join_group(request: ApiRequest, member: MemberPath, group: GroupPath) -> Response[GroupsOut]:
    """Make a member belong to a group; neither need be known before. A member belongs to at most 5."""
    ref = group_ref(unescaped(group))
    intake: Intake = request.app.state.intake
    published = await intake.published(request.auth.program_id)
    return await _ask(request, member_ref(member), ref, JoinGroup(ref.external_id, published.identity.member(ref)))


@delete(
    "/members/{member:str}/groups/{group:str}",
    operation_id="leave_group",
    status_code=200,
    guards=[requires("events")],
    opt=TAKES_KEY,
    responses=also(409, 410, 422),
)
async def leave_group(request: ApiRequest, member: MemberPath, group: GroupPath) -> Response[GroupsOut]:
    """The member belongs to the group no longer. What it contributed before still counts there."""
    ref = group_ref(unescaped(group))
    return await _ask(request, member_ref(member), ref, LeaveGroup(ref.external_id))


async def _ask(
    request: ApiRequest, member: MemberRef, group: MemberRef, command: JoinGroup | LeaveGroup
) -> Response[GroupsOut]:
    intake: Intake = request.app.state.intake
    operation = "join group" if isinstance(command, JoinGroup) else "leave group"
    content = {"operation": operation, "group": str(group)}
    addressed = Addressed(member, command, idempotency_key(request), content, request.auth.actor)
    receipt = await intake.one(request.auth.program_id, addressed)
    answer = msgspec.convert(receipt.answer, GroupsOut)
    return Response(answer, headers=replay_headers(replayed=receipt.replayed))


def groups_router() -> Router:
    """Needs `intake` and `api_keys` in the application's state."""
    return Router("/v1", route_handlers=[join_group, leave_group], tags=["progress"])
