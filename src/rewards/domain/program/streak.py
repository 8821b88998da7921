"""Streaks as compiled: what keeps a period, what bridges a missed one, and what a length is worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import Final, Self

from rewards.domain.periods import Calendar
from rewards.domain.program.compiled import Action, Cause, Condition, Value


@dataclass(frozen=True, slots=True)
class Freezes:
    """How many may be kept (`most`) and are there at first (`start`), and how one comes by them.

    `earn_every`: one for so many periods kept, 0 for never; `currency` and `amount` are the price, None where they are not
    for sale.
    """

    most: int
    start: int
    earn_every: int
    currency: str | None = None
    amount: int = 0


USUAL_SECONDS: Final[Mapping[Calendar, int]] = {
    Calendar.DAY: 86_400,
    Calendar.WEEK: 7 * 86_400,
    Calendar.MONTH: 30 * 86_400,
}


YEAR_SECONDS: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class PauseTerms:
    """How long one pause may last, and how long all may that begin in one calendar year of the member."""

    per: Calendar
    longest: timedelta
    per_year_seconds: int

    @classmethod
    def of(cls, per: Calendar, longest: timedelta, per_year: timedelta | None) -> Self:
        """Where nothing is said of the year: two of the longest pauses, up to a year."""
        if per_year is not None:
            return cls(per, longest, int(per_year.total_seconds()))
        most = cls(per, longest, 0).counted_seconds(int(longest.total_seconds()))
        return cls(per, longest, max(most, min(2 * most, YEAR_SECONDS)))

    def counted_seconds(self, seconds: int) -> int:
        """What a pause counts for: whole usual periods, each begun one."""
        usual = USUAL_SECONDS[self.per]
        return -(-seconds // usual) * usual


@dataclass(frozen=True, slots=True)
class Milestone:
    """Reached at the length `at`, or at every multiple of `every`; the other one is 0."""

    at: int
    every: int
    name: Mapping[str, str] | None
    rewards: tuple[Action, ...]

    def is_at(self, length: int) -> bool:
        return length > 0 and (length == self.at or (self.every > 0 and length % self.every == 0))

    def upto(self, length: int) -> int:
        """The greatest length of this milestone that is at most `length`; 0 where there is none."""
        if self.every:
            return length - length % self.every
        return self.at if self.at <= length else 0

    def after(self, length: int) -> int | None:
        """The least length of this milestone beyond `length`."""
        if self.every:
            return length - length % self.every + self.every
        return self.at if self.at > length else None


@dataclass(frozen=True, slots=True)
class Streak:
    """Periods in a row in each of which `target` is reached.

    `target` is in units of a contribution: events, or millionths of what `value` gives. `warn_before`: how long before the
    end of a period that would break the streak the member is warned.
    """

    key: str
    name: Mapping[str, str]
    description: Mapping[str, str] | None
    image: Mapping[str, str] | None
    events: frozenset[str]
    where: Condition | None
    value: Value | None
    target: int
    per: Calendar
    freezes: Freezes
    pause: PauseTerms | None
    warn_before: timedelta | None
    milestones: tuple[Milestone, ...]
    rewards: tuple[Action, ...]
    cause: Cause = field(init=False)
    terms: int = field(init=False)
    """Tells apart definitions under which time does something at different moments, or something else is reached."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cause", Cause("streak", self.key))
        milestones = sorted((each.at, each.every) for each in self.milestones)
        terms = f"{self.target} {self.per} {self.freezes} {self.warn_before} {milestones}"
        object.__setattr__(self, "terms", int.from_bytes(blake2b(terms.encode(), digest_size=4).digest()))

    def milestone(self, length: int) -> int:
        """The greatest length at most `length` at which there is a milestone; 0 where there is none."""
        return max((each.upto(length) for each in self.milestones), default=0)

    def milestones_to(self, length: int) -> Iterator[int]:
        """All lengths up to `length` at which there is a milestone, the greatest first."""
        length = self.milestone(length)
        while length:
            yield length
            length = self.milestone(length - 1)

    def next_milestone(self, length: int) -> int | None:
        """The least length beyond `length` at which there is one."""
        return min((after for each in self.milestones if (after := each.after(length)) is not None), default=None)


@dataclass(frozen=True, slots=True)
class FreezesAction:
    """Gives freezes of a streak, as many as there is room for."""

    streak: str
    freezes: int
    bind: str | None = None


def streaks_by_event(streaks: Iterable[Streak]) -> Mapping[str, tuple[Streak, ...]]:
    """The streaks that an event of a type can keep."""
    found: dict[str, tuple[Streak, ...]] = {}
    for streak in streaks:
        for event in streak.events:
            found[event] = (*found.get(event, ()), streak)
    return found
