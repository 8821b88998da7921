"""`POST /v1/me/events`: what a customer does, straight from the browser or app.

One event, or `{"events": […]}`. A page that is being left can only send with `navigator.sendBeacon`, which sets no
headers; so the token may also be in the body, as `token`, whatever media type the body claims. It may not be in the
address, which logs and histories keep. Nothing else vouches for the sender (there are no cookies), so a foreign page
without the token can do nothing; and where the program lists origins, the browser names the page's in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, TypeAlias, cast

import msgspec
from litestar import Router, post
from litestar.connection import ASGIConnection
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.response.base import ASGIResponse

from rewards.domain.commands import Event, MemberRef
from rewards.domain.errors import InvalidInput, RewardsError
from rewards.features.events.controller import answer_item, intake_of, json_answer
from rewards.features.events.schemas import BatchOut, EventOut, Text
from rewards.http.auth import ApiRequest, RequiresMember
from rewards.http.decoding import Body, BodyTooLarge, decode, decode_envelope, decode_item, plain
from rewards.http.member_tokens import TOKEN_LENGTH_MAX
from rewards.http.openapi import also
from rewards.http.parameters import me
from rewards.http.problems import NoMemberToken, Unauthorized
from rewards.pipeline.intake import Addressed

BODY_BYTES_MAX: Final = 64 * 1024
"""What browsers send of a page that is being left is no larger."""
EVENTS_MAX: Final = 100
SKEW_MIN: Final = timedelta(seconds=10)
"""A clock that differs by less is right: the difference is the way here."""

_Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Token: TypeAlias = Annotated[str, msgspec.Meta(max_length=TOKEN_LENGTH_MAX)]


class MyEventIn(Body, frozen=True):
    """Something the member did. `id` makes it happen once per member; `occurred_at` defaults to the moment of receipt.

    The ids are the customer's own: an event that the app's server sends under the same id is another one.
    """

    id: _Id
    type: Text
    occurred_at: _Moment | None = None
    properties: dict[str, Any] = msgspec.field(default_factory=dict)
    context: dict[str, Any] = msgspec.field(default_factory=dict)


class _Single(MyEventIn, frozen=True):
    token: _Token | None = None
    sent_at: _Moment | None = None


class _Batch(Body, frozen=True):
    events: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=EVENTS_MAX)]
    token: _Token | None = None
    sent_at: _Moment | None = None


class _Either(msgspec.Struct, frozen=True):
    """Enough of a body to see which of the two it is, and whose."""

    array_advice: ClassVar[str] = 'put several events into an object: {"events": […]}'

    events: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    token: Any = None


class _TokenInBody(RequiresMember):
    """A guard that also lets in requests without a key in their headers: the handler then finds it in the body."""

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        try:
            await super().__call__(connection, handler)
        except Unauthorized:
            if "authorization" in connection.headers:
                raise


_GUARD: Final = _TokenInBody()


@dataclass(frozen=True, slots=True)
class _Sender:
    """Whose request it is, when it came, and when the browser says that it sent it."""

    ref: MemberRef
    actor: str
    received_at: datetime
    sent_at: datetime | None
    sandbox: bool


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    return Schema(
        type=OpenAPIType.OBJECT, properties=dict(properties), required=list(required), additional_properties=False
    )


def _text(length_max: int) -> Schema:
    return Schema(type=OpenAPIType.STRING, min_length=1, max_length=length_max)


def _described_body() -> Schema:
    moment = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME)
    anything = Schema(type=OpenAPIType.OBJECT)
    event = {"id": _text(100), "type": _text(200), "occurred_at": moment, "properties": anything, "context": anything}
    beside = {"token": Schema(type=OpenAPIType.STRING, max_length=TOKEN_LENGTH_MAX), "sent_at": moment}
    items = Schema(type=OpenAPIType.ARRAY, items=_object(event, "id", "type"), min_items=1, max_items=EVENTS_MAX)
    return Schema(any_of=[_object({**event, **beside}, "id", "type"), _object({"events": items, **beside}, "events")])


@dataclass
class _Operation(Operation):
    """Describes the body, which is read as bytes whatever its media type says."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            content={"application/json": OpenAPIMediaType(schema=_described_body())}, required=True
        )


@post(
    "/events",
    guards=[_GUARD],
    status_code=200,
    operation_id="send_my_events",
    operation_class=_Operation,
    request_max_body_size=BODY_BYTES_MAX,
    responses={200: ResponseSpec(EventOut | BatchOut, generate_examples=False), **also(409, 410)},  # type: ignore[arg-type]
)
async def send_my_events(request: ApiRequest) -> ASGIResponse:
    """Decide one event, or up to 100 of `{"events": […]}`, of types that the program marks `client: true`.

    A batch answers with a result for each in order; one that is wrong spoils no other. `sent_at` is the sender's clock
    when it sends: what it says of `occurred_at` is put right by it. The token may also be in the body, as `token`.
    """
    received_at = datetime.now(UTC)
    body = await _body(request)
    either = decode_envelope(body, _Either)
    await _admit(request, either.token)
    single = decode(body, _Single) if either.events is msgspec.UNSET else None
    envelope = decode_envelope(body, _Batch) if single is None else single
    intake = intake_of(request)
    published = await intake.published(request.auth.program_id)
    sender = _Sender(me(request), request.auth.actor, received_at, envelope.sent_at, published.sandbox)
    if single is not None:
        receipt = await intake.one(request.auth.program_id, _addressed(single, sender))
        return json_answer(receipt.answer)
    assert isinstance(envelope, _Batch)
    items = [decode_item(bytes(raw), MyEventIn, f"events[{index}]") for index, raw in enumerate(envelope.events)]
    commands = [_command(item, sender) for item in items]
    return json_answer({"results": await _results(request, items, commands)})


async def _results(
    request: ApiRequest, items: Sequence[MyEventIn | InvalidInput], commands: Sequence[Addressed | RewardsError]
) -> list[dict[str, Any]]:
    sound = [command for command in commands if not isinstance(command, RewardsError)]
    decided = iter(await intake_of(request).many(request.auth.program_id, sound))
    return [
        answer_item(
            command if isinstance(command, RewardsError) else next(decided),
            item.id if isinstance(item, MyEventIn) else item.item_id,
        )
        for item, command in zip(items, commands, strict=True)
    ]


def _command(item: MyEventIn | InvalidInput, sender: _Sender) -> Addressed | RewardsError:
    if isinstance(item, InvalidInput):
        return item
    try:
        return _addressed(item, sender)
    except InvalidInput as error:
        return error


def _addressed(event: MyEventIn, sender: _Sender) -> Addressed:
    """The command. What makes two sendings the same is what the browser said, before its clock was put right."""
    content: dict[str, Any] = {"type": event.type, "properties": event.properties}
    if event.occurred_at is not None:
        content["occurred_at"] = event.occurred_at
    command = Event(
        client_id=event.id,
        type=event.type,
        occurred_at=_occurred_at(event.occurred_at, sender),
        properties=event.properties,
        context=event.context,
        sent_by="customer",
    )
    return Addressed(sender.ref, command, event.id, content, sender.actor)


def _occurred_at(claimed: datetime | None, sender: _Sender) -> datetime | None:
    """When it happened, never after its receipt; None: on receipt.

    A browser whose clock is wrong shows it by `sent_at`. In a sandbox, of whose moved clock browsers know nothing,
    everything happens on receipt.
    """
    if claimed is None or sender.sandbox:
        return None
    if sender.sent_at is not None and abs(skew := sender.received_at - sender.sent_at) >= SKEW_MIN:
        try:
            claimed += skew
        except OverflowError:
            return None
    return min(claimed, sender.received_at)


async def _body(request: ApiRequest) -> bytes:
    try:
        sent = await request.body()
        return plain(sent, request.headers.get("content-encoding", ""), bytes_max=BODY_BYTES_MAX)
    except RequestEntityTooLarge:
        raise BodyTooLarge(f"The body is larger than {BODY_BYTES_MAX} bytes.", bytes_max=BODY_BYTES_MAX) from None


async def _admit(request: ApiRequest, token: Any) -> None:
    """By the header, else by the body. Raises `Unauthorized`."""
    if cast("dict[str, Any]", request.scope).get("auth") is None:
        if not isinstance(token, str):
            raise NoMemberToken("Send a member token: `Authorization: Bearer TOKEN`, or as `token` in the body.")
        await _GUARD.admit(request, token)


def my_events_router() -> Router:
    """Needs `intake`, `api_keys` and `member_tokens` in the application's state."""
    return Router("/v1/me", route_handlers=[send_my_events], tags=["me"])
