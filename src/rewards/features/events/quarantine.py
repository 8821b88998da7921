"""`/v1/quarantine`: events that did not fit the program, and deciding them once more when it is fixed."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, JSONBody

from rewards.db.transact import reading
from rewards.domain.commands import Event, MemberRef
from rewards.domain.errors import RewardsError
from rewards.features.events import queries
from rewards.features.events.reading import TypeQuery
from rewards.features.events.schemas import EventOut, Text
from rewards.features.events.views import QuarantineItem, quarantine_item_of
from rewards.http.auth import ApiRequest, requires
from rewards.http.decoding import Body
from rewards.http.openapi import also
from rewards.http.pagination import CURSOR_LENGTH_MAX, PAGE_ITEMS_DEFAULT, Cursors, Page, PageCursor, PageSize
from rewards.http.problems import NotFound, problem_members
from rewards.pipeline.intake import Intake, Quarantined
from rewards.pipeline.submission import Result

REPLAYS_MAX: Final = 500
_encode = msgspec.json.Encoder().encode


class ReplayIn(Body, frozen=True):
    """Which to replay: the oldest `limit`, of one type or of all, after those of the page before."""

    type: Text | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=REPLAYS_MAX)] = 100
    cursor: Annotated[str, msgspec.Meta(max_length=CURSOR_LENGTH_MAX)] | None = None


_THE_OLDEST: Final = ReplayIn()


class Replayed(msgspec.Struct, frozen=True):
    """What became of one event. `rejected` means that it still does not fit, `error` why; it stays in quarantine."""

    entry: UUID
    member: str
    result: EventOut


class ReplayOut(msgspec.Struct, frozen=True):
    """A result per event, the oldest first. `next_cursor` goes on where this ended."""

    results: list[Replayed]
    next_cursor: str | None


@get("/", operation_id="list_quarantine", guards=[requires("read")], responses=also(409))
async def list_quarantine(
    request: ApiRequest, *, kind: TypeQuery = None, limit: PageSize = PAGE_ITEMS_DEFAULT, cursor: PageCursor = None
) -> Page[QuarantineItem]:
    """Quarantined events that are not decided yet, the oldest first."""
    rows, more = await _page(request, kind, limit, cursor)
    return Page([quarantine_item_of(row) for row in rows], more)


@get("/{entry:uuid}", operation_id="get_quarantined", guards=[requires("read")])
async def get_quarantined(request: ApiRequest, entry: FromPath[UUID]) -> QuarantineItem:
    """One quarantined event, as it was sent, and what was wrong with it."""
    return quarantine_item_of(await _one(request, entry))


@post(
    "/{entry:uuid}/replay",
    operation_id="replay_quarantined",
    guards=[requires("events")],
    status_code=200,
    responses=also(409, 410, 422),
)
async def replay(request: ApiRequest, entry: FromPath[UUID]) -> Response[EventOut]:
    """Decide one quarantined event by the program of now. If it still does not fit it stays, and the answer says why.

    It takes no `Idempotency-Key`: an event that was decided is in quarantine no longer, so a repetition answers 404 (at the
    same moment `duplicate`) and decides nothing; what became of it is read with the member's events.
    """
    [result] = await _again(request, [await _one(request, entry)])
    if isinstance(result, RewardsError):
        raise result
    return _json(result.answer)


@post("/replay", operation_id="replay_quarantine", guards=[requires("events")], status_code=200, responses=also(409))
async def replay_many(request: ApiRequest, data: JSONBody[ReplayIn] = _THE_OLDEST) -> Response[ReplayOut]:
    """Decide the oldest quarantined events by the program of now, each for itself. Those that do not fit stay.

    It takes no `Idempotency-Key`: no event is decided twice. A repetition goes on with those that are in quarantine still.
    """
    rows, more = await _page(request, data.type, data.limit, data.cursor)
    results = [
        {"entry": row.id, "member": str(MemberRef(row.kind, row.external_id)), "result": _result(row, result)}
        for row, result in zip(rows, await _again(request, rows), strict=True)
    ]
    return _json({"results": results, "next_cursor": more})


async def _page(request: ApiRequest, kind: str | None, limit: int, cursor: str | None) -> tuple[list[Any], str | None]:
    program_id = request.auth.program_id
    published = await request.app.state.programs.get(program_id)
    types = queries.names_of(published.program, kind)
    cursors: Cursors = request.app.state.cursors
    name = f"quarantine/{program_id}/{kind}"
    position = cursors.read(name, cursor)
    after = UUID(position[0]) if position else None
    async with reading(request.app.state.engine) as connection:
        rows = await queries.quarantine(connection, program_id, after=after, types=types, limit=limit + 1)
    shown = list(rows[:limit])
    return shown, cursors.write(name, [str(shown[-1].id)]) if len(rows) > limit else None


async def _one(request: ApiRequest, entry: UUID) -> Any:
    async with reading(request.app.state.engine) as connection:
        row = await queries.quarantined(connection, request.auth.program_id, entry)
    if row is None:
        raise NotFound("No such event is in quarantine.")
    return row


async def _again(request: ApiRequest, rows: list[Any]) -> list[Result]:
    intake: Intake = request.app.state.intake
    return await intake.again(request.auth.program_id, [_quarantined(row, request.auth.actor) for row in rows])


def _quarantined(row: Any, actor: str) -> Quarantined:
    event = Event(
        client_id=row.client_id,
        type=row.type,
        occurred_at=row.occurred_at,
        properties=row.properties or {},
        context=row.context or {},
        sent_by=row.sent_by or "server",
        received_at=row.recorded_at,
    )
    return Quarantined(MemberRef(row.kind, row.external_id), event, row.key, bytes(row.fingerprint), actor)


def _result(row: Any, result: Result) -> dict[str, Any]:
    if isinstance(result, RewardsError):
        return {"id": row.client_id, "status": "rejected", "effects": [], "error": problem_members(result)}
    return result.answer


def _json(answer: Any) -> Response[Any]:
    return Response(_encode(answer), media_type="application/json")


def quarantine_router() -> Router:
    """Needs `intake`, `engine`, `programs`, `cursors` and `api_keys` in the application's state."""
    handlers = [list_quarantine, get_quarantined, replay, replay_many]
    return Router("/v1/quarantine", route_handlers=handlers, tags=["quarantine"])
