"""How a streak stands: what follows from the stretches that were kept and those that were missed, in their order.

A kept stretch makes the streak longer. A missed one is bridged by a pause, by having been cut short by a move (never two in a
row), or by a freeze; else it breaks the streak.

How often milestones were reached is kept by runs: `{length: runs}` holds, of each run, the greatest milestone that it came to.
A milestone was reached as often as there are runs that came to it or to a greater one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from rewards.domain.play.streaking.stretches import ALL_LOST, Stretch
from rewards.domain.program.streak import Streak

RUNS_MAX: Final = 100
"""Different greatest milestones of runs; beyond it the smallest ones are taken for the next greater."""
Runs = Mapping[int, int]


class Fate(StrEnum):
    """What became of a stretch."""

    OPEN = "open"
    KEPT = "kept"
    PAUSED = "paused"
    EXCUSED = "excused"
    FROZEN = "frozen"
    BROKEN = "broken"
    NOTHING = "nothing"


@dataclass(slots=True)
class Standing:
    """`since`: periods kept since a freeze was earned. `lost`: the length at which the streak last broke, until it is restored.

    `excused`: the last stretch was missed and excused. `runs` are those that have ended. `bought`: so many of the `freezes`
    were bought; the others are used before them.
    """

    length: int = 0
    best: int = 0
    freezes: int = 0
    since: int = 0
    lost: int = 0
    excused: bool = False
    runs: dict[int, int] = field(default_factory=dict)
    bought: int = 0

    def copy(self) -> Standing:
        runs = dict(self.runs)
        return Standing(self.length, self.best, self.freezes, self.since, self.lost, self.excused, runs, self.bought)

    def plain(self) -> list[Any]:
        """As it is kept."""
        runs = sorted(self.runs.items())
        return [
            self.length,
            self.best,
            self.freezes,
            self.since,
            self.lost,
            self.excused,
            [list(each) for each in runs],
            self.bought,
        ]

    def reached(self, streak: Streak) -> dict[int, int]:
        """All runs, the present one included."""
        runs = dict(self.runs)
        _count(runs, streak.milestone(self.length), 1)
        return runs

    def meet(self, streak: Streak, stretch: Stretch, *, over: bool, paused: bool) -> Fate:
        """Takes one stretch more into account. What is not `over` can still be kept."""
        self.freezes += stretch.freezes
        self.bought += stretch.bought
        if stretch.restored is not None:
            self._restore(streak, stretch.restored)
        if stretch.count >= streak.target:
            self._keep(streak)
            return Fate.KEPT
        if not over:
            return Fate.OPEN
        fate = self._miss(stretch, paused=paused)
        if fate is Fate.BROKEN:
            _count(self.runs, streak.milestone(self.length), 1)
            self.lost, self.length = self.length, 0
        self.excused = fate is Fate.EXCUSED
        return fate

    def bridges(self, stretch: Stretch, *, paused: bool) -> bool:
        """Whether the streak would outlast missing this stretch."""
        return paused or (stretch.short and not self.excused) or self.freezes > 0

    def _miss(self, stretch: Stretch, *, paused: bool) -> Fate:
        if self.length == 0:
            return Fate.NOTHING
        if paused:
            return Fate.PAUSED
        if stretch.short and not self.excused:
            return Fate.EXCUSED
        if self.freezes > 0:
            self.freezes -= 1
            self.bought = min(self.bought, self.freezes)
            return Fate.FROZEN
        return Fate.BROKEN

    def _keep(self, streak: Streak) -> None:
        self.length += 1
        self.best = max(self.best, self.length)
        self.excused = False
        terms = streak.freezes
        if terms.earn_every:
            self.since += 1
            if self.since >= terms.earn_every:
                self.since = 0
                self.freezes = max(self.freezes, min(self.freezes + 1, terms.most))

    def _restore(self, streak: Streak, length: int) -> None:
        _count(self.runs, streak.milestone(self.lost), -1)  # that run goes on
        self.length = self.length + self.lost if length == ALL_LOST else max(self.length, length)
        self.best = max(self.best, self.length)
        self.lost = 0


def standing(kept: list[Any]) -> Standing:
    """From what is kept."""
    length, best, freezes, since, lost, excused, runs, *bought = kept
    return Standing(length, best, freezes, since, lost, excused, dict(runs), *bought)


def owed(streak: Streak, paid: Runs, reached: Runs) -> Iterator[tuple[int, int]]:
    """The milestones (length, how many times it was reached) that were reached and are not paid yet, the least first."""
    found = []
    for lower, upper in _between(paid, reached):
        had, has = _times(paid, upper), _times(reached, upper)
        if has > had:
            for length in streak.milestones_to(upper):
                if length <= lower:
                    break
                found += [(length, instance) for instance in range(had + 1, has + 1)]
    return iter(sorted(found))


def most(one: Runs, other: Runs) -> dict[int, int]:
    """The runs by which every milestone was reached as often as by either."""
    both: dict[int, int] = {}
    beyond = 0
    for _, upper in reversed(list(_between(one, other))):
        times = max(_times(one, upper), _times(other, upper))
        if times > beyond:
            both[upper] = times - beyond
            beyond = times
    while len(both) > RUNS_MAX:
        least, next_least = sorted(both)[:2]
        both[next_least] += both.pop(least)
    return both


def _between(one: Runs, other: Runs) -> Iterator[tuple[int, int]]:
    """The intervals (from, to] in which both say the same of every length."""
    lower = 0
    for upper in sorted({*one, *other}):
        yield lower, upper
        lower = upper


def _times(runs: Runs, length: int) -> int:
    return sum(times for top, times in runs.items() if top >= length)


def _count(runs: dict[int, int], length: int, times: int) -> None:
    if length:
        runs[length] = runs.get(length, 0) + times
        if runs[length] <= 0:
            del runs[length]
