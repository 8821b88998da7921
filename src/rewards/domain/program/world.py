"""Members in memory, for a document's tests and for simulations: the same `apply` as live traffic, without storage."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from rewards.domain.apply import apply
from rewards.domain.commands import Command, Due, MemberRef
from rewards.domain.ids import Ids, bucket_of, member_id, unix_ms
from rewards.domain.ledger.accounts import Transaction
from rewards.domain.ledger.reverse import Original
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.outcome import Outcome
from rewards.domain.program.compiled import Program
from rewards.domain.state import MemberState

_KEY = b"world"


@dataclass(slots=True)
class _Member:
    state: MemberState
    transactions: dict[UUID, Transaction] = field(default_factory=dict)
    taken_back: dict[UUID, int] = field(default_factory=dict)
    by_reference: dict[str, list[UUID]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Happened:
    """What one command did to one member."""

    member: str
    outcome: Outcome


class World:
    """Starts empty and changes with every command. Time only moves on: `now` is when a command arrives.

    Wake-ups that members ask for (silence, what falls due) happen on their moment, before the next command.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.now: datetime | None = None
        self.counters: dict[str, int] = {}
        self._members: dict[str, _Member] = {}
        self._wakes: list[tuple[datetime, str]] = []
        self._commands = 0

    def state(self, member: str) -> MemberState:
        """The member as it is now; a new one if it was never heard of."""
        return self._member(member).state

    def send(self, member: str, command: Command, *, now: datetime) -> Iterator[Happened]:
        """Everything that happens up to and including `command`, in order of time. Raises what `apply` refuses."""
        yield from self.advance(now)
        assert self.now is not None
        yield Happened(member, self._decide(member, command, self.now))

    def advance(self, now: datetime) -> Iterator[Happened]:
        """Lets time pass: wake-ups until `now`."""
        while self._wakes and self._wakes[0][0] <= now:
            moment, member = heapq.heappop(self._wakes)
            yield Happened(member, self._decide(member, Due(), moment))
        self.now = now if self.now is None else max(now, self.now)

    def settle(self, member: str) -> Outcome:
        """Posts what has matured or expired for a member by now."""
        assert self.now is not None
        return self._decide(member, Due(), self.now)

    def _member(self, name: str) -> _Member:
        ref = MemberRef.parse(name)
        found = self._members.get(str(ref))
        if found is None:
            identifier = member_id(_KEY, ref.kind, ref.external_id)
            state = MemberState(identifier, bucket_of(identifier), ref.kind, ref.external_id)
            found = self._members[str(ref)] = _Member(state)
        return found

    def _decide(self, name: str, command: Command, now: datetime) -> Outcome:
        member = self._member(name)
        self._commands += 1
        key = self._commands.to_bytes(8, "big")
        while True:
            state = member.state
            ids = Ids(key, bucket=state.bucket, unix_ms=unix_ms(now), seq=state.seq)
            try:
                outcome = apply(self.program, state, command, now=now, ids=ids, counters=self.counters)
            except Unloaded as wanted:
                self._load(member, wanted)
            else:
                self._record(name, member, outcome)
                return outcome

    def _load(self, member: _Member, wanted: Unloaded) -> None:
        """Hands out what a database would load: here everything is in memory already."""
        state = member.state
        if wanted.counter is not None:
            self.counters[wanted.counter] = 0
        if wanted.hold is not None:
            state.absent.add(wanted.hold)
        if wanted.reference is not None:
            found = tuple(member.by_reference.get(wanted.reference, ()))
            state.references[wanted.reference] = found
            for identifier in found:
                state.originals[identifier] = _original(member, identifier)
        if wanted.transaction is not None:
            if wanted.transaction in member.transactions:
                state.originals[wanted.transaction] = _original(member, wanted.transaction)
            else:
                state.absent.add(wanted.transaction)

    def _record(self, name: str, member: _Member, outcome: Outcome) -> None:
        member.state = outcome.state
        member.taken_back.update(outcome.reversed)
        for transaction in outcome.transactions:
            member.transactions[transaction.id] = transaction
            if transaction.origin.reference is not None:
                member.by_reference.setdefault(transaction.origin.reference, []).append(transaction.id)
        for claim in outcome.reservations:
            self.counters[claim.key] = self.counters.get(claim.key, 0) + claim.amount
        wake = outcome.wake_at
        if wake is not None:
            heapq.heappush(self._wakes, (wake, name))


def _original(member: _Member, identifier: UUID) -> Original:
    transaction = member.transactions[identifier]
    return Original(
        transaction=identifier,
        kind=transaction.kind,
        currency=transaction.currency,
        amount=transaction.amount,
        postings=tuple(transaction.postings),
        reversed_so_far=member.taken_back.get(identifier, 0),
    )


def balance(state: MemberState, currency: str) -> dict[str, Any]:
    """The four buckets of one currency."""
    account = state.wallet.accounts.get(currency)
    if account is None:
        return {"available": 0, "pending": 0, "held": 0, "debt": 0}
    return {
        "available": account.available,
        "pending": account.pending,
        "held": account.held,
        "debt": account.debt,
    }
