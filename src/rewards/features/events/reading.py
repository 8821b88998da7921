"""`/v1/members/{member}/events`: what a member did, what came of it, and why."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from litestar import Router, get
from litestar.params import FromPath, FromQuery, PathParameter, QueryParameter

from rewards.db.transact import snapshot
from rewards.domain.commands import SENDERS, SentBy
from rewards.domain.errors import RewardsError
from rewards.features.events import queries
from rewards.features.events.views import EventDetail, EventItem, Waiting, detail_of, item_of, waiting_of
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.pagination import PAGE_ITEMS_DEFAULT, Cursors, Page, PageCursor, PageSize
from rewards.http.parameters import MemberPath, member_ref, unescaped
from rewards.http.problems import NotFound
from rewards.pipeline.lookup import UnknownMember, find_member

TypeQuery: TypeAlias = Annotated[
    str | None,
    QueryParameter(name="type", max_length=200, pattern=r"^[^\x00]*$", description="Only events of this type."),
]
StatusQuery: TypeAlias = FromQuery[Literal["processed", "quarantined", "too_late"] | None]
EventId: TypeAlias = FromPath[
    Annotated[str, PathParameter(description="The id that the event was sent with, or under which it is listed.")]
]
WithContributions: TypeAlias = FromQuery[
    Annotated[bool, QueryParameter(description="Add what the event added to each metric.")]
]

SentByQuery: TypeAlias = FromQuery[
    Annotated[
        SentBy | None,
        QueryParameter(
            description="Whose event of this id: an app's server's, one sent with a public key, or the customer's own."
            " By default the first of these that there is."
        ),
    ]
]


class EffectsExpired(RewardsError):
    """The event was decided, and what was kept of it has been dropped since."""

    code = "effects-expired"


@get("/members/{member:str}/events", operation_id="list_events", responses=also(409, 410, 422))
async def list_events(
    request: ApiRequest,
    member: MemberPath,
    *,
    kind: TypeQuery = None,
    status: StatusQuery = None,
    limit: PageSize = PAGE_ITEMS_DEFAULT,
    cursor: PageCursor = None,
) -> Page[EventItem]:
    """A member's events in the order in which they were recorded, the newest first."""
    state = request.app.state
    program_id = request.auth.program_id
    ref = member_ref(member)
    published = await state.programs.get(program_id)
    cursors: Cursors = state.cursors
    name = f"events/{program_id}/{ref.kind}:{ref.external_id}/{kind}/{status}"
    position = cursors.read(name, cursor)
    wanted = queries.Wanted(
        types=queries.names_of(published.program, kind),
        status=status,
        before=UUID(position[0]) if position else None,
    )
    async with snapshot(state.engine) as connection:
        found = await find_member(connection, published, ref)
        rows = await queries.events(connection, program_id, found.ids, wanted, limit + 1)
    shown = rows[:limit]
    more = cursors.write(name, [str(shown[-1].id)]) if len(rows) > limit else None
    return Page([item_of(row) for row in shown], more)


@get("/members/{member:str}/events/{event:str}", operation_id="get_event", responses=also(409, 410, 422))
async def get_event(
    request: ApiRequest,
    member: MemberPath,
    event: EventId,
    *,
    sent_by: SentByQuery = None,
    contributions: WithContributions = False,
) -> EventDetail | Waiting:
    """One event, by the id it was sent with: what it did, and why each candidate rule fired or did not."""
    state = request.app.state
    program_id = request.auth.program_id
    ref = member_ref(member)
    published = await state.programs.get(program_id)
    event = unescaped(event)
    senders = SENDERS if sent_by is None else (sent_by,)
    keys = [published.identity.event(ref, sender, event) for sender in senders]
    async with snapshot(state.engine) as connection:
        missing: RewardsError = NotFound("The member sent no such event.")
        try:
            members = (await find_member(connection, published, ref)).ids
        except UnknownMember as error:  # whose first event may wait to be decided, or could not be
            missing, members = error, [published.identity.member(ref)]
        row = await queries.event(connection, program_id, members, keys)
        if row is None and sent_by is None:
            row = await queries.passed(connection, program_id, members, event)
        if row is None or row.place > 1:
            waiting = await queries.waiting(connection, program_id, members, keys)
            if waiting is not None and (row is None or waiting.place < row.place):
                return waiting_of(event, waiting.failure, senders[waiting.place - 1])
        if row is None:
            raise missing
        if row.id is None:
            raise EffectsExpired("The event was decided, and what was kept of it has been dropped since.")
        caused = await queries.caused(connection, program_id, row)
    return detail_of(row, ref, list(caused), metrics_of=published.program if contributions else None)


def events_reading_router() -> Router:
    """Needs `engine`, `programs`, `cursors` and `api_keys` in the application's state."""
    return Router("/v1", route_handlers=[list_events, get_event], guards=[requires("read")], tags=["events"])
