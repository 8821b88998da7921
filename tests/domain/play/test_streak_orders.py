"""Streaks against a slow, obvious oracle: whatever order events come in, and whatever is taken back or given meanwhile."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.domain.play.streaks_world import World, program
from tests.properties import explored

from rewards.domain.commands import GiveFreezes, PauseStreak, ReverseReference
from rewards.domain.errors import Refusal

START: Final = datetime(2026, 10, 20, 3, 7, tzinfo=UTC)
LATE_HOURS: Final = 72
TERMS: Final = (
    "target: TARGET, freezes: {most: 3, start: 1, earn_every: 4}, pause: {longest: 5d, per_year: 400d}, "
    "milestones: [{at: 2, rewards: [{earn: {currency: points, amount: 1}}]}, {every: 3, rewards: [{earn: {currency: points, amount: 10}}]}]"
)
GROUND: Final = (
    "rules: [{key: ground, on: ran, then: [{earn: {currency: points, amount: 1, reference: 'string(event.km)'}}]}]"
)
MOST, START_WITH, EARN_EVERY = 3, 1, 4


@dataclass
class Oracle:
    """All that ever happened, kept as it happened; every question is answered by going through all of it again."""

    zone: ZoneInfo
    target: int
    events: dict[int, date] = field(default_factory=dict)
    given: list[tuple[date, int]] = field(default_factory=list)
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    paid: Counter[int] = field(default_factory=Counter)

    def day(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def _midnight(self, day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    def _paused(self, day: date) -> bool:
        begins, ends = self._midnight(day), self._midnight(day + timedelta(days=1))
        return any(since < ends and until > begins for since, until in self.pauses)

    def standing(self, now: datetime) -> dict[str, Any]:
        """Day by day from the first to today."""
        counts = Counter(self.events.values())
        length = best = kept_since = 0
        freezes = START_WITH
        runs: list[int] = []
        today = self.day(now)
        day = min([today, *counts, *(when for when, _ in self.given)])
        while day <= today:
            freezes += sum(number for when, number in self.given if when == day)
            if counts[day] >= self.target:
                length += 1
                best = max(best, length)
                kept_since += 1
                if kept_since == EARN_EVERY:
                    kept_since = 0
                    freezes = max(freezes, min(freezes + 1, MOST))
            elif day < today and length and not self._paused(day):
                if freezes:
                    freezes -= 1
                else:
                    runs.append(length)
                    length = 0
            day += timedelta(days=1)
        for milestone in {2, *range(3, best + 1, 3)}:
            reached = sum(run >= milestone for run in [*runs, length])
            self.paid[milestone] = max(self.paid[milestone], reached)
        return {"length": length, "best": best, "freezes": freezes}

    def points(self) -> int:
        """One for the second day of a streak and ten for each third, as often as they were ever reached."""
        return sum(times * ((milestone == 2) + 10 * (milestone % 3 == 0)) for milestone, times in self.paid.items())


class Play:
    """The real thing and the oracle side by side."""

    def __init__(self, zone: str, target: int) -> None:
        self.world = World(program(TERMS.replace("TARGET", str(target)), more=GROUND, late=f"{LATE_HOURS}h"), zone)
        self.oracle = Oracle(ZoneInfo(zone), target)
        self.occurred: dict[int, datetime] = {}

    def run(self, number: int, occurred: datetime, now: datetime) -> None:
        self.world.run(occurred, arrives=now, km=number)
        self.occurred[number] = occurred
        self.oracle.events[number] = self.oracle.day(occurred)

    def take_back(self, pick: int, now: datetime) -> None:
        """One of the events that can still be reached."""
        recent = [number for number in sorted(self.oracle.events) if now - self.occurred[number] < timedelta(hours=48)]
        if recent:
            number = recent[pick % len(recent)]
            self.world.do(ReverseReference(str(number)), now)
            del self.oracle.events[number]

    def give(self, now: datetime) -> None:
        try:
            self.world.do(GiveFreezes("s"), now)
        except Refusal:
            return
        self.oracle.given.append((self.oracle.day(now), 1))

    def pause(self, now: datetime, days: int) -> None:
        try:
            self.world.do(PauseStreak("s", timedelta(days=days)), now)
        except Refusal:
            return
        now = now.replace(microsecond=0)
        self.oracle.pauses.append((now, now + timedelta(days=days)))

    def compare(self, now: datetime) -> None:
        standing = self.world.standing(now)
        found = {"length": standing.length, "best": standing.best, "freezes": standing.freezes}
        wanted = self.oracle.standing(now)
        # A day that was taken back leaves the longest streak that there was.
        assert found.pop("best") >= wanted.pop("best")
        assert found == wanted
        ground = len(self.oracle.events)
        assert self.world.points() == self.oracle.points() + ground


ZONES: Final = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York")
hours = st.sampled_from((0, 1, 7, 13, 20, 24, 24, 30, 50, 75))
steps = st.one_of(
    st.tuples(st.just("run"), hours, st.integers(0, LATE_HOURS - 1)),
    st.tuples(st.just("run"), hours, st.just(0)),
    st.tuples(st.just("take_back"), st.integers(0, 3), st.integers(0, 20)),
    st.tuples(st.just("give"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("pause"), st.integers(0, 3), st.integers(1, 4)),
)  # fmt: skip

TWO_STREAKS: Final = [("run", 0, 0), ("run", 24, 0), ("run", 75, 0), ("run", 24, 0), ("run", 24, 0)]


@explored(
    given(zone=st.sampled_from(ZONES), target=st.integers(1, 2), plan=st.lists(steps, min_size=1, max_size=40)),
    few=30,
    at_length=150,
)
@example(zone="UTC", target=1, plan=TWO_STREAKS)
@example(zone="UTC", target=1, plan=[*TWO_STREAKS, ("run", 1, 40), ("run", 1, 60), ("take_back", 1, 0), ("run", 1, 10)])
def test_a_streak_is_what_its_events_make_of_it(zone: str, target: int, plan: list[tuple[str, int, int]]) -> None:
    """Each step: so many hours later this happens, or comes in that happened so many hours before."""
    play = Play(zone, target)
    now = START
    for number, (what, hours, more) in enumerate(plan, start=1):
        now += timedelta(hours=hours)
        play.world.members.advance(now)
        if what == "run":
            play.run(number, max(START, now - timedelta(hours=more)), now)
        elif "streaks" not in play.world.member.state.play:
            continue
        elif what == "take_back":
            play.take_back(more, now)
        elif what == "give":
            play.give(now)
        else:
            play.pause(now, more)
        play.compare(now)


@pytest.mark.parametrize(
    ("seed", "events"),
    [(1, 1_000), (2, 1_000), *(pytest.param(seed, 10_000, marks=pytest.mark.slow) for seed in (1, 2))],
)
def test_thousands_of_events_in_any_order(seed: int, events: int) -> None:
    """Years of days, some without events, everything up to three days late; each day kept is paid for once."""
    random = Random(seed)
    terms = "freezes: {most: 3, start: 1, earn_every: 4}, rewards: [{earn: {currency: points, amount: 1}}]"
    world = World(program(terms, late=f"{LATE_HOURS}h"), ZONES[seed])
    oracle = Oracle(world.zone, target=1)
    moments = [START + timedelta(minutes=random.randrange(864 * events)) for _ in range(events)]
    late = (lambda: 0, lambda: 71.99, lambda: random.random() * 71.99)  # many are as late as can be
    arrivals = sorted((moment + timedelta(hours=random.choice(late)()), moment) for moment in moments)
    for number, (now, moment) in enumerate(arrivals, start=1):
        world.run(moment, arrives=now)
        oracle.events[number] = oracle.day(moment)
        if number % 500 == 0:
            standing = world.standing(now)
            assert (standing.length, standing.best, standing.freezes) == tuple(oracle.standing(now).values())
    assert world.points() == len(set(oracle.events.values()))
