"""Members in memory, loaded and stored as the pipeline does with PostgreSQL: the ground of tests, simulations and replays.

One command sees exactly what it would see in a batch of its own: the lots that have fallen due, all open ones where the
event may spend, and whatever else deciding asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from heapq import heappop, heappush
from typing import Any, Final
from uuid import UUID

from rewards.domain import refunding
from rewards.domain.apply import apply
from rewards.domain.commands import (
    OF_THE_MERGED,
    Capture,
    Command,
    Due,
    Event,
    MemberRef,
    MergeIn,
    MergeOut,
    PlaceHold,
    Release,
    Reverse,
    ReverseReference,
    Spend,
)
from rewards.domain.errors import RewardsError
from rewards.domain.ids import Ids, bucket_of, unix_ms
from rewards.domain.ledger.accounts import Hold, Kind, Lot, Transaction
from rewards.domain.ledger.reverse import CLAWED_BACK, REFUNDED, Original
from rewards.domain.ledger.upkeep import lot_due_at
from rewards.domain.ledger.wallet import Unloaded, Wallet
from rewards.domain.outcome import Leg, Outcome, Status
from rewards.domain.play.closing import OpenPeriods
from rewards.domain.play.questing import sending
from rewards.domain.play.recounting import metric_of
from rewards.domain.program.compiled import Program
from rewards.domain.recorded import (
    HISTORY_EVENTS_MAX,
    Earned,
    History,
    PastEarning,
    Recorded,
    Wanted,
    WantedEarnings,
)
from rewards.domain.state import MemberState

UNLOADED_MAX: Final = 128
"""How often one command may ask for more before it is given up as a defect."""
_TAKES_LOTS: Final = (Spend, PlaceHold, Capture, Release, Reverse, ReverseReference, MergeIn, MergeOut)
_PARTS: Final = ("amount", "pending", "available", "held", "redeemed", "expired", "revoked", "sent")


class Remember(Enum):
    """Which transactions are kept, to be taken back or matured later."""

    ALL = "all"
    REFERENCED = "referenced"
    NOTHING = "nothing"


@dataclass(slots=True, eq=False)
class Member:
    """One member's rows. `due_at` is the earliest moment at which a lot matures or expires, `wake_at` when to look anew."""

    state: MemberState
    commands: int = 0
    due_at: datetime | None = None
    wake_at: datetime | None = None
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    originals: dict[UUID, Original] = field(default_factory=dict)
    references: dict[str, list[UUID]] = field(default_factory=dict)
    events: dict[UUID, Recorded] = field(default_factory=dict)

    def load(self, now: datetime, *, complete: bool) -> MemberState:
        """The state with what a command at `now` finds in the wallet."""
        state = self.state
        accounts = state.wallet.accounts
        if not accounts:
            state.wallet = Wallet()  # no account, hence no lot
        elif complete or state.wallet.lots or state.wallet.complete or self.holds or self._is_due(now):
            lots = {
                key: lot
                for key, lot in (self.lots.items() if complete or self._is_due(now) else ())
                if lot.open and (complete or _due_by(lot, now))
            }
            holds = {key: hold for key, hold in self.holds.items() if hold.remaining}
            state.wallet = Wallet(accounts, lots, holds, complete=complete)
        return state

    def _is_due(self, now: datetime) -> bool:
        return self.due_at is not None and self.due_at <= now

    def supply(self, wanted: Unloaded) -> None:
        """What deciding found missing, put into the state."""
        state = self.state
        wallet = state.wallet
        if wanted.lots:
            for key, lot in self.lots.items():
                if lot.open:
                    wallet.lots.setdefault(key, lot)
            wallet.complete = True
        if wanted.hold is not None:
            if wanted.hold in self.holds:
                wallet.holds[wanted.hold] = self.holds[wanted.hold]
            else:
                state.absent.add(wanted.hold)
        if wanted.reference is not None:
            carrying = tuple(self.references.get(wanted.reference, ()))
            state.references[wanted.reference] = carrying
            self._supply_originals(carrying)
        if wanted.transaction is not None:
            self._supply_originals((wanted.transaction,))
        if wanted.event is not None:
            if wanted.event in self.events:
                state.recorded[wanted.event] = self._with_reversals(self.events[wanted.event])
            else:
                state.absent.add(wanted.event)
        if wanted.history is not None:
            state.histories[wanted.history] = self._history(wanted.history)
        if wanted.earnings is not None:
            state.past_earnings[wanted.earnings] = self._earnings(wanted.earnings)

    def _with_reversals(self, event: Recorded) -> Recorded:
        """The event with what stands of its earnings taken back by now."""
        originals = self.originals
        earned = tuple(
            replace(each, reversed=originals[each.transaction].reversed_so_far)
            if each.transaction in originals
            else each
            for each in event.earned
        )
        return replace(event, earned=earned)

    def _earnings(self, wanted: WantedEarnings) -> tuple[PastEarning, ...]:
        return tuple(
            PastEarning(made.transaction, made.effective_at, made.amount, made.reversed_so_far)
            for made in self.originals.values()
            if made.kind is Kind.EARN
            and made.currency == wanted.currency
            and (wanted.since is None or made.effective_at >= wanted.since)
        )

    def _history(self, wanted: Wanted) -> History:
        found = [
            event
            for event in self.events.values()
            if event.member in wanted.members
            and (wanted.since is None or event.occurred_at >= wanted.since)
            and (
                (event.type in wanted.types and not event.taken_back)
                or any(
                    metric_of(name) in wanted.metrics and (not event.taken_back or name not in wanted.metrics)
                    for name, *_ in event.contributions
                )
            )
        ]
        newest = sorted(found, key=lambda event: event.id, reverse=True)[:HISTORY_EVENTS_MAX]
        return History(tuple(newest), complete=len(newest) == len(found))

    def _supply_originals(self, identifiers: Iterable[UUID]) -> None:
        """Transactions with every lot that they touched, open or not."""
        state = self.state
        for identifier in identifiers:
            original = self.originals.get(identifier)
            if original is None:
                state.absent.add(identifier)
                continue
            state.originals[identifier] = original
            for posting in original.postings:
                if posting.lot is not None and posting.lot in self.lots:
                    state.wallet.lots.setdefault(posting.lot, self.lots[posting.lot])

    def take_over(self, absorbed: Member) -> None:
        """What the other one was issued or spent can be taken back from this one."""
        theirs = {
            key: made if made.owner is not None else replace(made, owner=absorbed.state.id, lots=absorbed.spent(made))
            for key, made in absorbed.originals.items()
            if made.kind in CLAWED_BACK | REFUNDED
        }
        self.originals = theirs | self.originals
        for reference, made in absorbed.references.items():
            mine = self.references.get(reference, [])
            self.references[reference] = [*(key for key in made if key in theirs), *mine]

    def spent(self, made: Original) -> tuple[Lot, ...]:
        """The lots of the member's that a transaction spent."""
        lots = dict.fromkeys(
            posting.lot for posting in made.postings if made.kind in REFUNDED and posting.lot is not None
        )
        return tuple(self.lots[lot] for lot in lots if lot in self.lots)

    def store(self, outcome: Outcome, remember: Remember) -> None:
        """What the command changed."""
        self.state = outcome.state
        self.holds.update(outcome.holds)
        if outcome.lots:
            self._store_lots(outcome.lots, remember)
        if remember is not Remember.NOTHING:
            for made in outcome.transactions:
                if remember is Remember.ALL or made.origin.reference is not None:
                    self._store_transaction(made)
            self._store_event(outcome)
            for identifier, total in outcome.reversed.items():
                self.originals[identifier] = replace(self.originals[identifier], reversed_so_far=total)

    def _store_lots(self, changed: dict[UUID, Lot], remember: Remember) -> None:
        for key, lot in changed.items():
            known = self.lots.get(key)
            kept = lot.copy()
            if known is not None and not lot.stored:  # made anew for the same day: it adds to what was there
                for part in _PARTS:
                    setattr(kept, part, getattr(known, part) + getattr(lot, part))
            kept.stored = True
            if remember is Remember.NOTHING and not kept.open:
                self.lots.pop(key, None)
            else:
                self.lots[key] = kept
        # What fell due was posted, so the earliest is another one now; else only what changed can come before it.
        recount = self.due_at is not None and self.state.last_now is not None and self.due_at <= self.state.last_now
        lots = self.lots if recount else changed
        moments = [lot_due_at(self.lots[key]) for key in lots if key in self.lots and self.lots[key].open]
        if not recount:
            moments.append(self.due_at)
        self.due_at = min((moment for moment in moments if moment is not None), default=None)

    def _store_event(self, outcome: Outcome) -> None:
        """The event, what was earned because of it or of an earlier one, and which count no longer."""
        record = outcome.event
        counts = outcome.status is Status.PROCESSED
        if record is not None and (counts or record.contributions):
            self.events[outcome.id] = Recorded(
                outcome.id,
                outcome.state.id,
                record.type,
                record.occurred_at,
                record.properties,
                record.context,
                tuple(record.contributions),
                taken_back=not counts,
            )
        for made in outcome.transactions:
            event = self.events.get(made.origin.event) if made.origin.event is not None else None
            if event is not None and made.kind is Kind.EARN:
                earned = Earned(made.id, made.origin.source, made.amount, 0)
                self.events[event.id] = replace(event, earned=(*event.earned, earned))
        for identifier in outcome.taken_back:
            self.events[identifier] = replace(self.events[identifier], taken_back=True)

    def _store_transaction(self, made: Transaction) -> None:
        self.originals[made.id] = Original(
            made.id,
            made.kind,
            made.currency,
            made.amount,
            tuple(made.postings),
            0,
            made.effective_at,
            made.origin.event,
            source=made.origin.source,
        )
        reference = made.origin.reference
        if reference is not None:
            self.references.setdefault(reference, []).append(made.id)


def _due_by(lot: Lot, now: datetime) -> bool:
    due = lot_due_at(lot)
    return due is not None and due <= now


Heard = Callable[[Member, Command, Outcome], Any]
"""Told of every command that was decided, also of those that follow from silence and merges."""


class Members:
    """All members, and what they share: budgets, and the order of the moments at which silence is heard.

    The state inside an outcome is the member's own: it must be read before the member's next command.
    """

    def __init__(self, program: Program, *, remember: Remember = Remember.ALL, heard: Heard | None = None) -> None:
        self.program = program
        self.counters: dict[str, int] = {}
        self._members: dict[UUID, Member] = {}
        self._remember = remember
        self._heard = heard
        self._wakes: list[tuple[datetime, int, Member]] = []
        self._periods = OpenPeriods(program.boards) if program.boards is not None else None
        self._arranged = 0

    def member(self, identifier: UUID, ref: MemberRef) -> Member:
        """The member of that id, made when it is new."""
        found = self._members.get(identifier)
        if found is None:
            state = MemberState(identifier, bucket_of(identifier), ref.kind, ref.external_id)
            found = self._members[identifier] = Member(state)
        return found

    def __len__(self) -> int:
        return len(self._members)

    def each(self) -> Iterable[Member]:
        """Every member, in the order of appearance."""
        return self._members.values()

    def forget(self, member: Member) -> None:
        """Drops a member of whom nothing more will come."""
        del self._members[member.state.id]
        if not self._members:
            self._wakes.clear()

    def decide(self, member: Member, command: Command, at: datetime, *, actor: str = "system") -> Outcome:
        """Decides and stores, legs for other members included. Raises `RewardsError`, and nothing was changed then."""
        if not isinstance(command, OF_THE_MERGED):
            while member.state.merged_into is not None:
                member = self._members[member.state.merged_into]
        program = self.program
        if type(command) is Event:
            kind = program.event_type(command.type)
            complete = kind is not None and kind.key in program.needs_lots
        else:
            complete = isinstance(command, _TAKES_LOTS)
        state = member.load(at, complete=complete)
        member.commands += 1
        key = state.id.bytes + member.commands.to_bytes(8, "big")
        for _ in range(UNLOADED_MAX):
            ids = Ids(key, bucket=state.bucket, unix_ms=unix_ms(at), seq=state.seq)
            try:
                outcome = apply(program, state, command, now=at, ids=ids, counters=self.counters, actor=actor)
            except Unloaded as wanted:
                if wanted.counter is not None:
                    self.counters.setdefault(wanted.counter, 0)
                else:
                    member.supply(wanted)
                continue
            self._store(member, outcome)
            if self._heard is not None:
                self._heard(member, command, outcome)
            for leg in outcome.legs:
                self._follow(leg, at, actor)
            return outcome
        raise AssertionError(f"{type(command).__name__} asks again for what it was given")

    def _store(self, member: Member, outcome: Outcome) -> None:
        member.store(outcome, self._remember)
        for reservation in outcome.reservations:
            self.counters[reservation.key] = self.counters.get(reservation.key, 0) + reservation.amount
        if self._periods is not None:
            self._periods.hear(outcome.state.id, outcome.scores)
        if outcome.wake_at is not None:
            member.wake_at = outcome.wake_at
            self._arranged += 1
            heappush(self._wakes, (outcome.wake_at, self._arranged, member))

    def _follow(self, leg: Leg, at: datetime, actor: str) -> None:
        other = self.member(leg.member, MemberRef(leg.kind, leg.external_id))
        if leg.name in sending.NAMES:
            self._let(other, sending.command_of(leg.name, leg.payload), at)
            return
        if leg.name == refunding.NAME:
            self.decide(other, refunding.command_of(leg.payload), at, actor=actor)
            return
        origin = UUID(leg.payload["origin"])
        other.events = self._members[origin].events | other.events
        other.take_over(self._members[origin])
        self.decide(other, MergeIn(origin, leg.payload), at, actor=actor)

    def advance(self, until: datetime) -> None:
        """Hears all silences and closes all boards up to `until`, in time order, each at its moment."""
        wakes = self._wakes
        while True:
            closing = self._periods.next_at if self._periods is not None else None
            if wakes and wakes[0][0] <= until and (closing is None or wakes[0][0] <= closing):
                at, _, member = heappop(wakes)
                if member.wake_at == at:  # else an earlier one was arranged since
                    member.wake_at = None
                    self._let(member, Due(), at)
            elif self._periods is not None and closing is not None and closing <= until:
                for identifier, prize in self._periods.close():
                    self._let(self._members[identifier], prize, closing)
            else:
                return

    def _let(self, member: Member, command: Command, at: datetime) -> None:
        with suppress(RewardsError):  # an erased member hears nothing
            self.decide(member, command, at)
