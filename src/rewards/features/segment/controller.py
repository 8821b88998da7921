"""`/segment/v1/{track,identify,page,screen,group,alias,batch}`: Segment's HTTP tracking API.

Its clients repeat a request for hours when it fails, so only what may succeed later answers 429 or 5xx. A call that is
wrong for good is counted and logged, and the others of its batch go on: the answer is `{"success": true}` all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from litestar import Request, Router, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from prometheus_client import CollectorRegistry

from rewards.domain.errors import InvalidInput, RewardsError
from rewards.features.segment.merging import Merges
from rewards.features.segment.queries import standings
from rewards.features.segment.recording import CollectorItems, Outcomes
from rewards.features.segment.schemas import (
    BATCH_BYTES_MAX,
    CALL_BYTES_MAX,
    CALLS,
    Envelope,
    TooLarge,
    plain_body,
    read_batch,
    read_single,
)
from rewards.features.segment.translate import Sender, Translator, members_to_know
from rewards.http.auth import ApiRequest, Caller, RequiresAny
from rewards.http.openapi import also
from rewards.http.problems import Unauthorized, status_of
from rewards.pipeline.intake import Addressed, Intake
from rewards.pipeline.programs import Published
from rewards.pipeline.submission import Result

COMMANDS_PER_SLICE: Final = 250
"""A large batch enters the lanes in slices, so that it never needs more room than they have."""


class Success(msgspec.Struct, frozen=True):
    """The calls were taken. It does not say that each was of use."""

    success: bool = True


class WriteKey(RequiresAny):
    """A guard that also lets in requests without a key in their headers: the handler then finds it in the body."""

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        try:
            await super().__call__(connection, handler)
        except Unauthorized:
            return


WRITE_KEY: Final = WriteKey("events")


@dataclass
class _SingleOperation(Operation):
    """Describes the body, which is read as bytes whatever its media type says."""

    def __post_init__(self) -> None:
        self.request_body = _json_body(Schema(type=OpenAPIType.OBJECT))


@dataclass
class _BatchOperation(Operation):
    def __post_init__(self) -> None:
        batch = Schema(type=OpenAPIType.ARRAY, items=Schema())
        self.request_body = _json_body(Schema(type=OpenAPIType.OBJECT, required=["batch"], properties={"batch": batch}))


def _json_body(schema: Schema) -> RequestBody:
    return RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, required=True)


def segment_routers(registry: CollectorRegistry) -> list[Router]:
    """The API below `/segment`, and its `/v1/batch` once more: a client that drops the path of its host posts there."""
    dependencies = {"items": Provide(lambda: items, sync_to_thread=False)}
    items = CollectorItems(registry)
    singles = [_single(call) for call in CALLS]
    return [
        Router("/segment/v1", route_handlers=[_batch(), *singles], dependencies=dependencies, tags=["segment"]),
        Router("/v1", route_handlers=[_batch()], dependencies=dependencies, include_in_schema=False),
    ]


def _batch() -> HTTPRouteHandler:
    @post(
        "/batch",
        guards=[WRITE_KEY],
        status_code=200,
        operation_id="segment_batch",
        operation_class=_BatchOperation,
        responses=also(409),
    )
    async def segment_batch(request: ApiRequest, items: NamedDependency[CollectorItems]) -> Success:
        """Segment's `batch`: up to 2,500 calls or 500 KiB. The key may also be in `writeKey`; the body may be gzip."""
        received_at = datetime.now(UTC)
        body = plain_body(await _body(request, BATCH_BYTES_MAX), bytes_max=BATCH_BYTES_MAX)
        return await _take(request, read_batch(body), items, received_at)

    return segment_batch


def _single(call: str) -> HTTPRouteHandler:
    async def segment_call(request: ApiRequest, items: NamedDependency[CollectorItems]) -> Success:
        received_at = datetime.now(UTC)
        body = plain_body(await _body(request, CALL_BYTES_MAX), bytes_max=CALL_BYTES_MAX)
        return await _take(request, read_single(body, call), items, received_at)

    segment_call.__name__ = f"segment_{call}"
    segment_call.__doc__ = f"Segment's `{call}`, up to 32 KiB. The key may also be in `writeKey`; the body may be gzip."
    return post(
        f"/{call}",
        guards=[WRITE_KEY],
        status_code=200,
        operation_id=f"segment_{call}",
        operation_class=_SingleOperation,
        responses=also(409),
    )(segment_call)


async def _body(request: Request[Any, Any, Any], bytes_max: int) -> bytes:
    try:
        return await request.body()
    except RequestEntityTooLarge:
        raise TooLarge(f"The body is larger than {bytes_max} bytes.", bytes_max=bytes_max) from None


async def _caller(request: ApiRequest, write_key: str | None) -> Caller:
    """Whoever the headers name, else the body. Raises Unauthorized."""
    if cast("dict[str, Any]", request.scope).get("auth") is None:
        if write_key is None:
            raise Unauthorized("Send a key: as the user of Basic authentication, or as `writeKey`.")
        await WRITE_KEY.admit(request, write_key)
    return request.auth


async def _take(request: ApiRequest, envelope: Envelope, items: CollectorItems, received_at: datetime) -> Success:
    caller = await _caller(request, envelope.write_key)
    intake = cast("Intake", request.app.state.intake)
    published = await intake.published(caller.program_id)
    sender = Sender(caller.actor, caller.kind == "public", received_at, envelope.sent_at)
    translator = Translator(published, sender, await _merges(request, published, envelope, sender))
    outcomes = Outcomes()
    commands: list[tuple[int, str, Addressed]] = []
    for position, call in enumerate(envelope.calls):
        name = "unreadable" if isinstance(call, InvalidInput) else call.type if call.type in CALLS else "unknown"
        assert name is not None
        try:
            if isinstance(call, InvalidInput):
                raise call
            translated = translator.commands(call)
        except RewardsError as error:
            outcome = "invalid" if isinstance(error, InvalidInput) else "refused"
            outcomes.refuse(outcome, position=position, call=name, code=error.code)
            continue
        if not translated:
            outcomes.add("ignored")
        commands.extend((position, name, command) for command in translated)
    for start in range(0, len(commands), COMMANDS_PER_SLICE):
        part = commands[start : start + COMMANDS_PER_SLICE]
        results = await intake.many(caller.program_id, [command for _, _, command in part])
        _count(outcomes, part, results)
    outcomes.record(items, program_id=caller.program_id, key_id=str(caller.key_id))
    return Success()


async def _merges(request: ApiRequest, published: Published, envelope: Envelope, sender: Sender) -> Merges:
    """One question to the database, and only when a call may merge members."""
    asked = {
        published.identity.member(member)
        for call in envelope.calls
        if not isinstance(call, InvalidInput) and not sender.public
        for member in members_to_know(call)
    }
    known = await standings(request.app.state.engine, published.program_id, asked) if asked else {}
    return Merges(published.identity, known)


def _count(outcomes: Outcomes, part: Sequence[tuple[int, str, Addressed]], results: Sequence[Result]) -> None:
    """Raises what may succeed later, so that the client sends all of it again; what was done then is a repeat."""
    for (position, name, _), result in zip(part, results, strict=True):
        if isinstance(result, RewardsError):
            status = status_of(result)
            if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise result
            outcomes.refuse("refused", position=position, call=name, code=result.code)
        elif result.refusal is not None:
            outcomes.refuse("refused", position=position, call=name, code=str(result.refusal["code"]))
        else:
            outcomes.add(result.status.value)
