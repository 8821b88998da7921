"""The local periods that a member lived, one after the other, whatever the moves between time zones.

A stretch is the time that the member spent in one local period. Stretches lie end to end and their numbers only grow:

- Without a move they are the calendar periods of the zone.
- Who moves to where it is still, or again, a period that was lived already stays in the stretch until that period is over
  there: a day lived twice is one.
- Who moves to where a later period has begun enters it, once at least half of a usual period was spent in the one before;
  else the one before takes the later one's place. Periods jumped over were not lived: there is no stretch for them.

So nobody gains a period by moving to and fro. `short` marks what a move has made shorter than usual: missing it is excused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, Period, period_at

ALL_LOST: Final = -1


@dataclass(slots=True)
class Stretch:
    """Instants in epoch seconds, `end` exclusive; `number` as of `Period`.

    `count` is what was contributed, `freezes` how many were given meanwhile, `bought` how many of these were bought.
    `restored` is the length to which staff put the streak back (`ALL_LOST`: to what had been lost), None where they did not.
    `rewarded`: the rewards for keeping it were given.
    """

    start: int
    end: int
    number: int
    short: bool = False
    count: int = 0
    freezes: int = 0
    restored: int | None = None
    rewarded: bool = False
    bought: int = 0

    def plain(self) -> list[Any]:
        """As it is kept, without what is as usual."""
        kept = [self.start, self.end, self.number, self.short, self.count, self.freezes, self.restored, self.rewarded]
        kept.append(self.bought)
        while kept[-1] in (0, None):
            kept.pop()
        return kept


def first(per: Calendar, seconds: int, zone: ZoneInfo) -> Stretch:
    """The stretch of a member of whom nothing was known before."""
    period = period_at(per, seconds, zone)
    return Stretch(period.start_seconds, period.end_seconds, period.number)


def following(last: Stretch, per: Calendar, zone: ZoneInfo) -> Stretch:
    """The stretch after one that ended."""
    period = _beyond(period_at(per, last.end, zone), last.number, per, zone)
    return Stretch(last.end, period.end_seconds, period.number)


def anew(last: Stretch, per: Calendar, seconds: int, zone: ZoneInfo) -> Stretch:
    """The stretch at `seconds` where nothing hangs on what was between it and the last one."""
    period = period_at(per, seconds, zone)
    if period.start_seconds <= last.end or period.number <= last.number:
        return following(last, per, zone)
    return Stretch(period.start_seconds, period.end_seconds, period.number)


def move(stretches: list[Stretch], per: Calendar, seconds: int, zone: ZoneInfo) -> None:
    """The member is in `zone` from `seconds` on, which lies in the last stretch."""
    last = stretches[-1]
    period = period_at(per, seconds, zone)
    usual = period.end_seconds - period.start_seconds
    if period.number <= last.number:
        until = period
        while (later := period_at(per, until.end_seconds, zone)).number <= last.number:
            until = later
        last.end = until.end_seconds
        last.short = last.end - last.start < usual
    elif (seconds - last.start) * 2 < usual:
        last.number, last.end = period.number, period.end_seconds
        last.short = last.end - last.start < usual
    else:
        last.end = seconds
        last.short = last.end - last.start < usual
        stretches.append(Stretch(seconds, period.end_seconds, period.number, short=period.start_seconds < seconds))


def _beyond(period: Period, number: int, per: Calendar, zone: ZoneInfo) -> Period:
    """The first period from this one on that is later than `number`."""
    while period.number <= number:
        period = period_at(per, period.end_seconds, zone)
    return period
