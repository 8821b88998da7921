"""`/v1/programs/backfills`: let new metrics count what was recorded before them, and watch it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody

from rewards.features.backfills.schemas import BackfillOut, BackfillsOut, NewBackfill, backfill_out
from rewards.features.backfills.starting import Starter
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import NEEDS_KEY, replay_headers, require_idempotency_key
from rewards.http.openapi import also
from rewards.http.problems import NotFound

_ALL_THAT_IS_NEW: Final = NewBackfill()


@post("/", status_code=202, operation_id="start_backfill", opt=NEEDS_KEY, responses=also(409))
async def start(request: ApiRequest, data: JSONBody[NewBackfill] = _ALL_THAT_IS_NEW) -> Response[BackfillOut]:
    """Fill metrics in from recorded events, for all members, beside live traffic; a worker does it.

    Badges and tiers that members have by it are given. One backfill of a program runs at a time.
    """
    key = require_idempotency_key(request)
    program_id = request.auth.program_id
    found, replayed = await _starter(request).start(program_id, data.wish(), key=key, actor=request.auth.actor)
    return Response(backfill_out(found), headers=replay_headers(replayed=replayed))


@get("/", operation_id="list_backfills")
async def list_all(request: ApiRequest) -> BackfillsOut:
    """The last hundred backfills, the newest first."""
    return BackfillsOut([backfill_out(each) for each in await _starter(request).every(request.auth.program_id)])


@get("/{backfill:uuid}", operation_id="read_backfill")
async def read(request: ApiRequest, backfill: FromPath[UUID]) -> BackfillOut:
    """How far it is, and what came of it."""
    found = await _starter(request).find(request.auth.program_id, backfill)
    if found is None:
        raise NotFound("The program has no such backfill.")
    return backfill_out(found)


@delete("/{backfill:uuid}", status_code=200, operation_id="cancel_backfill")
async def cancel(request: ApiRequest, backfill: FromPath[UUID]) -> BackfillOut:
    """End one that is running. What it has done stays done; one that has ended stays as it is."""
    found = await _starter(request).cancel(request.auth.program_id, backfill, actor=request.auth.actor)
    if found is None:
        raise NotFound("The program has no such backfill.")
    return backfill_out(found)


def _starter(request: ApiRequest) -> Starter:
    starter: Starter = request.app.state.backfills
    return starter


def backfills_router() -> Router:
    """Needs `backfills` in the application's state."""
    return Router(
        "/v1/programs/backfills",
        route_handlers=[start, list_all, read, cancel],
        guards=[requires("program")],
        tags=["programs"],
    )
