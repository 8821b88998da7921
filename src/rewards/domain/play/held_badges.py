"""Which badges a member holds: what the member's document keeps of each.

It is `[moments, times, paid]` under the badge's key: when each held level was reached, the lowest first (seconds since 1970);
how many times each level was, left out while that is once; and the levels that were lost while some of the points given for
them stayed with the member, left out while there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from rewards.domain.periods import epoch_seconds, from_epoch_seconds

MECHANIC: Final = "badges"
Play = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Held:
    """One badge of a member. `times` counts how often each level was reached, the lost ones included.

    `paid` are the levels whose points were not all taken back when they were lost.
    """

    moments: tuple[int, ...] = ()
    times: tuple[int, ...] = ()
    paid: tuple[int, ...] = ()

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

    def keeping_paid(self, level: int) -> Held:
        """Some of what was given for a level that is lost stays with the member."""
        return replace(self, paid=tuple(sorted({*self.paid, level})))

    def packed(self) -> list[Any]:
        """As the document keeps it."""
        if self.paid:
            return [list(self.moments), list(self.times), list(self.paid)]
        kept = [list(self.moments)]
        return kept if self.times == (1,) * self.level else [*kept, list(self.times)]


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
    moments, times, paid = [*kept, None, None][:3]
    return Held(tuple(moments), (1,) * len(moments) if times is None else tuple(times), tuple(paid or ()))


def keys_held(play: Play) -> list[str]:
    """The badges of which the member holds a level."""
    return [key for key, kept in play.get(MECHANIC, {}).items() if kept[0]]


def together(one: Held, other: Held) -> Held:
    """Of two members that become one: the higher level, each reached when the first of them did."""
    level = max(one.level, other.level)
    both = (one, other)
    return Held(
        moments=tuple(min(each.moments[at] for each in both if at < each.level) for at in range(level)),
        times=tuple(max(each.instance(at + 1) for each in both) for at in range(max(len(one.times), len(other.times)))),
        paid=tuple(sorted({*one.paid, *other.paid})),
    )
