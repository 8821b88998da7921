"""`/v1/sandbox/clock`: the test clock, for keys of a sandbox program with the scope `program`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from litestar import Response, Router, get, post
from litestar.params import JSONBody

from rewards.domain.errors import InvalidInput
from rewards.domain.program.durations import parse_duration
from rewards.features.sandbox.clock import ADVANCE_MAX
from rewards.features.sandbox.schemas import Advance, Advanced, Clock
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import TAKES_KEY, idempotency_key, replay_headers
from rewards.http.openapi import also

if TYPE_CHECKING:
    from rewards.features.sandbox.clock import SandboxClock


@get("/clock", operation_id="read_clock", responses=also(409))
async def read_clock(request: ApiRequest) -> Clock:
    """What the sandbox's clock shows."""
    clock: SandboxClock = request.app.state.sandbox_clock
    shown = await clock.read(request.auth.program_id)
    return Clock(shown.now, round(shown.offset.total_seconds()))


@post("/clock", operation_id="advance_clock", status_code=200, opt=TAKES_KEY, responses=also(409))
async def advance_clock(request: ApiRequest, data: JSONBody[Advance]) -> Response[Advanced]:
    """Move the clock on. Whatever falls due on the way happens first, in order: rules that wait, points that mature or
    expire, holds that end, segments that silence ends. Live programs refuse it.

    Repeated with its `Idempotency-Key` the clock moves once, and the answer says what it shows by now.
    """
    clock: SandboxClock = request.app.state.sandbox_clock
    key = idempotency_key(request)
    shown, moments, replayed = await clock.advance(request.auth.program_id, _length(data.advance), key=key)
    answer = Advanced(shown.now, round(shown.offset.total_seconds()), moments)
    return Response(answer, headers=replay_headers(replayed=replayed))


def _length(text: str) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError as wrong:
        raise InvalidInput(f"{wrong}.", path="advance", expected="at most 400d") from wrong
    if length > ADVANCE_MAX:
        raise InvalidInput("The clock moves on by at most 400 days.", path="advance", expected="at most 400d")
    return length


def sandbox_router() -> Router:
    """Needs `sandbox_clock` in the application's state."""
    return Router(
        "/v1/sandbox", route_handlers=[read_clock, advance_clock], guards=[requires("program")], tags=["sandbox"]
    )
