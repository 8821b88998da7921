"""A ledger against the model: every acceptance, refusal, reason, balance and invariant, step by step.

Subclass `LedgerMachine`, say in `port` which ledger is under test, and take `TestCase` of the subclass. A ledger whose
clock runs by itself tells the moment of each decision in its answers (`at`), and the model follows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.domain.ledger.model import Answer, LedgerPort, Model, Ok

from rewards.domain.program.currency import (
    Clawback,
)

START = datetime(2026, 3, 20, 12, tzinfo=UTC)  # the clocks change nine days later

# Few currencies in one run, so that its steps meet each other.
FOCUS = [("points",), ("monthly",), ("miles",), ("stars",), ("points", "miles"), ("monthly", "status")]

amounts = st.integers(1, 12)
shares = st.sampled_from([1, 2, 3, 4, 4, 5])
partial = st.none() | st.integers(1, 12)
picks = st.integers(0, 1_000)


class LedgerMachine(RuleBasedStateMachine):
    """Two members, the second of whom may be merged into the first."""

    late_hours: ClassVar[tuple[int, ...]] = (0, 0, 0, 2, 60, 24 * 12, 24 * 40)
    """How late earns may be booked: (0,) for a ledger that books everything as of now."""
    can_mature: ClassVar[bool] = True
    can_merge: ClassVar[bool] = True

    def port(self, *, eager: bool, batching: bool) -> LedgerPort:
        """A new, empty ledger. What the flags mean is up to it: other ways to the same answers."""
        raise NotImplementedError

    @initialize(eager=st.booleans(), batching=st.booleans(), focus=st.sampled_from(FOCUS))
    def begin(self, eager: bool, batching: bool, focus: tuple[str, ...]) -> None:
        self.ledger = self.port(eager=eager, batching=batching)
        self.models = {"ann": Model(), "bob": Model()}
        self.focus = focus
        self.now = START
        self.who = "ann"
        for key, amount, lasts in ((0, 7, None), (0, 5, 24 * 8), (1, 4, 26)):
            self._earn(self.currency(key), amount, lasts=lasts)

    @property
    def model(self) -> Model:
        return self.models[self.who]

    def currency(self, pick: int) -> str:
        return self.focus[pick % len(self.focus)]

    def follow(self, answer: Answer) -> None:
        """The model arrives at the moment at which the ledger decided."""
        self.now = answer.at or self.now
        self.model.pass_time(self.now)

    def accepted(self, answer: Answer, amount: int) -> Ok:
        assert isinstance(answer, Ok), f"refused as {answer.code}"
        assert answer.amount == amount
        return answer

    @rule(member=st.sampled_from(["ann", "ann", "ann", "bob"]))
    def switch(self, member: str) -> None:
        """Chooses whom the next commands are about."""
        self.who = member if member in self.models else "ann"

    @rule(hours=st.sampled_from([0, 1, 1, 7, 7, 24, 24 * 2, 24 * 5, 24 * 12]), seconds=st.integers(0, 3))
    def time_passes(self, hours: int, seconds: int) -> None:
        self.now += timedelta(hours=hours, seconds=seconds)

    @rule(
        key=picks,
        amount=amounts,
        rule_key=st.sampled_from(["rule:a", "rule:b"]),
        late=picks,
        hold=st.sampled_from([None, None, timedelta(0), timedelta(days=2)]),
        until_matured=st.sampled_from([False, False, False, True]),
        lasts=st.sampled_from([None, None, None, 26, 24 * 8]),
    )
    def earn(
        self,
        key: int,
        amount: int,
        rule_key: str,
        late: int,
        hold: timedelta | None,
        until_matured: bool,
        lasts: int | None,
    ) -> None:
        late_by = timedelta(hours=self.late_hours[late % len(self.late_hours)])
        self._earn(
            self.currency(key),
            amount,
            rule_key=rule_key,
            late_by=late_by,
            hold=hold,
            until_matured=until_matured,
            lasts=lasts,
        )

    def _earn(
        self,
        key: str,
        amount: int,
        *,
        rule_key: str = "rule:a",
        late_by: timedelta = timedelta(0),
        hold: timedelta | None = None,
        until_matured: bool = False,
        lasts: int | None = None,
    ) -> None:
        expires_at = self.now + timedelta(hours=lasts) if lasts is not None else None
        answer = self.ledger.earn(
            self.who,
            key,
            amount,
            now=self.now,
            rule=rule_key,
            effective_at=self.now - late_by,
            hold=hold,
            until_matured=until_matured,
            expires_at=expires_at,
        )
        self.follow(answer)
        self.model.earn(
            key,
            amount,
            now=self.now,
            rule=rule_key,
            effective_at=self.now - late_by,
            hold=hold,
            until_matured=until_matured,
            expires_at=expires_at,
            answer=self.accepted(answer, amount),
        )

    @precondition(lambda self: self._funded())
    @rule(key=picks, share=shares)
    def spend(self, key: int, share: int) -> None:
        self._spend(*self._share(key, share))

    @precondition(lambda self: not self._funded())
    @rule(key=picks, amount=amounts)
    def spend_of_nothing(self, key: int, amount: int) -> None:
        self._spend(self.currency(key), amount)

    def _spend(self, key: str, amount: int) -> None:
        answer = self.ledger.spend(self.who, key, amount, now=self.now)
        self.follow(answer)
        match self.model.take(key, amount):
            case str(code):
                assert answer.code == code
            case points:
                self.model.spend(key, points, self.now, self.accepted(answer, amount))

    @precondition(lambda self: self._funded())
    @rule(key=picks, share=shares, lifetime=st.sampled_from([1, 24, 24 * 6, 24 * 31]))
    def hold(self, key: int, share: int, lifetime: int) -> None:
        currency, amount = self._share(key, share)
        expires_at = self.now + timedelta(hours=lifetime)
        answer = self.ledger.hold(self.who, currency, amount, now=self.now, expires_at=expires_at)
        self.follow(answer)
        match self.model.take(currency, amount):
            case str(code):
                assert answer.code == code
            case points:
                self.model.hold(currency, points, self.now, expires_at, answer=self.accepted(answer, amount))

    @precondition(lambda self: self.model.open_holds())
    @rule(pick=picks, amount=partial, captures=st.booleans())
    def resolve(self, pick: int, amount: int | None, captures: bool) -> None:
        self._resolve(_choose(self.model.open_holds(), pick), amount, captures=captures)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, captures=st.booleans())
    def resolve_whatever_there_is(self, pick: int, captures: bool) -> None:
        self._resolve(_choose(list(self.model.holds), pick), None, captures=captures)

    def _resolve(self, hold: UUID, amount: int | None, *, captures: bool) -> None:
        command = self.ledger.capture if captures else self.ledger.release
        answer = command(self.who, hold, amount, now=self.now)
        self.follow(answer)
        match self.model.resolve(hold, amount, self.now):
            case str(code):
                assert answer.code == code
            case resolved if captures:
                self.model.capture(hold, resolved, self.now, self.accepted(answer, resolved))
            case resolved:
                self.accepted(answer, resolved)
                self.model.release(hold, resolved, self.now)

    @precondition(lambda self: self.model.left("earn"))
    @rule(pick=picks, amount=partial, policy=st.none() | st.sampled_from(list(Clawback)))
    def claw_back(self, pick: int, amount: int | None, policy: Clawback | None) -> None:
        self._reverse(_choose(self.model.left("earn"), pick), amount, policy)

    @precondition(lambda self: self.model.left("spend"))
    @rule(pick=picks, amount=partial)
    def refund(self, pick: int, amount: int | None) -> None:
        self._reverse(_choose(self.model.left("spend"), pick), amount, None)

    @precondition(lambda self: self.model.bookings)
    @rule(pick=picks)
    def reverse_whatever_there_is(self, pick: int) -> None:
        self._reverse(_choose(list(self.model.bookings), pick), None, None)

    def _reverse(self, transaction: UUID, amount: int | None, policy: Clawback | None) -> None:
        answer = self.ledger.reverse(self.who, transaction, amount, policy, now=self.now)
        self.follow(answer)
        match self.model.reverse(transaction, amount, policy, self.now):
            case str(code):
                assert answer.code == code
            case recorded:
                self.accepted(answer, recorded)

    @precondition(lambda self: self.can_mature and self.model.earned())
    @rule(pick=picks)
    def mature(self, pick: int) -> None:
        transaction = _choose(self.model.earned(), pick)
        self.ledger.mature(self.who, transaction, now=self.now)
        self.model.pass_time(self.now)
        self.model.mature(transaction, self.now)

    @precondition(lambda self: self.can_merge and "bob" in self.models and self.models["bob"].touched)
    @rule(pick=st.integers(0, 5))
    def merge(self, pick: int) -> None:
        if pick:  # rarely, since bob is gone afterwards
            return
        self.ledger.merge("bob", "ann", now=self.now)
        bob, ann = self.models.pop("bob"), self.models["ann"]
        bob.pass_time(self.now)
        ann.pass_time(self.now)
        bob.merge_into(ann, self.now)
        self.who = "ann"
        assert _spoken(self.ledger.balances("bob", now=self.now)) == {}

    @rule()
    def schedules_agree(self) -> None:
        self.model.pass_time(self.now)
        found = self.ledger.schedule(self.who, now=self.now)
        assert {key: plan for key, plan in found.items() if plan} == self.model.schedule()

    @invariant()
    def balances_agree(self) -> None:
        for member, model in getattr(self, "models", {}).items():
            model.pass_time(self.now)
            assert _spoken(self.ledger.balances(member, now=self.now)) == _spoken(model.balances())

    @invariant()
    def nothing_is_violated(self) -> None:
        for member in getattr(self, "models", {}):
            assert self.ledger.violations(member) == []

    def _funded(self) -> list[tuple[str, int]]:
        """The currencies in which something is available, and how much."""
        self.model.pass_time(self.now)
        return sorted((key, balance[0]) for key, balance in self.model.balances().items() if balance[0])

    def _share(self, pick: int, share: int) -> tuple[str, int]:
        """A funded currency, and so many quarters of what is available: all of it, a part, or too much."""
        funded = self._funded()
        key, available = funded[pick % len(funded)]
        return key, max(1, available * share // 4)


def _spoken(balances: dict[str, tuple[int, int, int, int]]) -> dict[str, tuple[int, int, int, int]]:
    """Without currencies that are at zero: whether a ledger mentions them is its own affair."""
    return {key: balance for key, balance in balances.items() if any(balance)}


def _choose(items: list[UUID], pick: int) -> UUID:
    return items[pick % len(items)]
