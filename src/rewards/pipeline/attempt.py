"""One attempt at a batch: load, decide, write. Without a lock until it writes, or in a transaction that locks first.

See docs/decisions/0025.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.driver import fetch
from rewards.db.transact import committing_statement
from rewards.domain.apply import apply
from rewards.domain.commands import OF_THE_MERGED, Event, MergeOut
from rewards.domain.errors import Refusal, RewardsError
from rewards.domain.ids import Ids, unix_ms
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.outcome import Outcome, Status
from rewards.domain.state import MemberState
from rewards.pipeline.counters import candidate_keys, read_counters
from rewards.pipeline.dedup import Seen, check_same, is_decided, keys_of, repeat_of, seen_before, stored_receipts
from rewards.pipeline.forwarding import paths, settled
from rewards.pipeline.load import load_members, load_more, lock_members, unknown_member
from rewards.pipeline.programs import Published
from rewards.pipeline.submission import Decided, Receipt, Result, Submission
from rewards.pipeline.write_batch import MEMBERS_CHECK, Basis, Outdated, Rows, Send, Writes, write

log = structlog.get_logger()

DECIDED_SECONDS_MAX: Final = 1.0
"""How long after it was read without a lock a member may still be written. Who waits for all that was decided before some
moment waits so long, and then for the transactions under way."""
ATTEMPTS_MAX: Final = 8
"""How often one batch may start over: for changed members, merges, a new program version, short budgets."""
UNLOADED_MAX: Final = 128
"""How often one command may ask for more: each time for something new, and what waited may ask for a hundred references."""


class StartOver(Exception):
    """The batch rolls back and begins again knowing more."""


class InternalError(RewardsError):
    """A defect of the service, logged with its cause. Nothing was changed."""

    code = "internal-error"


class TooManyAttempts(RewardsError):
    """The batch had to start over too often. Nothing was changed; try again."""

    code = "database-busy"


@dataclass(slots=True)
class Plan:
    """What a batch has learned from its earlier attempts."""

    locks_first: bool = False
    locked_counters: frozenset[str] = frozenset()


@dataclass(slots=True)
class BatchResult:
    """`deferred` are commands that need what an earlier one of the batch is about to write: they go first in the next batch."""

    results: dict[Submission, Result]
    deferred: list[Submission]


class Attempt:
    """Made anew for every try, so that nothing of a rolled-back one survives but the plan."""

    def __init__(
        self, published: Published, submissions: Sequence[Submission], plan: Plan, parts: Sequence[Rows]
    ) -> None:
        self.published = published
        self.submissions = submissions
        self.plan = plan
        self.parts = parts
        self.newer_revision = 0
        self.counter_keys: frozenset[str] = frozenset()

    async def run_at_once(self, connection: AsyncConnection) -> BatchResult:
        """Reads and decides without a lock; what it writes commits by itself."""
        self.locked = False
        await self._load(connection, {item.row_id for item in self.submissions})
        await self._decide_all(connection)
        until = self.clock.wall + timedelta(seconds=DECIDED_SECONDS_MAX)
        await self._write(connection, until, committing_statement)
        return BatchResult(self.results, self.deferred)

    async def run_locked(self, connection: AsyncConnection) -> BatchResult:
        """One transaction that locks the members first, then the counters of budgets that were short."""
        self.locked = True
        wanted = {item.row_id for item in self.submissions}
        merges = [item for item in self.submissions if isinstance(item.command, MergeOut)]
        merging = await self._merge_paths(connection, merges) if merges else set()
        locked = await lock_members(connection, self.published.program_id, wanted | merging)
        await self._load(connection, wanted | merging, locked=locked)
        if any(self.states[member].merged_into not in {None, *merging} for member in merging):
            raise StartOver  # the end of a path was merged while we waited for its lock
        await self._decide_all(connection)
        await self._write(connection, None, fetch)
        return BatchResult(self.results, self.deferred)

    async def run_dry(self, connection: AsyncConnection) -> BatchResult:
        """Decides and writes nothing. `connection` is a snapshot, in which all that is read fits together, as under locks."""
        self.locked = True
        await self._load(connection, {item.row_id for item in self.submissions})
        await self._decide_all(connection)
        return BatchResult(self.results, self.deferred)

    async def _write(self, connection: AsyncConnection, until: datetime | None, send: Send) -> None:
        """Where nothing is written, what callers are told is checked all the same; only answers given before stand by themselves."""
        repeated = all(isinstance(result, Receipt) and result.replayed for result in self.results.values())
        if self.writes.decided or not repeated:
            await write(connection, self.parts, self.writes, Basis(self.loaded.versions, until), send=send)

    async def _load(self, connection: AsyncConnection, members: set[UUID], *, locked: int | None = None) -> None:
        """`locked` is how many of the members were locked before; None where nothing is."""
        self.results: dict[Submission, Result] = {}
        self.deferred: list[Submission] = []
        program_id = self.published.program_id
        keys = keys_of(self.submissions)
        complete = frozenset(item.row_id for item in self.submissions if item.lots_needed)
        self.loaded = await load_members(connection, program_id, members, complete=complete, keys=keys)
        self.states, self.clock = self.loaded.states, self.loaded.clock
        if self.clock.revision != self.published.revision:
            self.newer_revision = self.clock.revision
            raise StartOver
        if locked is not None and locked < len(self.states):
            raise StartOver  # one was made since: it would be locked after the counters, whose order is the other way
        unknown = self._add_unknown()
        self.writes = Writes(program_id, self.published.program, self.published.identity, unknown=unknown)
        await self._forward_merged(connection)
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

    def _add_unknown(self) -> frozenset[UUID]:
        """Who is not known yet begins with nothing; also whom a merge makes, the member that it goes to."""
        refs = {item.row_id: item.ref for item in self.submissions}
        for item in self.submissions:
            if isinstance(item.command, MergeOut):
                refs.setdefault(item.command.into_id, item.command.into)
        unknown = [member for member in refs if member not in self.states]
        self.states.update((member, unknown_member(member, refs[member])) for member in unknown)
        return frozenset(unknown)

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
                if not self.locked:  # then what was read in several statements may not fit together
                    raise Outdated(MEMBERS_CHECK) from defect
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
            if self.plan.locked_counters:
                self.plan.locked_counters |= more
                raise StartOver  # counters are locked all at once, in the order of their keys
            self.counter_keys |= more
            self.counters.update(await read_counters(connection, item.program_id, more, lock=False))
            return
        if item.row_id in self.writes.members:
            raise wanted
        await load_more(connection, item.program_id, state, wanted, identity=self.published.identity, clock=self.clock)

    def _accepted(self, item: Submission, outcome: Outcome) -> Decided:
        self.states[item.row_id] = outcome.state
        if isinstance(item.command, MergeOut) and item.command.into_id in self.writes.unknown:
            # Commands for the one that goes must find a row there at once.
            self.writes.members.setdefault(item.command.into_id, self.states[item.command.into_id])
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
