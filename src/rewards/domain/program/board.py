"""Leaderboards, ready to decide: what scores, in which periods, how members rank, and what the best of them get."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from rewards.domain.program.compiled import Action, Cause, Condition, Value
from rewards.domain.program.schedule import Period, Schedule

KIND = "leaderboard"
"""How ledger entries and effects name boards."""
NAMED_MAX = 1_024
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


class Tally(StrEnum):
    """How one score is made of many contributions."""

    SUM = "sum"
    DISTINCT = "distinct"
    """How many different values."""
    BEST = "best"
    """The highest, on an ascending board the lowest."""
    LAST = "last"


class Ties(StrEnum):
    """Who ranks first of those with the same score."""

    SHARED = "shared"
    """1, 2, 2, 4: as many are better, plus one."""
    FIRST = "first"
    """Whoever reached the score earlier; at the same moment, by id."""


class Shown(StrEnum):
    """As what a member appears to others."""

    PSEUDONYM = "pseudonym"
    EXTERNAL_ID = "external_id"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True, slots=True)
class Names:
    """As what members appear; `attribute` is the key of the attribute that holds the name, where `shown` says so."""

    shown: Shown = Shown.PSEUDONYM
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The events that score: all of `events` where `where` holds, each with `value` (None: each is one)."""

    metric: str
    events: frozenset[str]
    where: Condition | None
    value: Value | None


@dataclass(frozen=True, slots=True)
class Prize:
    """Actions for the ranks `first` to `last`, or for the best `percent` of all members of the ranking."""

    number: int
    first: int
    last: int | None
    percent: Decimal | None
    then: tuple[Action, ...]

    def last_rank(self, members: int) -> int:
        """The last rank that gets it in a ranking of so many members; of a share at least one does."""
        if self.percent is not None:
            return math.ceil(members * self.percent / 100)
        assert self.last is not None
        return self.last


@dataclass(frozen=True, slots=True)
class Board:
    """`id` is the hash of what scores, when, and in which ranking: a changed board starts anew. `name` and the like are texts by locale.

    `segment` ranks only its members; `attribute` makes one ranking (a part) per value of it. `grace` is how long after a
    period's end late events still count, and then its result is frozen. Periods that ended by `sealed_until` stand as they are
    even if it is not over, see `rewards.domain.program.sealing`.
    """

    key: str
    id: str
    name: Mapping[str, str]
    description: Mapping[str, str]
    image: Mapping[str, str]
    tally: Tally
    source: Source | None
    currency: str | None
    ascending: bool
    ties: Ties
    schedule: Schedule
    segment: str | None
    attribute: str | None
    names: Names
    grace: timedelta
    prizes: tuple[Prize, ...]
    sealed_until: datetime | None = None
    cause: Cause = field(init=False)
    _named: dict[str, Period | None] = field(init=False, default_factory=dict, repr=False, compare=False)
    _final_from: dict[str, datetime] = field(init=False, default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cause", Cause(KIND, self.key))

    def named(self, period: str) -> Period | None:
        """The period of that name, as `schedule.named`; what was asked before is remembered."""
        try:
            return self._named[period]
        except KeyError:
            if len(self._named) >= NAMED_MAX:
                self._named.clear()
            found = self._named[period] = self.schedule.named(period)
            return found

    def closes_at(self, period: Period) -> datetime | None:
        """From then on the period's result stands; None for all time."""
        return period.ends_at + self.grace if period.ends_at is not None else None

    def is_open(self, period: str, now: datetime) -> bool:
        """Whether scores of the period of that name can still change at `now`; never of one that there is none of."""
        try:
            return now < self._final_from[period]
        except KeyError:
            if len(self._final_from) >= NAMED_MAX:
                self._final_from.clear()
            final_from = self._final_from[period] = self._final(self.named(period))
            return now < final_from

    def _final(self, period: Period | None) -> datetime:
        if period is None or (period.ends_at is not None and self.is_sealed(period.ends_at)):
            return _ALWAYS
        return self.closes_at(period) or _NEVER

    def is_sealed(self, ends_at: datetime) -> bool:
        """Whether a period that ended then stands as it was counted, because of a version published since."""
        return self.sealed_until is not None and ends_at <= self.sealed_until

    def reference(self, period: str) -> str:
        """What the ledger entries of a period's prizes carry."""
        return f"{self.cause.source}:{period}"


@dataclass(frozen=True, slots=True)
class Boards:
    """All boards of a program, by event type those that it scores on, and by currency those that rank its earning."""

    by_key: Mapping[str, Board] = field(default_factory=dict)
    by_event: Mapping[str, tuple[Board, ...]] = field(default_factory=dict)
    by_currency: Mapping[str, tuple[Board, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreAction:
    """Adds a number to the member's score on a board, in the period in which the event occurred."""

    board: str
    value: Value
    bind: str | None = None
