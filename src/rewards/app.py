"""The composition root: what the service is made of, wired from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from litestar import Litestar, Router
from litestar.datastructures import State
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.engine import make_engine
from rewards.db.migrate import head_revision
from rewards.db.tables.base import INSERT_ONLY
from rewards.domain.program.compile import compile_program
from rewards.domain.program.compiled import Program
from rewards.domain.program.models.document import Document
from rewards.features.events import controller as events
from rewards.features.events import rows as event_rows
from rewards.features.health.controller import Readiness, health_router
from rewards.features.keys.queries import find_caller
from rewards.features.members import rows as member_rows
from rewards.features.wallets import rows as wallet_rows
from rewards.http.auth import ApiKeys
from rewards.http.bodies import StrictBody
from rewards.http.edge import Edge, HttpMetrics
from rewards.http.limits import RateLimiter
from rewards.http.openapi import openapi_config, reference_router
from rewards.http.pagination import Cursors
from rewards.http.problems import problem_handlers
from rewards.pipeline.batch import Batches
from rewards.pipeline.intake import Intake
from rewards.pipeline.lanes import Lanes
from rewards.pipeline.programs import Programs
from rewards.settings import Settings
from rewards.valkey import make_valkey

log = structlog.get_logger("rewards.app")

WRITES = (*member_rows.ROWS, *wallet_rows.ROWS, *event_rows.ROWS)
"""What every slice writes in the batch's one statement."""


def compiled(document: dict[str, Any], version: int, paused: frozenset[str]) -> Program:
    """A stored document, checked when it was published, ready to decide."""
    return compile_program(Document.model_validate(document), version=version, paused=paused)


def database(settings: Settings, *, application_name: str, role: str | None) -> AsyncEngine:
    """A pool as the settings say; `role=None` acts as the URL's own user, for migrations and partitions."""
    return make_engine(
        settings.database_url.get_secret_value(),
        application_name=application_name,
        role=role,
        pool_size=settings.database_pool_size,
        pool_wait_seconds=settings.database_pool_wait_seconds,
        connect_timeout_seconds=settings.database_connect_timeout_seconds,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        lock_timeout_seconds=settings.lock_timeout_seconds,
        idle_in_transaction_timeout_seconds=settings.idle_in_transaction_timeout_seconds,
    )


class Service:
    """The parts that live as long as the process. Shared by the HTTP application, the worker and the CLI."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.secret_key = settings.secret_key.get_secret_value()
        self.engine = database(settings, application_name="rewards", role=settings.database_role)
        self.valkey = make_valkey(settings.redis_url.get_secret_value(), timeout_seconds=settings.redis_timeout_seconds)
        self.programs = Programs(self.engine, secret_key=self.secret_key, compiler=compiled)
        self.due_written = asyncio.Event()
        """Set when something became due in this process, so that a worker in it need not wait for its next poll."""
        self.lanes = Lanes(
            Batches(self.engine, self.programs, WRITES, due_written=self.due_written.set),
            lanes=settings.lanes,
            queue_max=settings.lane_queue_max * settings.lanes,
            batch_max=settings.batch_commands_max,
            span_buckets=settings.batch_spans_buckets,
        )
        self.intake = Intake(self.programs, self.lanes, self.engine, due_written=self.due_written.set)
        self.registry = CollectorRegistry()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Lanes run inside; leaving drains them and closes every connection."""
        await self.lanes.start()
        try:
            yield
        finally:
            await self.lanes.drain()
            await self.engine.dispose()
            await self.valkey.aclose()


def make_app(service: Service, *alongside: Callable[[], AbstractAsyncContextManager[None]]) -> Edge:
    """The ASGI application around a service. What is `alongside` (the worker) lives while the lanes run."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with service.running(), AsyncExitStack() as stack:
            for also in alongside:
                await stack.enter_async_context(also())
            yield

    app = Litestar(
        route_handlers=[
            Router("/v1", route_handlers=[events.send_event, events.send_events], tags=["events"]),
            health_router(),
            reference_router(),
        ],
        lifespan=[lifespan],
        state=State(_state(service)),
        dto=StrictBody,
        return_dto=None,
        exception_handlers=problem_handlers(),
        openapi_config=openapi_config(),
        request_max_body_size=service.settings.body_bytes_max,
        logging_config=None,
    )
    return Edge(app, HttpMetrics(service.registry))


def _state(service: Service) -> dict[str, Any]:
    """What handlers find in `request.app.state`."""
    return {
        "intake": service.intake,
        "engine": service.engine,
        "programs": service.programs,
        "cursors": Cursors(service.secret_key),
        "api_keys": ApiKeys(
            service.secret_key,
            lambda digest: find_caller(service.engine, digest),
            limiter=RateLimiter(service.valkey),
        ),
        "readiness": Readiness(service.engine, head_revision(), INSERT_ONLY),
        "metrics_registry": service.registry,
    }
