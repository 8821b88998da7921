"""A small application that uses every part of the edge, as the composition root does."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import Litestar, Response, Router, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.migrate import head_revision
from rewards.db.tables.base import INSERT_ONLY
from rewards.db.transact import DatabaseUnavailable
from rewards.domain.commands import MemberRef
from rewards.domain.errors import Refusal
from rewards.features.health.controller import Readiness, health_router
from rewards.features.keys.controller import keys_router
from rewards.features.keys.queries import find_caller
from rewards.http.auth import ApiKeys, ApiRequest, requires, requires_also_public
from rewards.http.bodies import Items, ItemsIn, StrictBody
from rewards.http.decoding import Body
from rewards.http.edge import Edge, HttpMetrics
from rewards.http.idempotency import replay_headers, require_idempotency_key
from rewards.http.limits import RateLimiter
from rewards.http.member_tokens import MemberTokens, Standing
from rewards.http.openapi import also, openapi_config, reference_router
from rewards.http.pagination import Cursors
from rewards.http.problems import problem_handlers
from rewards.http.strict_query import StrictQuery
from rewards.valkey import Valkey

SECRET_KEY: Final = bytes(range(32))
BODY_BYTES_MAX: Final = 2000


class EventBody(Body, frozen=True):
    """An event."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    points: Annotated[int, msgspec.Meta(ge=0)] = 0
    properties: dict[str, Any] = msgspec.field(default_factory=dict)


class Recorded(msgspec.Struct):
    """What became of it."""

    id: str
    kind: Literal["secret", "public"]
    trace: bool = False


@post("/events", guards=[requires_also_public("events")], status_code=200, responses=also(409))
async def record(
    request: ApiRequest,
    data: JSONBody[EventBody],
    trace: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter, always named
) -> Recorded:
    """Record an event."""
    if data.id == "refuse":
        raise Refusal("It was refused.", left=0)
    if data.id == "away":
        raise DatabaseUnavailable("The database cannot be reached.")
    if data.id == "defect":
        raise RuntimeError("a secret of ours")
    kind = request.auth.kind
    assert kind != "member"
    return Recorded(data.id, kind, trace)


@post("/events/batch", guards=[requires("events")], status_code=200)
async def record_batch(data: JSONBody[Annotated[Items[EventBody], ItemsIn("events", items_max=3)]]) -> list[str]:
    """Record several."""
    return [
        item.id if isinstance(item, EventBody) else f"{item.code} at {item.details['path']}" for item in data.values
    ]


@post("/spend", guards=[requires("ledger")], status_code=200)
async def spend(request: ApiRequest) -> Response[dict[str, str]]:
    """Spend points."""
    key = require_idempotency_key(request)
    return Response({"key": key}, headers=replay_headers(replayed=key == "again"))


@get("/things/{thing_id:uuid}", guards=[requires("read")])
async def thing(request: ApiRequest, thing_id: FromPath[UUID]) -> dict[str, str]:
    """Show a thing."""
    return {"id": str(thing_id), "program": request.auth.program_key}


async def no_program(program_id: int, member: MemberRef) -> Standing | None:
    """No token of any member counts here."""
    return None


@dataclass(frozen=True)
class Application:
    litestar: Litestar
    edge: Edge
    api_keys: ApiKeys


def application(engine: AsyncEngine, valkey: Valkey) -> Application:
    registry = CollectorRegistry()
    api_keys = ApiKeys(SECRET_KEY, partial(find_caller, engine), limiter=RateLimiter(valkey))
    litestar = Litestar(
        [
            Router("/v1", route_handlers=[record, record_batch, spend, thing]),
            keys_router(),
            health_router(),
            reference_router(),
        ],
        before_request=StrictQuery(),
        dto=StrictBody,
        return_dto=None,
        exception_handlers=problem_handlers(),
        openapi_config=openapi_config(),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        state=State(
            {
                "engine": engine,
                "api_keys": api_keys,
                "member_tokens": MemberTokens(SECRET_KEY, no_program, requests_per_second=20),
                "cursors": Cursors(SECRET_KEY),
                "metrics_registry": registry,
                "readiness": Readiness(engine, head_revision(), INSERT_ONLY, SECRET_KEY),
            }
        ),
    )
    return Application(litestar, Edge(litestar, HttpMetrics(registry)), api_keys)
