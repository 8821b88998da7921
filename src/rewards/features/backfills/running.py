"""Working backfills off: members in key order, a page at a time, each a command like any other.

A page is counted once it is done whole, from where it began. Killed in between, it is sent again: who had a turn is known by
the command's key and answers as the first time. Members are decided in the lanes like everybody's commands, beside live traffic.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import StorageError, reading, transact
from rewards.domain.commands import Backfill, MemberRef
from rewards.domain.errors import MemberErased, RewardsError
from rewards.features.backfills import queries
from rewards.features.backfills.runs import START, Named, Run, encoded, named
from rewards.pipeline.attempt import TooManyAttempts
from rewards.pipeline.lanes import Lanes, Overloaded, ShuttingDown
from rewards.pipeline.load import rows
from rewards.pipeline.programs import UNREADABLE, Programs
from rewards.pipeline.settling import all_written
from rewards.pipeline.submission import Result, Submission

log = structlog.get_logger("rewards.worker")

PAGE_MEMBERS: Final = 50
AT_ONCE_FIRST: Final = 4
TURN_SECONDS: Final = 0.05
"""For so long live traffic in the same lanes may wait. A member may have thousands of events to count, or none."""
POSTPONED: Final = (StorageError, Overloaded, ShuttingDown, TooManyAttempts)
"""Nothing is wrong with the member: the page is sent again."""
TRIES_MAX: Final = 20
"""How often a page is sent for members of whom nothing but too many attempts is heard."""


@dataclass(frozen=True, slots=True)
class Backfills:
    """Moves every running backfill on by a page. Several may do so at once."""

    engine: AsyncEngine
    programs: Programs
    lanes: Lanes

    async def run(self) -> int:
        """How many members were seen to; zero when nothing is left to do, or the service is too busy for it."""
        async with reading(self.engine) as connection:
            found = await rows(connection, queries.RUNNING, None)
        return sum([await self._watched(named(row.program_id, row)) for row in found])

    async def _watched(self, work: Named) -> int:
        try:
            run = await self.step(work)
        except UNREADABLE as error:
            log.warning("program_unreadable", program_id=work.program_id, error=type(error).__name__)
            return 0
        if run is None:
            log.warning("backfill_postponed", backfill=str(work.id))
            return 0
        if run.state == "done":
            log.info("backfill_done", backfill=str(work.id), members=run.done, changed=run.changed, failed=run.failed)
        return run.done - work.run.done

    async def step(self, work: Named) -> Run | None:
        """The next page of one backfill, and its end when that was the last; None when the service is too busy for it."""
        if work.run.cursor == START and not await all_written(self.engine, await self.programs.get(work.program_id)):
            return None  # a member that the version before is making would have no turn
        async with reading(self.engine) as connection:
            page = await rows(connection, queries.MEMBERS_PAGE, work.program_id, *work.run.cursor, PAGE_MEMBERS)
        try:
            results = await self._submit(work, page)
        except POSTPONED:
            return None
        held_up = [result for result in results if isinstance(result, POSTPONED)]
        if held_up and not _given_up(work.run, held_up):
            await self._move_on(work, replace(work.run, tries=work.run.tries + 1))
            return None
        run = replace(_counted(work.run, results), tries=0)
        if page:
            run = replace(run, cursor=(page[-1].bucket, page[-1].member_id))
        if len(page) < PAGE_MEMBERS:
            run = replace(run, state="done", finished_at=datetime.now(UTC))
        await self._move_on(work, run)
        return run

    async def _submit(self, work: Named, page: Sequence[Any]) -> list[Result]:
        if not page:
            return []
        identity = (await self.programs.get(work.program_id)).identity
        command = Backfill(tuple(work.run.metrics.values()), work.run.announce, work.run.rewards)
        submissions = [
            # The member is known by its row alone.
            Submission(
                work.program_id,
                MemberRef("user", ""),
                row.member_id,
                identity.job_member(work.id, row.member_id),
                b"",
                command,
                actor=work.run.actor,
            )
            for row in page
        ]
        results: list[Result] = []
        at_once = AT_ONCE_FIRST
        while len(results) < len(submissions):
            began = time.perf_counter()
            results += await self.lanes.submit_all(submissions[len(results) : len(results) + at_once])
            at_once = next_at_once(at_once, time.perf_counter() - began)
        return results

    async def _move_on(self, work: Named, run: Run) -> None:
        cursor = msgspec.json.encode(work.run.cursor).decode()

        arguments = (work.program_id, work.job, cursor, encoded(run))
        await transact(self.engine, lambda connection: connection.exec_driver_sql(queries.MOVE_ON, arguments))


def next_at_once(members: int, seconds: float) -> int:
    """How many members to send next, when these took so long: one at a time where even that is long."""
    if seconds <= TURN_SECONDS / 2:
        return members * 2
    return members if seconds <= TURN_SECONDS else max(1, int(members * TURN_SECONDS / seconds))


def _given_up(run: Run, held_up: Sequence[Result]) -> bool:
    """Whether it is not the service that is busy, but members that cannot be decided: these fail, and the others go on."""
    return run.tries >= TRIES_MAX and all(isinstance(each, TooManyAttempts) for each in held_up)


def _counted(run: Run, results: Sequence[Result]) -> Run:
    """With what became of a page. Whoever was erased meanwhile has nothing to fill in."""
    done = failed = changed = achieved = 0
    for result in results:
        if isinstance(result, RewardsError):
            failed += not isinstance(result, MemberErased)
            continue
        done += 1
        changed += result.answer.get("events", 0) > 0
        achieved += result.answer.get("achieved", 0)
    return replace(
        run,
        done=run.done + len(results),
        failed=run.failed + failed,
        changed=run.changed + changed,
        achieved=run.achieved + achieved,
    )
