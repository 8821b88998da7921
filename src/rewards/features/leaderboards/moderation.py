"""Who is on no leaderboard: members whom staff removed, and members who want it so. Both are audited."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from litestar import Response, delete, get, put
from litestar.params import FromPath, JSONBody, PathParameter
from msgspec import Meta, Struct

from rewards.domain.commands import Command, MemberRef, ModerateBoard, OptOut
from rewards.domain.periods import rfc3339
from rewards.domain.play.boards import opted_out
from rewards.features.leaderboards.moderation_queries import removed_members
from rewards.http.auth import ApiRequest, requires
from rewards.http.decoding import Body
from rewards.http.idempotency import TAKES_KEY, idempotency_key, replay_headers
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, me, member_ref
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.lookup import find_wallet

REASON_LENGTH_MAX: Final = 500
Answer = TypeVar("Answer", bound=Struct)
BoardPath = FromPath[Annotated[str, PathParameter(description="The leaderboard's key in the program.")]]


class RemovalIn(Body, frozen=True):
    """Why: kept with the removal and in the audit."""

    reason: Annotated[str, Meta(min_length=1, max_length=REASON_LENGTH_MAX)]


class RemovalOut(Struct, frozen=True):
    """Whether the member is off the leaderboard now. A removed member's score goes on counting unseen."""

    leaderboard: str
    removed: bool


class RemovedOut(Struct, frozen=True):
    """A member off a leaderboard, until it is restored."""

    member: str
    reason: str
    actor: str
    removed_at: str


class RemovedListOut(Struct, frozen=True):
    """The newest first, at most a thousand."""

    items: list[RemovedOut]


class OptOutOut(Struct, frozen=True):
    """Whether the member is left out of all leaderboards by its own wish."""

    opted_out: bool


@get(
    "/leaderboards/{board:str}/removals",
    operation_id="list_leaderboard_removals",
    guards=[requires("admin")],
    responses=also(409),
)
async def list_removals(request: ApiRequest, board: BoardPath) -> RemovedListOut:
    """The members that staff took off a leaderboard."""
    state = request.app.state
    await state.programs.get(request.auth.program_id)
    found = await removed_members(state.engine, request.auth.program_id, board)
    return RemovedListOut(
        [RemovedOut(str(each.ref), each.reason, each.actor, rfc3339(each.removed_at)) for each in found]
    )


@delete(
    "/leaderboards/{board:str}/members/{member:str}",
    operation_id="remove_from_leaderboard",
    status_code=200,
    guards=[requires("admin")],
    opt=TAKES_KEY,
    responses=also(404, 409, 410),
)
async def remove_member(
    request: ApiRequest, board: BoardPath, member: MemberPath, data: JSONBody[RemovalIn]
) -> Response[RemovalOut]:
    """Take a member off a leaderboard: at once off the current period and off results that are not frozen yet, and off later
    ones until it is restored."""
    return await _moderate(request, member_ref(member), ModerateBoard(board, data.reason))


@put(
    "/leaderboards/{board:str}/members/{member:str}",
    operation_id="restore_to_leaderboard",
    guards=[requires("admin")],
    opt=TAKES_KEY,
    responses=also(404, 409, 410, 422),
)
async def restore_member(request: ApiRequest, board: BoardPath, member: MemberPath) -> Response[RemovalOut]:
    """Put a removed member back, with all that it has scored meanwhile."""
    return await _moderate(request, member_ref(member), ModerateBoard(board))


@get(
    "/members/{member:str}/leaderboards/opt-out",
    operation_id="get_leaderboard_opt_out",
    guards=[requires("read")],
    responses=also(409, 410, 422),
)
async def get_opt_out(request: ApiRequest, member: MemberPath) -> OptOutOut:
    """Whether a member is left out of all leaderboards by its own wish."""
    return await _opt_out(request, member_ref(member))


@put(
    "/members/{member:str}/leaderboards/opt-out",
    operation_id="opt_out_of_leaderboards",
    guards=[requires("events")],
    opt=TAKES_KEY,
    responses=also(409, 410, 422),
)
async def opt_out(request: ApiRequest, member: MemberPath) -> Response[OptOutOut]:
    """Leave a member out of all leaderboards, as it wishes: no rank, no prize, and nobody sees it there."""
    return await _choose(request, member_ref(member), OptOut(out=True))


@delete(
    "/members/{member:str}/leaderboards/opt-out",
    operation_id="opt_in_to_leaderboards",
    status_code=200,
    guards=[requires("events")],
    opt=TAKES_KEY,
    responses=also(409, 410, 422),
)
async def opt_in(request: ApiRequest, member: MemberPath) -> Response[OptOutOut]:
    """Rank a member again, with all that it has scored meanwhile."""
    return await _choose(request, member_ref(member), OptOut(out=False))


@get("/leaderboards/opt-out", operation_id="get_my_leaderboard_opt_out", responses=also(404, 409, 410))
async def get_my_opt_out(request: ApiRequest) -> OptOutOut:
    """Whether the member of the token is left out of all leaderboards."""
    return await _opt_out(request, me(request))


@put("/leaderboards/opt-out", operation_id="opt_me_out_of_leaderboards", opt=TAKES_KEY, responses=also(409, 410, 422))
async def opt_me_out(request: ApiRequest) -> Response[OptOutOut]:
    """Leave the member of the token out of all leaderboards: no rank, no prize, and nobody sees it there."""
    return await _choose(request, me(request), OptOut(out=True))


@delete(
    "/leaderboards/opt-out",
    operation_id="opt_me_in_to_leaderboards",
    status_code=200,
    opt=TAKES_KEY,
    responses=also(409, 410, 422),
)
async def opt_me_in(request: ApiRequest) -> Response[OptOutOut]:
    """Rank the member of the token again, with all that it has scored meanwhile."""
    return await _choose(request, me(request), OptOut(out=False))


async def _moderate(request: ApiRequest, ref: MemberRef, command: ModerateBoard) -> Response[RemovalOut]:
    content: dict[str, object] = {
        "operation": "leaderboard moderation",
        "leaderboard": command.board,
        "reason": command.reason,
    }
    return await _send(request, ref, command, content, RemovalOut)


async def _choose(request: ApiRequest, ref: MemberRef, command: OptOut) -> Response[OptOutOut]:
    return await _send(request, ref, command, {"operation": "leaderboard opt-out", "out": command.out}, OptOutOut)


async def _send(
    request: ApiRequest, ref: MemberRef, command: Command, content: dict[str, object], answer: type[Answer]
) -> Response[Answer]:
    intake: Intake = request.app.state.intake
    addressed = Addressed(ref, command, idempotency_key(request), content, request.auth.actor)
    receipt = await intake.one(request.auth.program_id, addressed)
    return Response(msgspec.convert(receipt.answer, answer), headers=replay_headers(replayed=receipt.replayed))


async def _opt_out(request: ApiRequest, ref: MemberRef) -> OptOutOut:
    state = request.app.state
    wallet = await find_wallet(state.engine, state.programs, request.auth.program_id, ref)
    return OptOutOut(opted_out(wallet.found.state.play))


MODERATION: Final = (list_removals, remove_member, restore_member, get_opt_out, opt_out, opt_in)
"""For the router of `/v1`, which has other handlers at the same addresses."""
MY_OPT_OUT: Final = (get_my_opt_out, opt_me_out, opt_me_in)
"""For the router of `/v1/me`, whose guard lets nobody in without a token."""
