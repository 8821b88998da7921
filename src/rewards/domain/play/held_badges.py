"""Which badges a member holds: what the member's document keeps of each.

It is `[moments, times, paid, thresholds, lost]` under the badge's key: when each held level was reached, the lowest first (seconds
since 1970); how many times each level was, None or left out while that is once; the payments of which some of the points stayed
with the member when their level was lost; of each payment, in the order in which they came, the threshold that it was for; and
the payments whose level is lost now. What is empty at the end is left out, and badges that actions give have no thresholds:
there payments are numbered as their levels are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from rewards.domain.periods import epoch_seconds, from_epoch_seconds

MECHANIC: Final = "badges"
PAID_FOR: Final = 3
"""Where in what is kept the thresholds are."""
Play = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Held:
    """One badge of a member. `times` counts how often each level was reached, the lost ones included.

    `paid` are the payments whose points were not all taken back when their level was lost. `thresholds` are what levels were
    paid for: payment 1 for the first, and so on, whatever number their levels have since. `lost` are payments of lost levels.
    """

    moments: tuple[int, ...] = ()
    times: tuple[int, ...] = ()
    paid: tuple[int, ...] = ()
    thresholds: tuple[float | None, ...] = ()
    lost: tuple[int, ...] = ()

    @property
    def level(self) -> int:
        """The highest level held; 0 for none."""
        return len(self.moments)

    def reached_at(self, level: int) -> datetime:
        """The second in which it was."""
        return from_epoch_seconds(self.moments[level - 1])

    def instance(self, level: int) -> int:
        """How many times the level was reached."""
        return self.times[level - 1] if level <= len(self.times) else 0

    def with_next(self, moment: datetime) -> Held:
        """One level more."""
        level = self.level + 1
        times = (*self.times[: level - 1], self.instance(level) + 1, *self.times[level:])
        return replace(self, moments=(*self.moments, epoch_seconds(moment)), times=times)

    def reached_anew(self, level: int, moment: datetime) -> Held:
        """The same levels, one of them by what happened at another moment."""
        at = level - 1
        return replace(self, moments=(*self.moments[:at], epoch_seconds(moment), *self.moments[level:]))

    def without_highest(self) -> Held:
        """One level less."""
        return replace(self, moments=self.moments[:-1])

    def with_inserted(self, level: int) -> Held:
        """One level more, and not at the top: those above have moved up. It is reached as that above it was."""
        moments = (*self.moments[:level], *self.moments[level - 1 :])
        times = [self.instance(each) for each in range(1, max(len(moments), len(self.times)) + 1)]
        for reached in (level, len(moments)):
            times[reached - 1] += 1
        return replace(self, moments=moments, times=tuple(times))

    def payment_of(self, threshold: float | None, level: int) -> int:
        """The payment that was made for a threshold; where nothing is known of that, the one of the level's number."""
        if threshold is None or threshold not in self.thresholds:
            return level
        return self.thresholds.index(threshold) + 1

    def paying(self, threshold: float) -> tuple[Held, int]:
        """The payment for a threshold, which is made now."""
        if threshold not in self.thresholds:
            return replace(self, thresholds=(*self.thresholds, threshold)), len(self.thresholds) + 1
        payment = self.thresholds.index(threshold) + 1
        return replace(self, lost=tuple(each for each in self.lost if each != payment)), payment

    def losing(self, payment: int) -> Held:
        """The level is lost that it was made for."""
        return replace(self, lost=tuple(sorted({*self.lost, payment})))

    def keeping_paid(self, payment: int) -> Held:
        """Some of what was given for a level that is lost stays with the member."""
        return replace(self, paid=tuple(sorted({*self.paid, payment})))

    def packed(self) -> list[Any]:
        """As the document keeps it."""
        times = None if self.times == (1,) * self.level else list(self.times)
        kept = [list(self.moments), times, list(self.paid), list(self.thresholds), list(self.lost)]
        while not kept[-1] and len(kept) > 1:
            kept.pop()
        return kept


NONE: Final = Held()


def held(play: Play, key: str) -> Held:
    """What of a badge the member holds."""
    kept = play.get(MECHANIC, {}).get(key)
    return NONE if kept is None else unpacked(kept)


def level_held(play: Play, key: str) -> int:
    """The highest level of a badge that the member holds; 0 for none."""
    kept = play.get(MECHANIC, {}).get(key)
    return 0 if kept is None else len(kept[0])


def unpacked(kept: list[Any]) -> Held:
    """As `Held.packed` made it."""
    moments, times, paid, thresholds, lost = [*kept, None, None, None, None][:5]
    return Held(
        tuple(moments),
        (1,) * len(moments) if times is None else tuple(times),
        tuple(paid or ()),
        tuple(thresholds or ()),
        tuple(lost or ()),
    )


def keys_held(play: Play) -> list[str]:
    """The badges of which the member holds a level."""
    return [key for key, kept in play.get(MECHANIC, {}).items() if kept[0]]


def together(one: Held, other: Held) -> Held:
    """Of two members that become one: the higher level, each reached when the first of them did."""
    level = max(one.level, other.level)
    both = (one, other)
    thresholds = tuple(dict.fromkeys((*one.thresholds, *other.thresholds)))
    standing = {each for of in both for number, each in enumerate(of.thresholds, 1) if number not in of.lost}
    return Held(
        moments=tuple(min(each.moments[at] for each in both if at < each.level) for at in range(level)),
        times=tuple(max(each.instance(at + 1) for each in both) for at in range(max(len(one.times), len(other.times)))),
        paid=tuple(sorted({*one.paid, *other.paid})),
        thresholds=thresholds,
        lost=tuple(number for number, each in enumerate(thresholds, 1) if each not in standing),
    )
