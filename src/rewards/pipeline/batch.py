"""One batch: load, decide, then lock, check and write. All commands are of one program; each succeeds or fails by itself.

Nothing is locked while a batch reads and decides. Its one writing statement locks the members and writes only if they are still
as they were read; if not, the batch begins anew in a transaction that locks first. See docs/decisions/0025.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import UnknownCommit, is_data_error, sqlstate, transact, transact_at_once
from rewards.domain.commands import MergeOut
from rewards.domain.errors import RewardsError
from rewards.pipeline.attempt import ATTEMPTS_MAX, Attempt, BatchResult, Plan, StartOver, TooManyAttempts
from rewards.pipeline.counters import CLAIMS
from rewards.pipeline.dead_letters import keep_dead_letter
from rewards.pipeline.observing import BatchMetrics
from rewards.pipeline.programs import Programs
from rewards.pipeline.submission import Submission
from rewards.pipeline.write_batch import Outdated, Rows, Writes

log = structlog.get_logger()


class CannotStore(RewardsError):
    """The database refuses a value of this command. Nothing was changed."""

    code = "cannot-store"


class Batches:
    """Runs batches. `parts` is what the slices write, registered at the composition root."""

    def __init__(
        self,
        engine: AsyncEngine,
        programs: Programs,
        parts: Sequence[Rows],
        *,
        metrics: BatchMetrics,
        due_written: Callable[[], None] = lambda: None,
        scores_written: Callable[[], None] = lambda: None,
        moved: Callable[[Collection[UUID]], None] = lambda _: None,
    ) -> None:
        """`due_written` is called after a commit that left commands for other members, `scores_written` after one that
        changed what leaderboards show, and `moved` with the members that are elsewhere on boards since."""
        self._metrics = metrics
        self._due_written = due_written
        self._scores_written = scores_written
        self._moved = moved
        self._engine = engine
        self._programs = programs
        self._parts = tuple(parts)

    async def run(self, submissions: Sequence[Submission]) -> BatchResult:
        """Raises `StorageError` and `TooManyAttempts` when nothing was changed, and `UnknownCommit` when nobody can tell."""
        try:
            return await self._attempts(submissions)
        except DBAPIError as error:
            if not is_data_error(error):
                raise
            if len(submissions) == 1:
                # The driver's own words may quote the row, which is personal: the dead letter holds it, the log does not.
                log.error(  # noqa: TRY400
                    "command_cannot_be_stored", sqlstate=sqlstate(error), command=type(submissions[0].command).__name__
                )
                await keep_dead_letter(self._engine, submissions[0], sqlstate(error))
                return BatchResult({submissions[0]: CannotStore("a value of this command cannot be stored")}, [])
        middle = len(submissions) // 2
        first = await self.run(submissions[:middle])
        rest = [*first.deferred, *submissions[middle:]]
        try:
            second = await self.run(rest)
        except UnknownCommit:
            raise  # all of them are run again; the first half is found done
        except RewardsError as error:
            # The first half is committed, and its callers are told so.
            second = BatchResult(dict.fromkeys(rest, error), [])
        return BatchResult({**first.results, **second.results}, second.deferred)

    async def _attempts(self, submissions: Sequence[Submission]) -> BatchResult:
        plan = Plan(locks_first=any(isinstance(item.command, MergeOut) for item in submissions))
        for _ in range(ATTEMPTS_MAX):
            published = await self._programs.get(submissions[0].program_id)
            attempt = Attempt(published, submissions, plan, self._parts)
            # The clock of a sandbox is moved by hand, so that no time is long enough to wait.
            locks_first = plan.locks_first or published.sandbox
            try:
                with self._metrics.batch(len(submissions)):
                    if locks_first:
                        done = await transact(self._engine, attempt.run_locked)
                    else:
                        done = await transact_at_once(self._engine, attempt.run_at_once)
            except Outdated as outdated:
                self._metrics.outdated(outdated.check)
                plan.locks_first = True
                if outdated.check == CLAIMS:
                    plan.locked_counters = attempt.counter_keys
            except StartOver:
                if attempt.newer_revision:
                    await self._programs.refresh(published.program_id, at_least=attempt.newer_revision)
            except DBAPIError as error:
                if locks_first or not is_data_error(error):
                    raise
                plan.locks_first = True  # what was read without a lock may be to blame
            else:
                self._tell(attempt.writes)
                self._metrics.count(done.results)
                return done
        raise TooManyAttempts("the members or the program changed too often meanwhile")

    def _tell(self, written: Writes) -> None:
        outcomes = [decided.outcome for decided in written.decided if decided.outcome is not None]
        if any(outcome.legs for outcome in outcomes):
            self._due_written()
        if any(outcome.scores for outcome in outcomes):
            self._scores_written()
        moved = {outcome.state.id for outcome in outcomes if outcome.elsewhere}
        if moved:
            self._moved(moved)
