"""When the periods of a leaderboard begin and end: calendar periods or cron's moments in one zone, or all time.

A period is named so that the name alone tells it apart: `2026-11-21`, `2026-W47`, `2026-11`, with cron the moment at which
it began (`2026-11-21T17:00Z`), or `all_time`. Periods of a schedule lie end to end, whatever clocks do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from rewards.domain.periods import Calendar, epoch_seconds, from_epoch_seconds, period_at, period_key

ALL_TIME: Final = "all_time"
SHORTEST: Final = timedelta(hours=1)
"""A member's document holds the scores of all periods that may still change: more often would be too many."""
LONGEST: Final = timedelta(days=3_660)
_SAMPLE: Final = 1_000
_FROM: Final = datetime(2024, 1, 1, tzinfo=UTC)
_CACHED_MAX: Final = 4_096
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_WEEK: Final = re.compile(r"(\d{4})-W(\d{2})")
_MONTH: Final = re.compile(r"\d{4}-\d{2}")
_CRON_FORMAT: Final = "%Y-%m-%dT%H:%MZ"


class Period(NamedTuple):
    """`starts_at` and `ends_at` (exclusive) are UTC, and None for all time."""

    key: str
    starts_at: datetime | None
    ends_at: datetime | None


EVER: Final = Period(ALL_TIME, None, None)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`every` a calendar period or whenever `cron` says, in `zone`; neither: all time is one period."""

    zone: ZoneInfo
    every: Calendar | None = None
    cron: str | None = None

    def at(self, moment: datetime) -> Period:
        """The period that holds a moment (aware)."""
        if self.every is not None:
            return _calendar(self.every, self.zone, epoch_seconds(moment))
        if self.cron is not None:
            return _between(self.cron, self.zone, moment)
        return EVER

    def named(self, key: str) -> Period | None:
        """The period of that name; None if this schedule has none such."""
        return _named(self, key)

    def before(self, period: Period) -> Period | None:
        """The period that ended when this one began; None before all time."""
        return self.at(period.starts_at - timedelta(seconds=1)) if period.starts_at is not None else None


class BadCron(ValueError):
    """No cron expression that periods can be made of."""


def check_cron(text: str, zone: ZoneInfo) -> None:
    """Raises `BadCron`: five fields, at least one moment in ten years, and never two within an hour."""
    if len(text.split()) != 5:
        raise BadCron("cron has five fields: minute hour day month weekday")
    try:
        moments = list(islice(_moments(text, zone, _FROM), _SAMPLE))
    except CronSimError as wrong:
        raise BadCron(f"{text}: {wrong}") from wrong
    if not moments or moments[0] - _FROM > LONGEST:
        raise BadCron(f"{text} names no moment in ten years")
    closest = min((after - before for before, after in pairwise(moments)), default=LONGEST)
    if closest < SHORTEST:
        raise BadCron(f"{text} names moments {closest} apart; a period lasts at least an hour")


def _moments(text: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The moments of a cron expression after one, in UTC. What clocks show twice happens once."""
    last = after
    for local in CronSim(text, after.astimezone(zone)):
        moment = local.astimezone(UTC)
        if moment > last:
            yield moment
            last = moment


_last_between: dict[tuple[str, ZoneInfo], Period] = {}


def _between(cron: str, zone: ZoneInfo, moment: datetime) -> Period:
    """The period between two moments of cron. Most calls ask about now, so the last answer is remembered."""
    known = _last_between.get((cron, zone))
    if known is not None and known.starts_at is not None and known.ends_at is not None:  # noqa: SIM102 - reads better
        if known.starts_at <= moment < known.ends_at:
            return known
    # Always found by going forward: cron's moments near changes of the clock are what going forward says they are.
    back = SHORTEST * 2
    start: datetime | None = None
    while start is None and back <= LONGEST * 2:
        for each in _moments(cron, zone, moment - back):
            if each > moment:
                break
            start = each
        back *= 2
    assert start is not None, cron
    end = next(_moments(cron, zone, moment))
    found = Period(start.strftime(_CRON_FORMAT), start, end)
    if len(_last_between) >= _CACHED_MAX:
        _last_between.clear()
    _last_between[cron, zone] = found
    return found


_last_calendar: dict[tuple[Calendar, ZoneInfo], tuple[int, int, Period]] = {}


def _calendar(every: Calendar, zone: ZoneInfo, seconds: int) -> Period:
    known = _last_calendar.get((every, zone))
    if known is not None and known[0] <= seconds < known[1]:
        return known[2]
    found = period_at(every, seconds, zone)
    starts_at = from_epoch_seconds(found.start_seconds)
    period = Period(period_key(every, starts_at, zone), starts_at, from_epoch_seconds(found.end_seconds))
    if len(_last_calendar) >= _CACHED_MAX:
        _last_calendar.clear()
    _last_calendar[every, zone] = (found.start_seconds, found.end_seconds, period)
    return period


@lru_cache(maxsize=_CACHED_MAX)
def _named(schedule: Schedule, key: str) -> Period | None:
    if schedule.every is None and schedule.cron is None:
        return EVER if key == ALL_TIME else None
    try:
        inside = _inside(schedule, key)
        found = schedule.at(inside) if inside is not None else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and found.key == key else None


def _inside(schedule: Schedule, key: str) -> datetime | None:
    """A moment inside the period of that name, if there is one. Raises `ValueError` beyond the calendar."""
    if schedule.cron is not None:
        return datetime.strptime(key, _CRON_FORMAT).replace(tzinfo=UTC)
    if schedule.every is Calendar.DAY and _DAY.fullmatch(key):
        day = date.fromisoformat(key)
    elif schedule.every is Calendar.WEEK and (week := _WEEK.fullmatch(key)):
        day = date.fromisocalendar(int(week[1]), int(week[2]), 3)
    elif schedule.every is Calendar.MONTH and _MONTH.fullmatch(key):
        day = date.fromisoformat(f"{key}-15")
    else:
        return None
    return datetime(day.year, day.month, day.day, 12, tzinfo=schedule.zone)
