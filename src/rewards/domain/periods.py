"""Spans of time: rolling durations, calendar periods in a zone, and a lifetime.

A calendar period is an interval of instants: it begins at the first instant at which the zone's clocks show its first
midnight or later, and ends where the next one begins. So days of 23, 24.5 or 25 hours, a day that a zone skipped
(Apia, 30 December 2011), a midnight that clocks jump over and one that they show twice all belong to exactly one
period, and periods never go backwards.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from math import floor
from typing import Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PERIODS_CACHED_MAX: Final = 4_096
PERIODS_IN_SIGHT: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


_NO_ZONES: Final = frozenset({"localtime", "posixrules", "Factory"})
_OTHER_CLOCKS: Final = ("posix/", "right/")


def iana_zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises `ValueError`.

    Files that lie beside the zones are none: what a machine calls its local time is another zone on the next machine,
    and `right/` counts leap seconds.
    """
    try:
        if name not in _NO_ZONES and not name.startswith(_OTHER_CLOCKS):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Berlin")


class Calendar(StrEnum):
    """A calendar period in a zone. Weeks begin on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Rolling:
    """The last `length` before a moment; `months` instead where the author wrote `12mo`."""

    length: timedelta
    months: int = 0


class Lifetime(StrEnum):
    """No bound at all."""

    LIFETIME = "lifetime"


Span: TypeAlias = Calendar | Rolling | Lifetime


class Period(NamedTuple):
    """One calendar period of a zone: instants in epoch seconds, `end` exclusive.

    `number` grows with time and names the local period whatever the zone: the ordinal of the day, the weeks since 1
    January of year 1, the months since year 0, or the year. `previous` is the number of the period before, which a
    skipped day makes smaller than `number - 1`.
    """

    start_seconds: int
    end_seconds: int
    number: int
    previous: int


_latest: dict[tuple[ZoneInfo, Calendar], tuple[Period, ...]] = {}


_UTC_LENGTH: Final = len("+00:00")


def rfc3339(moment: datetime) -> str:
    """A moment as every answer writes it: in UTC, with `Z`."""
    return moment.astimezone(UTC).isoformat()[:-_UTC_LENGTH] + "Z"


def epoch_seconds(moment: datetime) -> int:
    """Whole seconds since 1970 in UTC, rounded down."""
    return floor(moment.timestamp())


def epoch_micros(moment: datetime) -> int:
    """Exact microseconds since 1970 in UTC."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_epoch_seconds(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def from_epoch_micros(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def period_at(span: Calendar, seconds: int, zone: ZoneInfo) -> Period:
    """The period that holds an instant. Most calls ask about now or the days around it, so the last few answers for a zone
    and span are remembered.
    """
    known = _latest.get((zone, span), ())
    for period in known:
        if period.start_seconds <= seconds < period.end_seconds:
            return period
    found = _find_period(span, seconds, zone)
    if len(_latest) >= PERIODS_CACHED_MAX:
        _latest.clear()
    _latest[zone, span] = (found, *known[: PERIODS_IN_SIGHT - 1])
    return found


def period_start(span: Calendar, moment: datetime, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which the local period of `moment` (aware) began."""
    return from_epoch_seconds(period_at(span, epoch_seconds(moment), zone).start_seconds)


def period_end(span: Calendar, moment: datetime, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which the next local period begins."""
    return from_epoch_seconds(period_at(span, epoch_seconds(moment), zone).end_seconds)


def period_key(span: Calendar | Lifetime, moment: datetime, zone: ZoneInfo) -> str:
    """A stable name of the local period for keys: `2026-11-21`, `2026-W47`, `2026-11`, `2026`; `lifetime` for no
    bound.
    """
    if isinstance(span, Lifetime):
        return span.value
    number = period_at(span, epoch_seconds(moment), zone).number
    if span is Calendar.DAY:
        return date.fromordinal(number).isoformat()
    if span is Calendar.WEEK:
        year, week, _ = date.fromordinal(number * 7 + 1).isocalendar()
        return f"{year:04}-W{week:02}"
    if span is Calendar.MONTH:
        return f"{number // 12:04}-{number % 12 + 1:02}"
    return f"{number:04}"


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The member's calendar day at `moment` (aware). A day has 23 or 25 hours when clocks change."""
    return date.fromordinal(period_at(Calendar.DAY, epoch_seconds(moment), zone).number)


def add_months(moment: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The same local time of day `months` later (earlier if negative), in UTC; a day the month lacks becomes its last
    day.

    A local time that clocks jump over moves on by the jump.
    """
    local = moment.astimezone(zone)
    year, month0 = divmod(local.year * 12 + local.month - 1 + months, 12)
    day = min(local.day, monthrange(year, month0 + 1)[1])
    return local.replace(year=year, month=month0 + 1, day=day).astimezone(UTC)


def _find_period(span: Calendar, seconds: int, zone: ZoneInfo) -> Period:
    number = _number(span, datetime.fromtimestamp(seconds, zone).date())
    end = _midnight(_first_day(span, number + 1), zone)
    if seconds >= end:
        # Clocks went back over midnight: what they show again already belongs to the new period.
        number += 1
        end = _midnight(_first_day(span, number + 1), zone)
    start = _midnight(_first_day(span, number), zone)
    previous = _number(span, datetime.fromtimestamp(start - 1, zone).date())
    return Period(start, end, number, previous)


def _number(span: Calendar, day: date) -> int:
    if span is Calendar.DAY:
        return day.toordinal()
    if span is Calendar.WEEK:
        return (day.toordinal() - 1) // 7
    if span is Calendar.MONTH:
        return day.year * 12 + day.month - 1
    return day.year


def _first_day(span: Calendar, number: int) -> date:
    if span is Calendar.DAY:
        return date.fromordinal(number)
    if span is Calendar.WEEK:
        return date.fromordinal(number * 7 + 1)
    if span is Calendar.MONTH:
        return date(number // 12, number % 12 + 1, 1)
    return date(number, 1, 1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """The first instant at which the zone's clocks show the beginning of `day` or later."""
    wall = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - compared with what clocks show
    after = floor(wall.replace(tzinfo=zone).timestamp())
    if datetime.fromtimestamp(after, zone).replace(tzinfo=None) == wall:
        return after
    # Clocks jump over this midnight. The two readings of a skipped time (PEP 495) lie on either side of the jump.
    before = floor(wall.replace(tzinfo=zone, fold=1).timestamp())
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) < wall:
            before = middle
        else:
            after = middle
    return after
