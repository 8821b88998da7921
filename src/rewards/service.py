"""What lives as long as a process: connections, compiled programs and lanes, wired from the settings.

Shared by the HTTP application, the worker and the command line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.engine import NO_SETTINGS, POINT_LOOKUPS, make_engine
from rewards.domain.program.compile import compile_program
from rewards.domain.program.compiled import Program
from rewards.domain.program.models.document import Document
from rewards.features.events import rows as event_rows
from rewards.features.events.jobs import Lateness
from rewards.features.leaderboards import rows as leaderboard_rows
from rewards.features.leaderboards.hints import ScoreHints
from rewards.features.leaderboards.projecting import ProjectorMetrics
from rewards.features.leaderboards.whereabouts import Whereabouts
from rewards.features.members import rows as member_rows
from rewards.features.progress import rows as progress_rows
from rewards.features.wallets import rows as wallet_rows
from rewards.pipeline import counters
from rewards.pipeline.batch import Batches
from rewards.pipeline.intake import Intake
from rewards.pipeline.lanes import Lanes
from rewards.pipeline.observing import BatchMetrics
from rewards.pipeline.programs import Programs
from rewards.settings import Settings
from rewards.valkey import make_valkey

PATIENCE_SECONDS: Final = 3600.0

WRITES = (
    *counters.ROWS,
    *member_rows.ROWS,
    *wallet_rows.ROWS,
    *event_rows.ROWS,
    *progress_rows.ROWS,
    *leaderboard_rows.ROWS,
)
"""What every slice writes in the batch's one statement. The exact ones lock what others may want too, in this order."""


def compiled(document: dict[str, Any], version: int, paused: frozenset[str]) -> Program:
    """A stored document, checked when it was published, ready to decide."""
    return compile_program(Document.model_validate(document), version=version, paused=paused)


def database(
    settings: Settings,
    *,
    application_name: str,
    role: str | None,
    server_settings: Mapping[str, str] = NO_SETTINGS,
) -> AsyncEngine:
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
        server_settings=server_settings,
    )


def owner_database(settings: Settings) -> AsyncEngine:
    """As the owner of the schema, for migrations and upkeep: these take as long as they take, and wait for each other."""
    patient = {"statement_timeout_seconds": PATIENCE_SECONDS, "lock_timeout_seconds": PATIENCE_SECONDS}
    return database(settings.model_copy(update=patient), application_name="rewards-owner", role=None)


class Service:
    """The parts that live as long as the process. Shared by the HTTP application, the worker and the CLI."""

    def __init__(self, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        self.settings = settings
        self.secret_key = settings.secret_key.get_secret_value()
        self.engine = database(settings, application_name="rewards", role=settings.database_role)
        # Batches have connections of their own: reading keeps them from nothing, and their sessions plan differently.
        self.lane_engine = database(
            settings, application_name="rewards-lanes", role=settings.database_role, server_settings=POINT_LOOKUPS
        )
        self.valkey = make_valkey(
            settings.redis_url.get_secret_value(),
            timeout_seconds=settings.redis_timeout_seconds,
            cluster=settings.redis_cluster,
        )
        self.programs = Programs(self.engine, secret_key=self.secret_key, compiler=compiled)
        self.registry = CollectorRegistry() if registry is None else registry
        self.metrics = BatchMetrics(self.registry)
        self.lateness = Lateness(self.registry)
        self.due_written = asyncio.Event()
        """Set when something became due in this process, so that a worker in it need not wait for its next poll."""
        self.ending = asyncio.Event()
        """Set when the service is told to end: what would go on for good ends then."""
        self.board_metrics = ProjectorMetrics(self.registry)
        self.score_hints = ScoreHints(self.valkey)
        self.whereabouts = Whereabouts(self.valkey)
        self.batches = Batches(
            self.lane_engine,
            self.programs,
            WRITES,
            metrics=self.metrics,
            due_written=self.due_written.set,
            scores_written=self.score_hints.written,
            moved=self.whereabouts.moved,
        )
        self.lanes = Lanes(
            self.batches,
            lanes=settings.lanes_each,
            queue_max=settings.lane_queue_max * settings.lanes_each,
            batch_max=settings.batch_commands_max,
            span_buckets=settings.batch_spans_buckets,
        )
        self.intake = Intake(self.programs, self.lanes, self.engine, due_written=self.due_written.set)
        self.metrics.watch_lanes(lambda: self.lanes.waiting)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Lanes run inside; leaving drains them and closes every connection."""
        await self.lanes.start()
        try:
            async with self.score_hints.publishing(), self.whereabouts.publishing():
                try:
                    yield
                finally:
                    await self.lanes.drain()  # inside, for what it commits is told as well
        finally:
            await self.lane_engine.dispose()
            await self.engine.dispose()
            await self.valkey.aclose()
