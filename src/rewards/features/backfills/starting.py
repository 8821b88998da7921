"""Starting a backfill: which metrics are new, and whether what they would count is still recorded."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from pydantic import ValidationError
from sqlalchemy import func, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.tables import audit
from rewards.db.transact import reading, transact
from rewards.domain.errors import IdentityConflict, InvalidInput, Refusal
from rewards.domain.ids import uuid8
from rewards.domain.program.metric_ids import metric_ids
from rewards.domain.program.models.document import Document
from rewards.domain.program.problems import nearest
from rewards.features.backfills import queries
from rewards.features.backfills.runs import Named, Run, encoded, job_name, named
from rewards.pipeline.load import rows
from rewards.pipeline.programs import Programs, Published

LISTED_MAX: Final = 100


class BackfillRunning(Refusal):
    """Another backfill of the program is at work. `details`: backfill."""

    code = "backfill-running"


class NothingToBackfill(Refusal):
    """The published version has no new metric that recorded events count for, and nothing else that follows from metrics."""

    code = "nothing-to-backfill"


class CountedLonger(Refusal):
    """The metric has counted for longer than events are kept: counting it anew would lose some. `details`: metrics."""

    code = "counted-longer-than-recorded"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. `metrics` None: those that are new in the published version."""

    metrics: tuple[str, ...] | None
    announce: bool
    rewards: bool


@dataclass(frozen=True, slots=True)
class Starter:
    """`kept_days` is how long events are kept."""

    engine: AsyncEngine
    programs: Programs
    kept_days: int

    async def start(self, program_id: int, wish: Wish, *, key: str, actor: str) -> tuple[Named, bool]:
        """The backfill, and whether it was there before: the same `key` is the same backfill.

        Raises `IdentityConflict` where the key stands for another one, `InvalidInput` for an unknown metric,
        `BackfillRunning`, `NothingToBackfill`, `CountedLonger`.
        """
        published = await self._published(program_id)
        identifier = published.identity.job("backfill", key)
        if (found := await self.find(program_id, identifier)) is not None:
            return _same(found, wish), True
        metrics = await self._metrics(published, wish)

        async def store(connection: AsyncConnection) -> Named:
            await connection.exec_driver_sql("SELECT 1 FROM program WHERE id = $1 FOR UPDATE", (program_id,))
            for row in await rows(connection, queries.RUNNING, program_id):
                other = named(program_id, row)
                if other.id != identifier:
                    raise BackfillRunning(f"the backfill {other.id} is at work", backfill=str(other.id))
            [count] = await rows(connection, queries.COUNT_MEMBERS, program_id)
            [clock] = await rows(connection, "SELECT now() AS now")
            version = published.program.version
            run = Run("running", metrics, wish.announce, wish.rewards, actor, count.count, clock.now, version)
            await connection.exec_driver_sql(queries.START, (program_id, job_name(identifier), encoded(run)))
            told = {"metrics": sorted(metrics), "announce": wish.announce, "rewards": wish.rewards}
            await _audit(connection, program_id, actor, "backfill.started", identifier, told)
            return Named(identifier, program_id, run)

        return await transact(self.engine, store), False

    async def at_work(self, program_id: int) -> Named | None:
        """The one that is running; None when none is."""
        async with reading(self.engine) as connection:
            found = await rows(connection, queries.RUNNING, program_id)
        return named(program_id, found[0]) if found else None

    async def is_asked_for(self, found: Named, wish: Wish) -> bool:
        """Whether a backfill does what is wished for: the same metrics as the version that decides now has them, in the same way.

        Raises `InvalidInput` for an unknown metric.
        """
        published = await self._published(found.program_id)
        wanted = _wanted(published, wish, await self._counted(published))
        run = found.run
        return (run.metrics, run.announce, run.rewards) == (wanted, wish.announce, wish.rewards)

    async def find(self, program_id: int, identifier: UUID) -> Named | None:
        """How far it is; None when the program has no such backfill."""
        async with reading(self.engine) as connection:
            found = await rows(connection, queries.READ, program_id, job_name(identifier))
        return named(program_id, found[0]) if found else None

    async def every(self, program_id: int) -> list[Named]:
        """The backfills of a program, the newest first, at most `LISTED_MAX`."""
        async with reading(self.engine) as connection:
            found = await rows(connection, queries.LIST, program_id, LISTED_MAX)
        return [named(program_id, row) for row in found]

    async def cancel(self, program_id: int, identifier: UUID, *, actor: str) -> Named | None:
        """Ends one that is at work; what it has done stays. One that has ended stays as it is."""

        async def store(connection: AsyncConnection) -> None:
            if await rows(connection, queries.CANCEL, program_id, job_name(identifier)):
                await _audit(connection, program_id, actor, "backfill.cancelled", identifier, {})

        await transact(self.engine, store)
        return await self.find(program_id, identifier)

    async def _published(self, program_id: int) -> Published:
        """The version that decides now, whichever this process knows. Raises `NothingPublished`."""
        async with reading(self.engine) as connection:
            [program] = await rows(connection, queries.REVISION, program_id)
        return await self.programs.refresh(program_id, at_least=program.revision)

    async def _counted(self, published: Published) -> Sequence[tuple[Any, set[str]]]:
        """The versions that have decided at some time, the newest first, each with the ids of its metrics."""
        async with reading(self.engine) as connection:
            versions = await rows(connection, queries.VERSIONS, published.program_id)
        return [(row, await asyncio.to_thread(_ids_of, row.document)) for row in versions]

    async def _metrics(self, published: Published, wish: Wish) -> dict[str, str]:
        """The ids of the metrics to fill in, by key."""
        program = published.program
        counted = await self._counted(published)
        # What tiers count of the points earned, without any events, is in the ledger for good.
        kept = {metric.id for metric in program.metrics.values() if not metric.events}
        wanted = _wanted(published, wish, counted)
        if not wanted and not program.mechanics:
            raise NothingToBackfill(
                "there is no new metric that recorded events count for, and nothing else that follows from metrics"
            )
        for row, ids in counted:
            longer = sorted(key for key, metric_id in wanted.items() if metric_id in ids - kept)
            if longer and row.created_at < row.now - timedelta(days=self.kept_days):
                raise CountedLonger(
                    f"{', '.join(longer)} may have counted since {row.created_at:%Y-%m-%d}, and events are kept for"
                    f" {self.kept_days} days",
                    metrics=longer,
                )
        return wanted


def _wanted(published: Published, wish: Wish, counted: Sequence[tuple[Any, set[str]]]) -> dict[str, str]:
    """The ids of the metrics by key: those named, else those that the version before did not have (none in the first one)."""
    program = published.program
    # What only the service raises is not recorded by itself, so it could not be counted anew.
    known = {key: metric.id for key, metric in program.metrics.items() if metric.events <= program.events.keys()}
    if wish.metrics is not None:
        return {key: known[_known(key, known)] for key in wish.metrics}
    before = next((ids for row, ids in counted if row.number < program.version), set(known.values()))
    return {key: metric_id for key, metric_id in known.items() if metric_id not in before}


def _ids_of(document: Any) -> set[str]:
    """The metrics of a stored version; none where it is of an older grammar."""
    plain = msgspec.json.decode(document) if isinstance(document, str | bytes) else document
    try:
        return set(metric_ids(Document.model_validate(plain)).values())
    except ValidationError:
        return set()


def _known(key: str, known: Mapping[str, str]) -> str:
    if key in known:
        return key
    near = nearest(key, known)
    hint = f"; did you mean {near}?" if near else ""
    raise InvalidInput(
        f"{key!r} is no metric that recorded events count for{hint}",
        path="metrics",
        expected=f"one of {', '.join(sorted(known))}" if known else "a program with metrics",
    )


def _same(found: Named, wish: Wish) -> Named:
    """Raises `IdentityConflict` where another backfill was asked for under the key."""
    run = found.run
    if (run.announce, run.rewards) != (wish.announce, wish.rewards) or (
        wish.metrics is not None and set(wish.metrics) != set(run.metrics)
    ):
        raise IdentityConflict(
            "this Idempotency-Key was used before for another backfill; nothing was changed. "
            "Another backfill needs another key"
        )
    return found


async def _audit(
    connection: AsyncConnection, program_id: int, actor: str, action: str, target: UUID, details: dict[str, Any]
) -> None:
    await connection.execute(
        insert(audit).values(
            id=uuid8(time.time_ns() // 1_000_000, 0, secrets.randbits(66)),
            program_id=program_id,
            actor=actor,
            action=action,
            target=f"backfill:{target}",
            details=details,
            recorded_at=func.now(),
        )
    )
