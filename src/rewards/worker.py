"""The worker: what falls due, upkeep of partitions, retention, and jobs over all members.

It may run inside the service or apart, once or many times: every job is safe to run twice at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db import tables
from rewards.db.partitions import ensure_partitions
from rewards.db.retention import drop_expired, drop_jobs, drop_results, forget_taken_back, forget_traces
from rewards.db.transact import reading, transact
from rewards.domain.errors import RewardsError
from rewards.features.backfills.running import Backfills
from rewards.features.events.jobs import DueCommands
from rewards.features.leaderboards.closing import Closings
from rewards.features.leaderboards.projecting import Projector
from rewards.features.members.jobs import rank_segments
from rewards.features.tokens.queries import forget_expired_tokens
from rewards.features.wallets.jobs import Sweep
from rewards.pipeline.programs import UNREADABLE
from rewards.service import Service, owner_database
from rewards.valkey import end

log = structlog.get_logger("rewards.worker")

POLL_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 15.0
RANK_SECONDS: Final = 60.0
BACKFILL_SECONDS: Final = 5.0
UPKEEP_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Job:
    """Runs again at once while it finds something to do, else after `every_seconds` (or when `hurry` is set)."""

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[int]]
    hurry: asyncio.Event | None = None


class Worker:
    """All jobs of one process, each in its own task, so that a slow one keeps no other waiting."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._owner = owner_database(service.settings)
        self.due = DueCommands(service.engine, service.programs, service.lanes, service.lateness)
        self.sweep = Sweep(service.engine, service.programs, service.lanes)
        self.backfills = Backfills(service.engine, service.programs, service.lanes)
        self.closings = Closings(service.engine, service.programs, service.due_written.set)
        self.projector = Projector(service.engine, service.valkey, service.programs, service.board_metrics)

    def jobs(self) -> tuple[Job, ...]:
        return (
            Job("due", POLL_SECONDS, self.due.run, self._service.due_written),
            Job("sweep", SWEEP_SECONDS, self.sweep.run),
            Job("boards", POLL_SECONDS, self.projector.run, self._service.score_hints.scores_written),
            Job("inactive", UPKEEP_SECONDS, self._inactive),
            Job("closings", POLL_SECONDS, self._close_boards),
            Job("rank", RANK_SECONDS, self._rank),
            Job("backfill", BACKFILL_SECONDS, self.backfills.run),
            Job("upkeep", UPKEEP_SECONDS, self._upkeep),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Jobs run inside; leaving ends them between two batches and closes their connections."""
        tasks = [asyncio.create_task(_repeat(job), name=f"job-{job.name}") for job in self.jobs()]
        try:
            async with self._service.score_hints.listening():
                yield
        finally:
            await end(*tasks)
            await self.projector.close()
            await self._owner.dispose()

    async def run_due(self) -> None:
        """Runs everything that is due now, and what that makes due."""
        while await self.due.run() or await self.sweep.run():
            pass

    async def _inactive(self) -> int:
        await self.of_each(self.sweep.run_inactive)
        return 0

    async def _close_boards(self) -> int:
        return await self.of_each(self.closings.run)

    async def _rank(self) -> int:
        service = self._service
        await self.of_each(
            lambda program_id: rank_segments(service.engine, service.programs, service.lanes, program_id)
        )
        return 0

    async def of_each(self, work: Callable[[int], Awaitable[int]]) -> int:
        """What `work` comes to over all published programs. One that cannot be read keeps no other waiting."""
        done = 0
        for program_id in await published(self._service.engine):
            try:
                done += await work(program_id)
            except UNREADABLE as error:
                log.warning(
                    "program_unreadable",
                    program_id=program_id,
                    error=type(error).__name__,
                    exc_info=not isinstance(error, RewardsError),
                )
        return done

    async def _upkeep(self) -> int:
        now = datetime.now(UTC)
        settings = self._service.settings
        made = await transact(self._owner, lambda connection: ensure_partitions(connection, now))
        dropped = await transact(
            self._owner,
            lambda connection: drop_expired(
                connection,
                now,
                event_days=settings.event_retention_days,
                outbox_days=settings.outbox_retention_days,
            ),
        )
        taken_back = await transact(self._owner, forget_taken_back)
        forgotten = await transact(
            self._owner, lambda connection: forget_traces(connection, now, trace_days=settings.trace_retention_days)
        )
        results = await transact(
            self._owner, lambda connection: drop_results(connection, board_days=settings.board_retention_days)
        )
        jobs = await transact(
            self._owner, lambda connection: drop_jobs(connection, now, job_days=settings.job_retention_days)
        )
        await transact(self._service.engine, forget_expired_tokens)
        if made or dropped or taken_back or forgotten or results or jobs:
            log.info(
                "upkeep",
                partitions_made=made,
                partitions_dropped=dropped,
                taken_back_forgotten=taken_back,
                traces_forgotten=forgotten,
                results_dropped=results,
                jobs_dropped=jobs,
            )
        return taken_back + forgotten + results + jobs


async def published(engine: AsyncEngine) -> list[int]:
    """The programs that have a published version."""
    program = tables.program
    async with reading(engine) as connection:
        return list((await connection.execute(select(program.c.id).where(program.c.published.isnot(None)))).scalars())


async def _repeat(job: Job) -> None:
    while True:
        found = 0
        try:
            found = await job.run()
        except (RewardsError, DBAPIError, OSError) as error:
            # The database may be away: the job is tried again at its next turn.
            log.warning(
                "job_failed", job=job.name, error=type(error).__name__, exc_info=not isinstance(error, RewardsError)
            )
        except Exception:
            # A defect must not end the job for good and unheard.
            log.exception("job_defective", job=job.name)
        if found:
            continue
        if job.hurry is None:
            await asyncio.sleep(job.every_seconds)
            continue
        # Not `wait_for`: in Python 3.11 it loses a cancellation that comes at the moment at which it is hurried.
        with suppress(TimeoutError):
            async with asyncio.timeout(job.every_seconds):
                await job.hurry.wait()
        job.hurry.clear()
