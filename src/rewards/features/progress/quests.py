"""`/v1/members/{member}/quests` and `/v1/me/quests`: how far a member is, and joining and leaving a quest."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, PathParameter

from rewards.domain.commands import JoinQuest, LeaveQuest, MemberRef
from rewards.domain.errors import MemberErased
from rewards.domain.ids import bucket_of
from rewards.domain.play.groups import GROUP, groups_of
from rewards.domain.state import MemberState
from rewards.features.progress.quest_views import QuestJoinedOut, QuestsOut, quests_of
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import TAKES_KEY, idempotency_key, replay_headers
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, me, member_ref, unescaped
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.lookup import UnknownMember, find_as_of_now

QuestPath: TypeAlias = FromPath[Annotated[str, PathParameter(description="The key of the quest.")]]


@get(
    "/members/{member:str}/quests", operation_id="list_quests", guards=[requires("read")], responses=also(409, 410, 422)
)
async def list_quests(request: ApiRequest, member: MemberPath) -> QuestsOut:
    """The quests of the program, each with the member's progress; secret ones once they have begun."""
    return await _quests(request, member_ref(member))


@get("/me/quests", operation_id="list_my_quests", guards=[requires("me")], responses=also(404, 409, 410))
async def list_my_quests(request: ApiRequest) -> QuestsOut:
    """The quests of the token's member, as `list_quests` tells them."""
    return await _quests(request, me(request))


@post(
    "/members/{member:str}/quests/{quest:str}/join",
    operation_id="join_quest",
    status_code=200,
    guards=[requires("events")],
    opt=TAKES_KEY,
    responses=also(404, 409, 410, 422),
)
async def join_quest(request: ApiRequest, member: MemberPath, quest: QuestPath) -> Response[QuestJoinedOut]:
    """Begin a quest for a member, who need not be known before."""
    return await _ask(request, member_ref(member), JoinQuest(unescaped(quest)))


@post(
    "/members/{member:str}/quests/{quest:str}/leave",
    operation_id="leave_quest",
    status_code=200,
    guards=[requires("events")],
    opt=TAKES_KEY,
    responses=also(404, 409, 410, 422),
)
async def leave_quest(request: ApiRequest, member: MemberPath, quest: QuestPath) -> Response[QuestJoinedOut]:
    """Give up a quest that has begun, and what was reached of it. What was paid for its steps stays."""
    return await _ask(request, member_ref(member), LeaveQuest(unescaped(quest)))


@post(
    "/me/quests/{quest:str}/join",
    operation_id="join_my_quest",
    status_code=200,
    guards=[requires("me")],
    opt=TAKES_KEY,
    responses=also(404, 409, 410, 422),
)
async def join_my_quest(request: ApiRequest, quest: QuestPath) -> Response[QuestJoinedOut]:
    """Begin a quest for the token's member. What a locked one lacks is `missing`, with null for what is secret."""
    return await _ask(request, me(request), JoinQuest(unescaped(quest), by_member=True))


@post(
    "/me/quests/{quest:str}/leave",
    operation_id="leave_my_quest",
    status_code=200,
    guards=[requires("me")],
    opt=TAKES_KEY,
    responses=also(404, 409, 410, 422),
)
async def leave_my_quest(request: ApiRequest, quest: QuestPath) -> Response[QuestJoinedOut]:
    """Give up a quest of the token's member."""
    return await _ask(request, me(request), LeaveQuest(unescaped(quest)))


async def _quests(request: ApiRequest, ref: MemberRef) -> QuestsOut:
    state = request.app.state
    wallet, member = await find_as_of_now(state.engine, state.programs, request.auth.program_id, ref)
    groups = {}
    for group in groups_of(member.play) if wallet.program.quests.for_teams else ():
        team = MemberRef(GROUP, group)
        try:
            _, found = await find_as_of_now(state.engine, state.programs, request.auth.program_id, team)
        except MemberErased:
            continue
        except UnknownMember:  # nothing was contributed yet
            identifier = (await state.intake.published(request.auth.program_id)).identity.member(team)
            groups[group] = MemberState(identifier, bucket_of(identifier), GROUP, group)
        else:
            groups[group] = found
    return quests_of(wallet, member, groups)


async def _ask(request: ApiRequest, ref: MemberRef, command: JoinQuest | LeaveQuest) -> Response[QuestJoinedOut]:
    intake: Intake = request.app.state.intake
    operation = "join quest" if isinstance(command, JoinQuest) else "leave quest"
    content = {"operation": operation, "quest": command.quest}
    addressed = Addressed(ref, command, idempotency_key(request), content, request.auth.actor)
    receipt = await intake.one(request.auth.program_id, addressed)
    answer = msgspec.convert(receipt.answer, QuestJoinedOut)
    return Response(answer, headers=replay_headers(replayed=receipt.replayed))


def quests_router() -> Router:
    """Needs `intake`, `engine`, `programs`, `api_keys` and `member_tokens` in the application's state."""
    handlers = [list_quests, list_my_quests, join_quest, leave_quest, join_my_quest, leave_my_quest]
    return Router("/v1", route_handlers=handlers, tags=["progress"])
