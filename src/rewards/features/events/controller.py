"""`POST /v1/events` and its batch: HTTP to command and back."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.response.base import ASGIResponse

from rewards.domain.commands import SentBy
from rewards.domain.errors import InvalidInput, RewardsError
from rewards.features.events.schemas import Accepted, BatchOut, EventIn, EventOut
from rewards.http.auth import ApiRequest, Caller, requires_also_public
from rewards.http.bodies import Items, ItemsIn
from rewards.http.openapi import also
from rewards.http.problems import Forbidden, problem_members
from rewards.pipeline.dry_run import dry_run as decide_dry
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.programs import Published
from rewards.pipeline.submission import Receipt, Result

EVENTS_PER_BATCH_MAX: Final = 1_000
_encode = msgspec.json.Encoder().encode

Trace = FromQuery[Annotated[bool, QueryParameter(description="Add why each candidate rule fired or did not.")]]
DryRun = FromQuery[
    Annotated[bool, QueryParameter(description="Decide, and commit nothing: effects name no transaction.")]
]
Mode = FromQuery[Annotated[Literal["sync", "async"], QueryParameter(description="`async`: answer once it is durable.")]]


def _answer_of(kind: type[Any]) -> ResponseSpec:
    """Describes an answer that is sent as bytes."""
    return ResponseSpec(kind, generate_examples=False)


def intake_of(request: Request[Any, Any, Any]) -> Intake:
    intake: Intake = request.app.state.intake
    return intake


def addressed(event: EventIn, caller: Caller) -> Addressed:
    return event.addressed(actor=caller.actor, sent_by=_sent_by(caller))


def _sent_by(caller: Caller) -> SentBy:
    return "public" if caller.kind == "public" else "server"


@post(
    "/events",
    guards=[requires_also_public("events")],
    status_code=200,
    responses={200: _answer_of(EventOut), 202: _answer_of(Accepted), **also(409, 410)},
    operation_id="send_event",
)
async def send_event(
    request: ApiRequest, data: JSONBody[EventIn], *, trace: Trace = False, dry_run: DryRun = False, mode: Mode = "sync"
) -> ASGIResponse:
    """Decide one event and answer with what it brought, durably. Whoever has a public key hears nothing else of the member:
    neither balances nor a trace.
    """
    _check_public(request.auth, trace=trace, dry_run=dry_run)
    intake = intake_of(request)
    command = addressed(data, request.auth)
    program_id = request.auth.program_id
    if dry_run:
        state = request.app.state
        receipt = await decide_dry(state.engine, state.programs, program_id, command)
        return json_answer(_dry(receipt, trace=trace) | ignored(await intake.published(program_id), data))
    if mode == "async":
        payload = {"event": msgspec.to_builtins(data), "actor": command.actor, "sent_by": _sent_by(request.auth)}
        await intake.later(program_id, command, name="event", payload=payload)
        return json_answer({"id": data.id, "status": "accepted"}, status=202)
    answer = _answer(await intake.one(program_id, command), trace=trace)
    if trace:
        answer |= ignored(await intake.published(program_id), data)
    return json_answer(_told(request.auth, answer))


@post(
    "/events/batch",
    guards=[requires_also_public("events")],
    status_code=200,
    responses={200: _answer_of(BatchOut)},
    operation_id="send_events",
)
async def send_events(
    request: ApiRequest,
    data: JSONBody[Annotated[Items[EventIn], ItemsIn("events", EVENTS_PER_BATCH_MAX)]],
    *,
    trace: Trace = False,
) -> ASGIResponse:
    """Decide up to 1,000 events; a result for each in order. One that is wrong spoils no other."""
    _check_public(request.auth, trace=trace)
    commands: list[Addressed | RewardsError] = [_command(item, request.auth) for item in data.values]
    results = iter(
        await intake_of(request).many(
            request.auth.program_id, [command for command in commands if not isinstance(command, RewardsError)]
        )
    )
    answers = [
        _told(
            request.auth,
            answer_item(
                command if isinstance(command, RewardsError) else next(results),
                item.id if isinstance(item, EventIn) else item.item_id,
                trace=trace,
            ),
        )
        for command, item in zip(commands, data.values, strict=True)
    ]
    if trace:
        published = await intake_of(request).published(request.auth.program_id)
        for item, answer in zip(data.values, answers, strict=True):
            if isinstance(item, EventIn):
                answer.update(ignored(published, item))
    return json_answer({"results": answers})


def _command(item: EventIn | InvalidInput, caller: Caller) -> Addressed | RewardsError:
    if isinstance(item, InvalidInput):
        return item
    try:
        return addressed(item, caller)
    except InvalidInput as error:
        return error


def _check_public(caller: Caller, *, trace: bool, dry_run: bool = False) -> None:
    if caller.kind == "public" and (trace or dry_run):
        raise Forbidden(
            "A public key may not ask for traces or dry runs: they tell of the member.", required="a secret key"
        )


def _told(caller: Caller, answer: dict[str, Any]) -> dict[str, Any]:
    """A public key is everybody's, and the member it names may be anybody."""
    if caller.kind != "public":
        return answer
    return {name: value for name, value in answer.items() if name != "balances"}


def answer_bytes(receipt: Receipt) -> bytes:
    """What is sent for one event that was decided."""
    return _encode(receipt.answer)


def traced_bytes(receipt: Receipt, published: Published, event: EventIn) -> bytes:
    """As `answer_bytes`, for whoever asks why."""
    return _encode(_answer(receipt, trace=True) | ignored(published, event))


def ignored(published: Published, event: EventIn) -> dict[str, list[str]]:
    """The names of the properties that were sent and are not kept, as a part of the answer; nothing where all are kept."""
    kind = published.program.event_type(event.type)
    if kind is None or kind.kept is None or kind.kept.issuperset(event.properties):
        return {}
    return {"ignored": sorted(event.properties.keys() - kind.kept)}


def _answer(receipt: Receipt, *, trace: bool) -> dict[str, Any]:
    return {**receipt.answer, "trace": receipt.trace} if trace else receipt.answer


def _dry(receipt: Receipt, *, trace: bool) -> dict[str, Any]:
    """What would happen names no transaction, for none is made; what did happen before keeps its own."""
    answer = {**_answer(receipt, trace=trace), "dry_run": True}
    if not receipt.replayed:
        answer["effects"] = [
            {name: value for name, value in effect.items() if name != "transaction"} for effect in answer["effects"]
        ]
    return answer


def answer_item(result: Result, identifier: str, *, trace: bool = False) -> dict[str, Any]:
    """What a batch says of the event of that id."""
    if isinstance(result, RewardsError):
        return {"id": identifier, "status": "rejected", "effects": [], "error": problem_members(result)}
    return _answer(result, trace=trace)


def json_answer(answer: dict[str, Any], *, status: int = 200) -> ASGIResponse:
    """Answers are plain values already; they are encoded once, here, and sent as they are."""
    return ASGIResponse(body=_encode(answer), status_code=status, media_type="application/json")
