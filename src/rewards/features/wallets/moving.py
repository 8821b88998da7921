"""Moving points: earn, spend, hold, capture, release and reverse. Every one needs an `Idempotency-Key`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, Router, post
from litestar.params import FromPath, JSONBody

from rewards.db.transact import reading
from rewards.domain.commands import (
    Capture,
    Command,
    Earn,
    MemberRef,
    PlaceHold,
    Release,
    Reverse,
    ReverseReference,
    Spend,
)
from rewards.domain.errors import InvalidInput
from rewards.domain.program.currency import (
    Clawback,
)
from rewards.domain.program.durations import parse_duration
from rewards.features.wallets.queries import HOLD_OWNER, TRANSACTION_OWNER, owner_of
from rewards.features.wallets.schemas import (
    CaptureIn,
    EarnIn,
    HoldIn,
    MoveOut,
    ReleaseIn,
    ReverseIn,
    ReverseReferenceIn,
    SpendIn,
    content_of,
)
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import NEEDS_KEY, replay_headers, require_idempotency_key
from rewards.http.openapi import also
from rewards.http.parameters import MemberPath, member_ref
from rewards.http.problems import NotFound
from rewards.pipeline.intake import Addressed, Intake

_REFUSALS: Final = also(402, 409, 410)
_ALL_CAPTURED: Final = CaptureIn()
_ALL_RELEASED: Final = ReleaseIn()
_ALL_REVERSED: Final = ReverseIn()


@post("/members/{member:str}/earn", operation_id="earn", status_code=200, responses=_REFUSALS)
async def earn(request: ApiRequest, member: MemberPath, data: JSONBody[EarnIn]) -> Response[MoveOut]:
    """Issue points to a member, who need not be known before."""
    hold = None if data.hold is None else _length(data.hold, "hold")
    command = Earn(data.currency, data.amount, data.cause(request.auth.actor), hold, expires_at=data.expires_at)
    return await _move(request, member_ref(member), command, content_of("earn", data))


@post("/members/{member:str}/spend", operation_id="spend", status_code=200, responses=_REFUSALS)
async def spend(request: ApiRequest, member: MemberPath, data: JSONBody[SpendIn]) -> Response[MoveOut]:
    """Spend available points, those that expire first before the others."""
    command = Spend(data.currency, data.amount, data.cause(request.auth.actor))
    return await _move(request, member_ref(member), command, content_of("spend", data))


@post("/members/{member:str}/holds", operation_id="place_hold", status_code=200, responses=_REFUSALS)
async def place_hold(request: ApiRequest, member: MemberPath, data: JSONBody[HoldIn]) -> Response[MoveOut]:
    """Reserve available points; what is neither captured nor released in time goes back by itself."""
    if data.expires_at is not None and data.expires_in is None:
        command = PlaceHold(data.currency, data.amount, data.expires_at, data.cause(request.auth.actor))
    elif data.expires_in is not None and data.expires_at is None:
        command = PlaceHold(
            data.currency, data.amount, _length(data.expires_in, "expires_in"), data.cause(request.auth.actor)
        )
    else:
        raise InvalidInput(
            "A hold ends after a time or at a moment.", path="expires_in", expected="one of expires_in and expires_at"
        )
    return await _move(request, member_ref(member), command, content_of("hold", data))


@post("/members/{member:str}/reverse", operation_id="reverse_reference", status_code=200, responses=_REFUSALS)
async def reverse_reference(
    request: ApiRequest, member: MemberPath, data: JSONBody[ReverseReferenceIn]
) -> Response[MoveOut]:
    """Take back what is left of every transaction of the member that carries the reference.

    One that paid for freezes of a streak which are used stays as it is, as does one of a currency that the program has no
    more; both are told as `not_reversed` among the effects. What a member spent or was issued who was merged into this one
    counts as this one's.
    """
    command = ReverseReference(data.reference, _policy(data.policy), data.cause(request.auth.actor))
    return await _move(request, member_ref(member), command, content_of("reverse_reference", data))


@post("/holds/{hold:uuid}/capture", operation_id="capture_hold", status_code=200, responses=_REFUSALS)
async def capture(
    request: ApiRequest, hold: FromPath[UUID], data: JSONBody[CaptureIn] = _ALL_CAPTURED
) -> Response[MoveOut]:
    """Spend what a hold reserves, wholly or in part. A hold ends when its member is merged into another (`hold-resolved`)."""
    ref = await _owner(request, HOLD_OWNER, hold, "hold")
    command = Capture(hold, data.amount, data.final, data.cause(request.auth.actor))
    return await _move(request, ref, command, content_of("capture", data, hold=hold))


@post("/holds/{hold:uuid}/release", operation_id="release_hold", status_code=200, responses=_REFUSALS)
async def release(
    request: ApiRequest, hold: FromPath[UUID], data: JSONBody[ReleaseIn] = _ALL_RELEASED
) -> Response[MoveOut]:
    """Give back what a hold reserves, wholly or in part."""
    ref = await _owner(request, HOLD_OWNER, hold, "hold")
    command = Release(hold, data.amount, data.cause(request.auth.actor))
    return await _move(request, ref, command, content_of("release", data, hold=hold))


@post(
    "/transactions/{transaction:uuid}/reverse", operation_id="reverse_transaction", status_code=200, responses=_REFUSALS
)
async def reverse(
    request: ApiRequest, transaction: FromPath[UUID], data: JSONBody[ReverseIn] = _ALL_REVERSED
) -> Response[MoveOut]:
    """Take a transaction back, wholly or in part: points earned are clawed back, points spent are given back.

    What paid for freezes of a streak is taken back with them, as a whole, and not once they are used (`not-reversible`).
    """
    ref = await _owner(request, TRANSACTION_OWNER, transaction, "transaction")
    command = Reverse(transaction, data.amount, _policy(data.policy), data.cause(request.auth.actor))
    return await _move(request, ref, command, content_of("reverse", data, transaction=transaction))


async def _move(request: ApiRequest, ref: MemberRef, command: Command, content: dict[str, Any]) -> Response[MoveOut]:
    """Raises what the command is refused with, the same for every repetition."""
    intake: Intake = request.app.state.intake
    addressed = Addressed(ref, command, require_idempotency_key(request), content, request.auth.actor)
    receipt = await intake.one(request.auth.program_id, addressed)
    answer = msgspec.convert(receipt.answer, MoveOut)
    return Response(answer, headers=replay_headers(replayed=receipt.replayed))


async def _owner(request: ApiRequest, sql: str, identifier: UUID, what: str) -> MemberRef:
    """Whose hold or transaction it is: neither id names the member, but both carry the bucket."""
    require_idempotency_key(request)
    async with reading(request.app.state.engine) as connection:
        ref = await owner_of(connection, sql, request.auth.program_id, identifier)
    if ref is None:
        raise NotFound(f"The program has no such {what}.")
    return ref


def _length(length: str | int, field: str) -> timedelta:
    if isinstance(length, int):
        return timedelta(seconds=length)
    try:
        return parse_duration(length)
    except ValueError as error:
        raise InvalidInput(str(error), path=field, expected="a duration such as 90s, 10m, 72h or 7d") from None


def _policy(name: str | None) -> Clawback | None:
    return None if name is None else Clawback(name)


def moving_router() -> Router:
    """Needs `intake`, `engine` and `api_keys` in the application's state."""
    handlers = [earn, spend, place_hold, reverse_reference, capture, release, reverse]
    return Router("/v1", route_handlers=handlers, guards=[requires("ledger")], opt=NEEDS_KEY, tags=["points"])
