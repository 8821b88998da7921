"""One batch: lock, load, decide, write, commit. All commands are of one program; each succeeds or fails by itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import StorageError, UnknownCommit, is_data_error, sqlstate, transact
from rewards.domain.apply import apply
from rewards.domain.commands import OF_THE_MERGED, Event, MergeOut
from rewards.domain.errors import Refusal, RewardsError
from rewards.domain.ids import Ids, unix_ms
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.outcome import Outcome, Status
from rewards.domain.state import MemberState
from rewards.pipeline.counters import CountersShort, candidate_keys, claim, read_counters
from rewards.pipeline.dead_letters import keep_dead_letter
from rewards.pipeline.dedup import Seen, check_same, is_decided, keys_of, repeat_of, seen_before, stored_receipts
from rewards.pipeline.forwarding import paths, settled
from rewards.pipeline.load import Clock, delete_members, insert_members, load_more, load_wallets, lock_members
from rewards.pipeline.observing import BatchMetrics
from rewards.pipeline.programs import Programs, Published
from rewards.pipeline.submission import Decided, Receipt, Submission
from rewards.pipeline.write_batch import Rows, Writes, write

log = structlog.get_logger()

ATTEMPTS_MAX: Final = 8
"""How often one batch may start over: for new members, merges, a new program version, short budgets."""
UNLOADED_MAX: Final = 128
"""How often one command may ask for more: each time for something new, and what waited may ask for a hundred references."""

Result: TypeAlias = Receipt | RewardsError


class StartOver(Exception):
    """The batch rolls back and begins again knowing more."""


class CannotStore(RewardsError):
    """The database refuses a value of this command. Nothing was changed."""

    code = "cannot-store"


class InternalError(RewardsError):
    """A defect of the service, logged with its cause. Nothing was changed."""

    code = "internal-error"


class TooManyAttempts(RewardsError):
    """The batch had to start over too often. Nothing was changed; try again."""

    code = "database-busy"


@dataclass(slots=True)
class _Plan:
    """What a batch has learned from its earlier attempts."""

    missing: list[Submission] = field(default_factory=list)
    locked_counters: frozenset[str] = frozenset()


@dataclass(slots=True)
class BatchResult:
    """`deferred` are commands that need what an earlier one of the batch is about to write: they go first in the next batch."""

    results: dict[Submission, Result]
    deferred: list[Submission]


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
    ) -> None:
        """`due_written` is called after a commit that left commands for other members, `scores_written` after one that
        changed what leaderboards show."""
        self._metrics = metrics
        self._due_written = due_written
        self._scores_written = scores_written
        self._engine = engine
        self._programs = programs
        self._parts = tuple(parts)

    async def run(self, submissions: Sequence[Submission]) -> BatchResult:
        """Raises `StorageError` when nothing was changed or, as `UnknownCommit`, nobody can tell."""
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
        except StorageError as error:
            # The first half is committed, and its callers are told so.
            second = BatchResult(dict.fromkeys(rest, error), [])
        return BatchResult({**first.results, **second.results}, second.deferred)

    async def _attempts(self, submissions: Sequence[Submission]) -> BatchResult:
        plan = _Plan()
        for _ in range(ATTEMPTS_MAX):
            published = await self._programs.get(submissions[0].program_id)
            attempt = _Attempt(published, submissions, plan, self._parts)
            try:
                with self._metrics.batch(len(submissions)):
                    done = await transact(self._engine, attempt.run)
            except CountersShort as short:
                plan.locked_counters = attempt.counter_keys | short.keys
            except StartOver:
                if attempt.newer_revision:
                    await self._programs.refresh(published.program_id, at_least=attempt.newer_revision)
            else:
                if any(decided.outcome is not None and decided.outcome.legs for decided in attempt.writes.decided):
                    self._due_written()
                if any(decided.outcome is not None and decided.outcome.scores for decided in attempt.writes.decided):
                    self._scores_written()
                self._metrics.count(done.results)
                return done
        raise TooManyAttempts("the members or the program changed too often meanwhile")


class _Attempt:
    """One transaction's worth. Made anew for every try, so that nothing of a rolled-back one survives but the plan."""

    def __init__(
        self, published: Published, submissions: Sequence[Submission], plan: _Plan, parts: Sequence[Rows]
    ) -> None:
        self.published = published
        self.submissions = submissions
        self.plan = plan
        self.parts = parts
        self.newer_revision = 0
        self.counter_keys: frozenset[str] = frozenset()
        self.made: set[UUID] = set()

    async def run(self, connection: AsyncConnection) -> BatchResult:
        self.results: dict[Submission, Result] = {}
        self.deferred: list[Submission] = []
        self.writes = Writes(self.published.program_id, self.published.program, self.published.identity)
        await self._load(connection)
        await self._decide_all(connection)
        reservations = [
            claimed for done in self.writes.decided if done.outcome for claimed in done.outcome.reservations
        ]
        await claim(connection, self.published.program_id, reservations)
        if untouched := self.made - self._touched():
            await delete_members(connection, self.published.program_id, untouched)
        await write(connection, self.parts, self.writes)
        return BatchResult(self.results, self.deferred)

    def _touched(self) -> set[UUID]:
        """The members of whom something is kept. One whose only commands were wrong or refused stays unknown: that a
        command was refused is kept under its key."""
        submissions = [decided.submission for decided in self.writes.decided if decided.outcome is not None]
        into = {item.command.into_id for item in submissions if isinstance(item.command, MergeOut)}
        return into.union(item.row_id for item in submissions)

    async def _load(self, connection: AsyncConnection) -> None:
        program_id = self.published.program_id
        # A merge makes the member that it goes to: commands for the one that goes must find a row there at once.
        merges = [item for item in self.submissions if isinstance(item.command, MergeOut)]
        if self.plan.missing or merges:
            self.made = await insert_members(connection, program_id, [*self.plan.missing, *merges])
        wanted = {item.row_id for item in self.submissions}
        merging = await self._merge_paths(connection, merges) if merges else set()
        self.states = await lock_members(connection, program_id, sorted(wanted | merging))
        missing = [item for item in self.submissions if item.row_id not in self.states]
        if missing:
            self.plan.missing = missing
            raise StartOver
        if any(self.states[member].merged_into not in {None, *merging} for member in merging):
            raise StartOver  # the end of a path was merged while we waited for its lock
        await self._forward_merged(connection)
        complete = frozenset(item.row_id for item in self.submissions if item.lots_needed)
        self.clock: Clock = await load_wallets(
            connection, program_id, self.states, complete=complete, keys=keys_of(self.submissions)
        )
        if self.clock.revision != self.published.revision:
            self.newer_revision = self.clock.revision
            raise StartOver
        self.seen = await seen_before(connection, program_id, self.submissions) if self.clock.seen else {}
        moments = {self.clock.now}
        moments.update(
            item.command.occurred_at
            for item in self.submissions
            if isinstance(item.command, Event) and item.command.occurred_at
        )
        self.counter_keys = candidate_keys(self.published.program, moments) | self.plan.locked_counters
        self.counters = await read_counters(
            connection, program_id, self.counter_keys, lock=bool(self.plan.locked_counters)
        )

    async def _merge_paths(self, connection: AsyncConnection, merges: list[Submission]) -> set[UUID]:
        """Where merges lead is locked with the rest, so that no two of them can make a circle."""
        ends = {item.row_id for item in merges}
        ends.update(item.command.into_id for item in merges if isinstance(item.command, MergeOut))
        found = await paths(connection, self.published.program_id, ends)
        return {member for path in found.values() for member in path}

    async def _forward_merged(self, connection: AsyncConnection) -> None:
        """Commands for a member that was merged go to the one that it has become by now."""
        moved = [
            item
            for item in self.submissions
            if self.states[item.row_id].merged_into is not None and not isinstance(item.command, OF_THE_MERGED)
        ]
        if moved:
            found = await paths(connection, self.published.program_id, {item.row_id for item in moved})
            for item in moved:
                item.forward(found[item.row_id])
            raise StartOver

    async def _decide_all(self, connection: AsyncConnection) -> None:
        first: dict[tuple[UUID, UUID], Decided] = {}
        repeats: dict[Submission, Seen] = {}
        blocked: set[UUID] = set()
        for item in self.submissions:
            # After its merge earlier in this batch a member's commands go where it went, which the next batch finds out.
            moved = self.states[item.row_id].merged_into is not None and not isinstance(item.command, OF_THE_MERGED)
            if item.row_id in blocked or moved:
                self.deferred.append(item)
                continue
            identity = (item.member_id, item.key) if item.key is not None else None
            try:
                seen = self.seen.get(item)
                if seen is not None and is_decided(item, seen):
                    check_same(item, seen.fingerprint)
                    repeats[item] = seen
                    continue
                if identity is not None and identity in first:
                    check_same(item, first[identity].submission.fingerprint)
                    self.results[item] = repeat_of(first[identity].receipt)
                    continue
                decided = await self._decide(connection, item)
            except Unloaded:
                blocked.add(item.row_id)
                self.deferred.append(item)
                continue
            except RewardsError as error:
                self.results[item] = error
                continue
            self.results[item] = decided.receipt
            self.writes.add(decided)
            if identity is not None:
                first[identity] = decided
        if repeats:
            self.results.update(await stored_receipts(connection, self.published.program_id, repeats))
            self._settle_repeats(repeats)

    def _settle_repeats(self, repeats: dict[Submission, Seen]) -> None:
        """A command that came due and turns out to have run already only loses its `due` row."""
        for item in repeats:
            receipt = self.results[item]
            if item.due is not None and isinstance(receipt, Receipt):
                self.writes.add(Decided(item, receipt))

    async def _decide(self, connection: AsyncConnection, item: Submission) -> Decided:
        """Raises `Unloaded` when the facts needed are still waiting to be written by this very batch."""
        key = item.key.bytes if item.key is not None else secrets.token_bytes(16)
        for _ in range(UNLOADED_MAX):
            state = self.states[item.row_id]
            ids = Ids(key, bucket=state.bucket, unix_ms=unix_ms(self.clock.wall), seq=state.seq)
            try:
                command = item.command
                if isinstance(command, MergeOut):
                    command = settled(command, state, self.states)
                outcome = apply(
                    self.published.program,
                    state,
                    command,
                    now=self.clock.now,
                    ids=ids,
                    counters=self.counters,
                    actor=item.actor,
                )
            except Unloaded as wanted:
                await self._load_more(connection, item, state, wanted)
                continue
            except Refusal as refusal:
                if item.due is not None:
                    raise  # nobody waits for the answer: the command stays where people find it, and its points with it
                return self._refused(item, refusal, ids)
            except RewardsError:
                raise
            except Exception as defect:
                # Deciding is pure, so whatever broke concerns this command alone: the others of its batch go on.
                log.exception("deciding_failed", command=type(item.command).__name__, member=str(item.row_id))
                raise InternalError("the command could not be decided; nothing was changed") from defect
            return self._accepted(item, outcome)
        raise TooManyAttempts("deciding this command needs too much that is not loaded")

    async def _load_more(
        self, connection: AsyncConnection, item: Submission, state: MemberState, wanted: Unloaded
    ) -> None:
        if wanted.counter is not None:
            more = frozenset({wanted.counter})
            self.counter_keys |= more
            self.counters.update(
                await read_counters(connection, item.program_id, more, lock=bool(self.plan.locked_counters))
            )
            return
        if item.row_id in self.writes.members:
            raise wanted
        await load_more(connection, item.program_id, state, wanted, identity=self.published.identity, clock=self.clock)

    def _accepted(self, item: Submission, outcome: Outcome) -> Decided:
        self.states[item.row_id] = outcome.state
        for reservation in outcome.reservations:
            self.counters[reservation.key] = self.counters.get(reservation.key, 0) + reservation.amount
        receipt = Receipt(outcome.status, outcome.answer, trace=outcome.trace)
        stored = item.key is not None
        return Decided(item, receipt, outcome, entry_id=outcome.id if stored else None)

    def _refused(self, item: Submission, refusal: Refusal, ids: Ids) -> Decided:
        """A business refusal is an answer: it is kept with the key and replayed."""
        kept = {"code": refusal.code, "message": refusal.message, "details": refusal.details}
        receipt = Receipt(Status.REJECTED, {}, refusal=kept)
        return Decided(item, receipt, entry_id=ids.next() if item.key is not None else None)
