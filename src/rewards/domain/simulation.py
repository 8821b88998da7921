"""What a program would have done with recorded events: decided by the same `apply`, then only counted.

Members without anything in common are decided one after the other, so that one at a time is in memory. Where budgets are
shared, all members are kept and time runs once for all of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final
from uuid import UUID
from zlib import crc32

from rewards.domain.commands import Command, Due, Event, MemberRef, SetProfile
from rewards.domain.effects import Effect
from rewards.domain.errors import RewardsError
from rewards.domain.memory import Member, Members, Remember
from rewards.domain.outcome import Outcome
from rewards.domain.program.compiled import (
    Program,
)
from rewards.domain.program.currency import (
    Currency,
    ExpiresInactive,
)

REJECTED: Final = "rejected"
DUPLICATE: Final = "duplicate"
_GIVERS: Final = ("badge", "quest", "streak", "tier", "leaderboard")
_NAMES: Final = frozenset({"transaction", "reverses"})


@dataclass(slots=True)
class Flow:
    """What became of one currency's points. `outstanding` is what members still have, less what they owe."""

    issued: int = 0
    redeemed: int = 0
    revoked: int = 0
    expired: int = 0
    outstanding: int = 0

    def add(self, other: Flow) -> None:
        self.issued += other.issued
        self.redeemed += other.redeemed
        self.revoked += other.revoked
        self.expired += other.expired
        self.outstanding += other.outstanding


@dataclass(slots=True)
class Tally:
    """What was counted. `results` is by rule and result, `points` what was issued by (rule, or `badge:reviewer`, and currency).

    `liability` is what the outstanding points are worth, in minor units of the program's money. `untraced` of what was recorded,
    the last at `untraced_until`, is missing from `results`: what rules did with it is kept no longer.
    """

    events: int = 0
    members: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    currencies: dict[str, Flow] = field(default_factory=dict)
    results: dict[tuple[str, str], int] = field(default_factory=dict)
    points: dict[tuple[str, str], int] = field(default_factory=dict)
    budgets: dict[str, int] = field(default_factory=dict)
    liability: Decimal = Decimal(0)
    untraced: int = 0
    untraced_until: datetime | None = None

    def count(self, status: str) -> None:
        self.events += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def explain(self, trace: Iterable[Mapping[str, Any]], effects: Iterable[Effect]) -> None:
        """Adds what the rules of one decision did."""
        results = self.results
        for line in trace:
            rule = line.get("rule")
            if rule is not None:
                key = (rule, line["result"])
                results[key] = results.get(key, 0) + 1
        for effect in effects:
            if effect["type"] == "earn":
                of = (_giver(effect), effect["currency"])
                self.points[of] = self.points.get(of, 0) + effect["amount"]

    def add(self, other: Tally) -> None:
        """Puts another part of the same events beside this one."""
        self.events += other.events
        self.members += other.members
        self.untraced += other.untraced
        ends = [end for end in (self.untraced_until, other.untraced_until) if end is not None]
        self.untraced_until = max(ends, default=None)
        for mine, theirs in (
            (self.statuses, other.statuses),
            (self.results, other.results),
            (self.points, other.points),
            (self.budgets, other.budgets),
        ):
            _add(mine, theirs)
        for currency, flow in other.currencies.items():
            self.currencies.setdefault(currency, Flow()).add(flow)
        self.liability += other.liability


def _giver(effect: Effect) -> str:
    """The rule's key, or `badge:reviewer` and the like for what no rule gave."""
    rule = effect.get("rule")
    if rule is not None:
        return str(rule)
    kind = next((kind for kind in _GIVERS if kind in effect), "other")
    return f"{kind}:{effect.get(kind, '')}"


def _add(mine: dict[Any, int], theirs: Mapping[Any, int]) -> None:
    for key, number in theirs.items():
        mine[key] = mine.get(key, 0) + number


def liability(currencies: Mapping[str, Currency], flows: Mapping[str, Flow]) -> Decimal:
    """What the outstanding points are worth, in minor units."""
    return sum(
        (currencies[key].worth * flow.outstanding for key, flow in flows.items() if key in currencies), Decimal(0)
    )


def members_apart(program: Program) -> bool:
    """Whether no member's outcome can depend on another's: no rule has a budget, and no leaderboard prizes."""
    if program.boards is not None and any(board.prizes for board in program.boards.by_key.values()):
        return False
    return all(rule.budget is None for rule in program.rules.values())


class Marks:
    """What each member got, by events and by time, as running checksums by the member's number: 4 bytes each, 0 for nothing."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks = array("I")

    def add(self, number: int, effects: Iterable[Effect]) -> None:
        """The same effects give the same mark, whatever their transactions are called."""
        missing = number + 1 - len(self.marks)
        if missing > 0:
            self.marks.frombytes(bytes(missing * self.marks.itemsize))
        before = self.marks[number]
        for effect in effects:
            told = [f"{key}={effect[key]}" for key in sorted(effect.keys() - _NAMES)]
            before = crc32("\n".join(told).encode(), before)
        self.marks[number] = before

    def differing(self, other: Marks) -> int:
        """How many members got something else there."""
        pairs = zip_longest(self.marks, other.marks, fillvalue=0)
        return sum(1 for mine, theirs in pairs if mine != theirs)


@dataclass(frozen=True, slots=True)
class Person:
    """A member as a simulation meets it first."""

    identifier: UUID
    ref: MemberRef
    attributes: Mapping[str, Any] = field(default_factory=dict)
    locale: str | None = None
    timezone: str | None = None


class Simulation:
    """Feed it events in time order - of all members, or of one member after the other if they are `apart`."""

    def __init__(self, program: Program, *, apart: bool, horizon: datetime) -> None:
        """`horizon` is when the simulation ends; what expires by then has expired."""
        self.program = program
        self.tally = Tally()
        self.marks = Marks()
        remember = Remember.REFERENCED if program.needs_references else Remember.NOTHING
        self._members = Members(program, remember=remember, heard=self._heard)
        self._expire_inactive = any(isinstance(of.expires, ExpiresInactive) for of in program.currencies.values())
        self._apart = apart
        self._horizon = horizon
        self._current: tuple[int, Member] | None = None
        self._by_number: dict[int, Member] = {}
        self._numbers: dict[UUID, int] = {}
        self._now: datetime | None = None

    def event(
        self, number: int, person: Person, event: Event, now: datetime, attributes: Mapping[str, Any] | None = None
    ) -> RewardsError | None:
        """Decides one event that was received at `now`, after `attributes` were set. `number` stands for the member.

        With why it was rejected, if it was.
        """
        member = self._member(number, person)
        if self._now is None or now > self._now:
            self._members.advance(now)
            self._now = now
        try:
            if attributes:
                self._members.decide(member, SetProfile(attributes), self._now)
            outcome = self._members.decide(member, event, self._now)
        except RewardsError as error:
            self.tally.count(REJECTED)
            return error
        self.tally.count(outcome.status.value)
        return None

    def duplicate(self) -> None:
        """An event that was seen before: it does nothing."""
        self.tally.count(DUPLICATE)

    def _member(self, number: int, person: Person) -> Member:
        if self._apart:
            current = self._current
            if current is None or current[0] != number:
                self._close_current()
                current = self._current = (number, self._new(number, person))
            return current[1]
        found = self._by_number.get(number)
        if found is None:
            found = self._by_number[number] = self._new(number, person)
        return found

    def _new(self, number: int, person: Person) -> Member:
        self.tally.members += 1
        self._numbers[person.identifier] = number
        member = self._members.member(person.identifier, person.ref)
        state = member.state
        state.attributes, state.locale, state.timezone = dict(person.attributes), person.locale, person.timezone
        return member

    def _heard(self, member: Member, _: Command, outcome: Outcome) -> None:
        """Whatever an event or time did: what waited is told by no event of its own."""
        self.tally.explain(outcome.trace, outcome.effects)
        number = self._numbers.get(member.state.id)  # groups have none
        if outcome.effects and number is not None:
            self.marks.add(number, outcome.effects)

    def finish(self) -> Tally:
        """Lets time run to the horizon and counts what members have then."""
        if self._apart:
            self._close_current()
        else:
            self._members.advance(self._horizon)
            for member in self._members.each():
                self._settle(member)
        self.tally.budgets = dict(self._members.counters)
        self.tally.liability = liability(self.program.currencies, self.tally.currencies)
        return self.tally

    def _close_current(self) -> None:
        if self._current is not None:
            _, member = self._current
            self._members.advance(self._horizon)
            self._settle(member)
            self._members.forget(member)
            del self._numbers[member.state.id]
            self._current = None
        self._now = None

    def _settle(self, member: Member) -> None:
        """Posts what fell due by the horizon, and adds the member's accounts."""
        if not member.state.wallet.accounts:
            return
        if self._expire_inactive or (member.due_at is not None and member.due_at <= self._horizon):
            self._members.decide(member, Due(), self._horizon)
        for currency, account in member.state.wallet.accounts.items():
            self.tally.currencies.setdefault(currency, Flow()).add(
                Flow(
                    account.issued,
                    account.redeemed,
                    account.revoked,
                    account.expired,
                    account.available + account.pending + account.held - account.debt,
                )
            )
