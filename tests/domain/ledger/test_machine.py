"""The ledger against the model: every acceptance, refusal, reason, balance and invariant, step by step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.domain.ledger.memory import MemoryLedger
from tests.domain.ledger.model import LedgerPort, Model, Ok, Refused

from rewards.domain.program.compiled import Clawback

START = datetime(2026, 3, 20, 12, tzinfo=UTC)  # the clocks change nine days later

# Few currencies in one run, so that its steps meet each other.
focus = st.sampled_from([("points",), ("monthly",), ("miles",), ("stars",), ("points", "miles"), ("monthly", "status")])
amounts = st.integers(1, 30)
partial = st.none() | st.integers(1, 30)
hours = st.sampled_from([0, 1, 7, 24, 24 * 2, 24 * 5, 24 * 12])
picks = st.integers(0, 1_000)


class LedgerMachine(RuleBasedStateMachine):
    """Two members, the second of whom may be merged into the first. `port` makes the ledger under test."""

    def port(self, *, eager: bool, batching: bool) -> LedgerPort:
        return MemoryLedger(eager=eager, batching=batching)

    @initialize(eager=st.booleans(), batching=st.booleans(), focus=focus)
    def begin(self, eager: bool, batching: bool, focus: tuple[str, ...]) -> None:
        self.focus = focus
        self.ledger = self.port(eager=eager, batching=batching)
        self.models = {"ann": Model(), "bob": Model()}
        self.now = START

    @rule(member=st.sampled_from(["ann", "ann", "bob"]))
    def switch(self, member: str) -> None:
        """Chooses whom the next commands are about."""
        self.who = member if member in self.models else "ann"

    who = "ann"

    @property
    def model(self) -> Model:
        return self.models[self.who]

    def currency(self, pick: int) -> str:
        return self.focus[pick % len(self.focus)]

    @rule(hours=hours, seconds=st.integers(0, 3))
    def time_passes(self, hours: int, seconds: int) -> None:
        self.now += timedelta(hours=hours, seconds=seconds)

    @rule(
        key=picks,
        amount=amounts,
        rule_key=st.sampled_from(["rule:a", "rule:b"]),
        late=st.sampled_from([0, 0, 0, 2, 60, 24 * 12, 24 * 40]),
        hold=st.sampled_from([None, None, timedelta(0), timedelta(days=2)]),
        until_matured=st.sampled_from([False, False, False, True]),
    )
    def earn(
        self, key: int, amount: int, rule_key: str, late: int, hold: timedelta | None, until_matured: bool
    ) -> None:
        effective_at = self.now - timedelta(hours=late)
        answer = self.ledger.earn(
            self.who,
            self.currency(key),
            amount,
            now=self.now,
            rule=rule_key,
            effective_at=effective_at,
            hold=hold,
            until_matured=until_matured,
        )
        assert isinstance(answer, Ok)
        assert answer.amount == amount
        self.model.pass_time(self.now)
        self.model.earn(self.currency(key), amount, self.now, rule_key, effective_at, hold, until_matured, answer)

    @rule(key=picks, amount=amounts)
    def spend(self, key: int, amount: int) -> None:
        answer = self.ledger.spend(self.who, self.currency(key), amount, now=self.now)
        self.model.pass_time(self.now)
        match self.model.take(self.currency(key), amount):
            case str(code):
                assert answer == Refused(code)
            case points:
                assert isinstance(answer, Ok)
                self.model.spend(self.currency(key), points, self.now, answer)

    @rule(key=picks, amount=amounts, lifetime=st.sampled_from([1, 24, 24 * 6, 24 * 31]))
    def hold(self, key: int, amount: int, lifetime: int) -> None:
        expires_at = self.now + timedelta(hours=lifetime)
        answer = self.ledger.hold(self.who, self.currency(key), amount, now=self.now, expires_at=expires_at)
        self.model.pass_time(self.now)
        match self.model.take(self.currency(key), amount):
            case str(code):
                assert answer == Refused(code)
            case points:
                assert isinstance(answer, Ok)
                self.model.hold(self.currency(key), points, self.now, expires_at, answer)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, amount=partial, captures=st.booleans())
    def resolve(self, pick: int, amount: int | None, captures: bool) -> None:
        hold = _choose(list(self.model.holds), pick)
        command = self.ledger.capture if captures else self.ledger.release
        answer = command(self.who, hold, amount, now=self.now)
        self.model.pass_time(self.now)
        match self.model.resolve(hold, amount, self.now):
            case str(code):
                assert answer == Refused(code)
            case resolved:
                assert isinstance(answer, Ok)
                assert answer.amount == resolved
                if captures:
                    self.model.capture(hold, resolved, self.now, answer)
                else:
                    self.model.release(hold, resolved, self.now)

    @precondition(lambda self: self.model.bookings)
    @rule(pick=picks, amount=partial, policy=st.none() | st.sampled_from(list(Clawback)))
    def reverse(self, pick: int, amount: int | None, policy: Clawback | None) -> None:
        transaction = _choose(list(self.model.bookings), pick)
        answer = self.ledger.reverse(self.who, transaction, amount, policy, now=self.now)
        self.model.pass_time(self.now)
        match self.model.reverse(transaction, amount, policy, self.now):
            case str(code):
                assert answer == Refused(code)
            case recorded:
                assert isinstance(answer, Ok)
                assert answer.amount == recorded

    @precondition(lambda self: any(booking.kind == "earn" for booking in self.model.bookings.values()))
    @rule(pick=picks)
    def mature(self, pick: int) -> None:
        earned = [key for key, booking in self.model.bookings.items() if booking.kind == "earn"]
        transaction = _choose(earned, pick)
        self.ledger.mature(self.who, transaction, now=self.now)
        self.model.pass_time(self.now)
        self.model.mature(transaction, self.now)

    @precondition(lambda self: "bob" in self.models and self.models["bob"].touched)
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
        assert not any(any(balance) for balance in self.ledger.balances("bob", now=self.now).values())

    @rule()
    def schedules_agree(self) -> None:
        self.model.pass_time(self.now)
        found = self.ledger.schedule(self.who, now=self.now)
        assert {key: plan for key, plan in found.items() if plan} == self.model.schedule()

    @invariant()
    def balances_agree(self) -> None:
        for member, model in getattr(self, "models", {}).items():
            model.pass_time(self.now)
            found = self.ledger.balances(member, now=self.now)
            assert {key: item for key, item in found.items() if any(item)} == {
                key: item for key, item in model.balances().items() if any(item)
            }

    @invariant()
    def nothing_is_violated(self) -> None:
        for member in getattr(self, "models", {}):
            assert self.ledger.violations(member) == []


def _choose(items: list[UUID], pick: int) -> UUID:
    return items[pick % len(items)]


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
