"""`/v1/members/{member}/streaks` and `/v1/me/streaks`: how a member's streaks stand, and what can be asked of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, JSONBody

from rewards.domain.commands import (
    BuyFreezes,
    Command,
    GiveFreezes,
    MemberRef,
    PauseStreak,
    RestoreStreak,
    ResumeStreak,
)
from rewards.domain.errors import InvalidInput
from rewards.domain.program.durations import EXPECTED, parse_duration
from rewards.features.progress.streak_views import (
    BuyFreezesIn,
    FreezesIn,
    PauseIn,
    RestoreIn,
    StreakChangedOut,
    StreaksOut,
    streaks_of,
)
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import NEEDS_KEY, replay_headers, require_idempotency_key
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, me, member_ref
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.lookup import find_as_of_now

Changed = Response[StreakChangedOut]
_REFUSALS: Final = also(404, 409, 410, 422)
_PRICED: Final = also(402, 404, 409, 410, 422)
_ONE_FREEZE: Final = FreezesIn()
_ONE_FREEZE_BOUGHT: Final = BuyFreezesIn()
_CHANGES: Final[dict[str, Any]] = {"status_code": 200, "opt": NEEDS_KEY}


@get(
    "/members/{member:str}/streaks",
    operation_id="list_streaks",
    guards=[requires("read")],
    responses=also(409, 410, 422),
)
async def list_streaks(request: ApiRequest, member: MemberPath) -> StreaksOut:
    """The streaks of the program, with the member's lengths, freezes and what comes next, as of now."""
    return await _streaks(request, member_ref(member))


@post(
    "/members/{member:str}/streaks/{streak:str}/freezes",
    operation_id="add_freezes",
    guards=[requires("ledger")],
    responses=_PRICED,
    **_CHANGES,
)
async def add_freezes(
    request: ApiRequest, member: MemberPath, streak: FromPath[str], data: JSONBody[FreezesIn] = _ONE_FREEZE
) -> Changed:
    """Buy freezes for a member at the price of the program, or give them away."""
    command: Command = BuyFreezes(streak, data.count)
    if data.free:
        command = GiveFreezes(streak, data.count, data.reason)
    return await _change(request, member_ref(member), command, {"operation": "freezes", "streak": streak, "body": data})


@post(
    "/members/{member:str}/streaks/{streak:str}/pause",
    operation_id="pause_streak",
    guards=[requires("events")],
    responses=_REFUSALS,
    **_CHANGES,
)
async def pause_streak(
    request: ApiRequest, member: MemberPath, streak: FromPath[str], data: JSONBody[PauseIn]
) -> Changed:
    """Let missed periods not break the streak for a while. What is done meanwhile counts all the same."""
    command = PauseStreak(streak, _length(data.length))
    return await _change(request, member_ref(member), command, {"operation": "pause", "streak": streak, "body": data})


@post(
    "/members/{member:str}/streaks/{streak:str}/resume",
    operation_id="resume_streak",
    guards=[requires("events")],
    responses=_REFUSALS,
    **_CHANGES,
)
async def resume_streak(request: ApiRequest, member: MemberPath, streak: FromPath[str]) -> Changed:
    """End the pause of a streak. The period in which it ends does not break the streak yet."""
    return await _change(request, member_ref(member), ResumeStreak(streak), {"operation": "resume", "streak": streak})


@post(
    "/members/{member:str}/streaks/{streak:str}/restore",
    operation_id="restore_streak",
    guards=[requires("admin")],
    responses=_REFUSALS,
    **_CHANGES,
)
async def restore_streak(
    request: ApiRequest, member: MemberPath, streak: FromPath[str], data: JSONBody[RestoreIn]
) -> Changed:
    """Put a broken streak back, to the length that was lost or to another one. Milestones are not rewarded by it."""
    command = RestoreStreak(streak, data.length, data.reason)
    return await _change(request, member_ref(member), command, {"operation": "restore", "streak": streak, "body": data})


@get("/streaks", operation_id="list_my_streaks", responses=also(404, 409, 410))
async def list_my_streaks(request: ApiRequest) -> StreaksOut:
    """The streaks of the token's member, as `list_streaks` tells them."""
    return await _streaks(request, me(request))


@post("/streaks/{streak:str}/freezes", operation_id="buy_my_freezes", responses=_PRICED, **_CHANGES)
async def buy_my_freezes(
    request: ApiRequest, streak: FromPath[str], data: JSONBody[BuyFreezesIn] = _ONE_FREEZE_BOUGHT
) -> Changed:
    """Buy freezes at the price of the program."""
    content = {"operation": "freezes", "streak": streak, "body": data}
    return await _change(request, me(request), BuyFreezes(streak, data.count), content)


@post("/streaks/{streak:str}/pause", operation_id="pause_my_streak", responses=_REFUSALS, **_CHANGES)
async def pause_my_streak(request: ApiRequest, streak: FromPath[str], data: JSONBody[PauseIn]) -> Changed:
    """Let missed periods not break the streak for a while."""
    content = {"operation": "pause", "streak": streak, "body": data}
    return await _change(request, me(request), PauseStreak(streak, _length(data.length)), content)


@post("/streaks/{streak:str}/resume", operation_id="resume_my_streak", responses=_REFUSALS, **_CHANGES)
async def resume_my_streak(request: ApiRequest, streak: FromPath[str]) -> Changed:
    """End the pause of a streak."""
    return await _change(request, me(request), ResumeStreak(streak), {"operation": "resume", "streak": streak})


async def _streaks(request: ApiRequest, ref: MemberRef) -> StreaksOut:
    state = request.app.state
    wallet, member = await find_as_of_now(state.engine, state.programs, request.auth.program_id, ref)
    return streaks_of(wallet, member)


async def _change(request: ApiRequest, ref: MemberRef, command: Command, content: dict[str, Any]) -> Changed:
    """Raises what the command is refused with, the same for every repetition."""
    intake: Intake = request.app.state.intake
    addressed = Addressed(ref, command, require_idempotency_key(request), content, request.auth.actor)
    receipt = await intake.one(request.auth.program_id, addressed)
    answer = msgspec.convert(receipt.answer, StreakChangedOut)
    return Response(answer, headers=replay_headers(replayed=receipt.replayed))


def _length(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(str(error), path="for", expected=EXPECTED) from None


def streaks_routers() -> tuple[Router, Router]:
    """Need `intake`, `engine`, `programs`, `api_keys` and `member_tokens` in the application's state."""
    handlers = [list_streaks, add_freezes, pause_streak, resume_streak, restore_streak]
    mine = [list_my_streaks, buy_my_freezes, pause_my_streak, resume_my_streak]
    return (
        Router("/v1", route_handlers=handlers, tags=["progress"]),
        Router("/v1/me", route_handlers=mine, guards=[requires("me")], tags=["me"]),
    )
