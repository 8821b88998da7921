"""Tiers are a function of what counts, whatever order it came in: checked against a slow and obvious recomputation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.play.test_tiers import World, program
from tests.properties import explored

from rewards.domain.play.metric_upkeep import state_size
from rewards.domain.play.tier_held import MECHANIC

START: Final = datetime(2026, 1, 20, tzinfo=UTC)
TIERS: Final = ("-", "silver", "gold")
LATE_HOURS_MAX: Final = 71


@dataclass(frozen=True)
class Terms:
    """The ladder's terms, to be decided the slow way. `days` of a rolling window; None for months."""

    days: int | None
    grace_days: int
    downgrade: str
    silver: int = 500
    gold: int = 1_000

    def written(self) -> str:
        per = "month" if self.days is None else f"{self.days}d"
        grace = f"; grace: {self.grace_days}d" if self.grace_days else ""
        return f"per: {per}; downgrade: {self.downgrade}{grace}"

    def level(self, qualification: int) -> int:
        return (qualification >= self.silver) + (qualification >= self.gold)


Counted = tuple[datetime, int]


def month_of(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def by_month(terms: Terms, counted: list[Counted], at: datetime) -> int:
    """The level that the month has reached, or what is kept of the one held when it began."""
    begin = month_of(at)
    reached = terms.level(sum(amount for when, amount in counted if begin <= when <= at))
    if begin < month_of(START):
        return reached
    last_month = month_of(begin - timedelta(days=1))
    qualified = terms.level(sum(amount for when, amount in counted if last_month <= when < begin))
    held = by_month(terms, counted, begin - timedelta(microseconds=1))
    if at < begin + timedelta(days=terms.grace_days) or terms.downgrade == "never":
        return max(reached, held)
    return max(reached, qualified, held - 1 if terms.downgrade == "one_level" else 0)


def by_window(terms: Terms, counted: list[Counted], at: datetime) -> int:
    """Looks at every midnight and at everything that counted, from the beginning on: days leave a window of 60 as a whole."""
    assert terms.days is not None
    midnights = {START + timedelta(days=day) for day in range(-4, (at - START).days + 1)}
    held, below = 0, None
    for moment in sorted(midnights | {when for when, _ in counted}):
        if moment > at:
            break
        since = moment.replace(hour=0, minute=0) - timedelta(days=terms.days - 1)
        qualified = terms.level(sum(amount for when, amount in counted if since <= when <= moment))
        while qualified < held and terms.downgrade != "never":
            below = below or moment
            if moment < below + timedelta(days=terms.grace_days):
                break
            held, below = (held - 1 if terms.downgrade == "one_level" else qualified), None
        if qualified >= held:
            held, below = qualified, None
    return held


def slowly(terms: Terms, counted: Iterable[Counted], at: datetime) -> str:
    """The tier held at a moment, of all that counted."""
    decide = by_month if terms.days is None else by_window
    return TIERS[decide(terms, list(counted), at)]


Step = tuple[str, int, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("counts"), st.integers(0, LATE_HOURS_MAX), st.sampled_from([100, 300, 500, 900])),
        st.tuples(st.just("passes"), st.integers(1, 40), st.just(0)),
        st.tuples(st.just("passes"), st.integers(100, 1_600), st.just(0)),
        st.tuples(st.just("refunds"), st.integers(0, 40), st.just(0)),
    ),
    min_size=1,
    max_size=25,
)


class Tried:
    """A member to whom steps happen, and what counts by now."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.world = World(program(terms.written()))
        self.world.now = START
        self.counted: dict[str, Counted] = {}
        self.refunded = False

    def take(self, step: Step) -> None:
        what, number, amount = step
        world = self.world
        if what == "counts":
            name = f"o{len(world.told)}-{world._number}"
            occurs = world.now - timedelta(hours=number)
            world.happen("ordered", occurs, id=name, total=amount)
            self.counted[name] = occurs, amount
        elif what == "passes":
            world.at(world.now + timedelta(hours=number))
        elif refundable := [name for name, (when, _) in self.counted.items() if self._corrected(when)]:
            name = refundable[number % len(refundable)]
            world.happen("refunded", world.now, id=name)
            del self.counted[name]
            self.refunded = True

    def _corrected(self, when: datetime) -> bool:
        """Whether a tier still has its ground in it: what is older than the month before stays as it was told."""
        if self.terms.days is not None:
            return when > self.world.now - timedelta(hours=LATE_HOURS_MAX)
        return when >= month_of(month_of(self.world.now) - timedelta(days=1))

    def expected(self, at: datetime) -> str:
        return slowly(self.terms, self.counted.values(), at)


MONTHS: Final = [
    Terms(None, grace_days, downgrade) for grace_days in (0, 10) for downgrade in ("to_qualified", "one_level", "never")
]
WINDOWS: Final = [
    Terms(60, grace_days, downgrade) for grace_days in (0, 10) for downgrade in ("to_qualified", "one_level", "never")
]


@pytest.mark.parametrize("terms", [*MONTHS, *WINDOWS], ids=Terms.written)
@explored(given(taken=steps), few=8, at_length=25)
def test_the_tier_is_what_all_that_counts_makes_it(terms: Terms, taken: list[Step]) -> None:
    tried = Tried(terms)
    world = tried.world
    for step in taken:
        tried.take(step)
        assert world.held() == tried.expected(world.now), step
        if not tried.refunded:
            for hours in range(0, LATE_HOURS_MAX, 7):  # what a late event would be paid by
                at = world.now - timedelta(hours=hours)
                assert world.held(at) == tried.expected(at), (step, hours)


@given(taken=steps)
@settings(max_examples=20, deadline=None)
def test_each_change_is_told_once_and_follows_from_the_one_before(taken: list[Step]) -> None:
    tried = Tried(MONTHS[3])
    for step in taken:
        tried.take(step)
    held = "-"
    for _, tier, before, direction in tried.world.told:
        assert (before, direction) == (held, "up" if TIERS.index(tier) > TIERS.index(before) else "down")
        held = tier
    assert held == tried.world.held()


def test_what_is_remembered_stays_small() -> None:
    tried = Tried(WINDOWS[0])
    for _ in range(400):
        tried.take(("counts", 40, 100))
        tried.take(("passes", 1, 0))
    state = tried.world.member().state
    assert tried.world.held() == tried.expected(tried.world.now)
    assert state_size(state.play[MECHANIC]) < 4_096
