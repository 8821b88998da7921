"""When points expire: month arithmetic and calendar ends in the program's zone, safe when clocks change.

Every expiry is the first moment at which the points are gone, so "the end of December" is the first instant of January.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from rewards.domain.ledger.accounts import Account, Lot
from rewards.domain.program.currency import (
    Currency,
    ExpiresInactive,
    ExpiresNever,
    ExpiresOn,
    Expiry,
    Round,
)

_LEAP_DAY: Final = (2, 29)
_NOT_BY_LOT: Final = (ExpiresInactive, ExpiresNever)


def expires_at(
    expiry: Expiry | ExpiresNever, earned_at: datetime, zone: ZoneInfo, day: date | None = None
) -> datetime | None:
    """The moment (UTC) from which points earned at `earned_at` (aware) are expired, None for never.

    Inactivity gives None as well: it expires the account, not the lot (see `inactive_at`). `day` is the day of `earned_at`
    in `zone`, from a caller who knows it.
    """
    if expiry is None or isinstance(expiry, _NOT_BY_LOT):
        return None
    try:
        if isinstance(expiry, ExpiresOn):
            return _end_of_next(expiry, day or earned_at.astimezone(zone).date(), zone)
        if expiry.round is not Round.NONE and not expiry.length:
            # Whole months depend on the day alone, so that most earns of a day find the answer.
            return _end_of_period(day or earned_at.astimezone(zone).date(), expiry.months, expiry.round, zone)
        moment = _later(earned_at, expiry.months, expiry.length, zone)
        if expiry.round is Round.NONE:
            return moment
        return _end_of_period(moment.astimezone(zone).date(), 0, expiry.round, zone)
    except (OverflowError, ValueError):  # beyond the calendar's year 9999: never
        return None


def inactive_at(currency: Currency | None, account: Account, zone: ZoneInfo) -> datetime | None:
    """When everything in the account expires by inactivity unless the member earns or spends before; None for never."""
    if currency is None or account.last_activity_at is None or not isinstance(currency.expires, ExpiresInactive):
        return None
    try:
        return _later(account.last_activity_at, currency.expires.months, currency.expires.length, zone)
    except (OverflowError, ValueError):
        return None


def deadline(lot: Lot, inactive: datetime | None) -> datetime | None:
    """When the lot expires: by its own expiry or by inactivity of its account, whichever comes first."""
    if lot.expires_at is None or inactive is None:
        return lot.expires_at or inactive
    return min(lot.expires_at, inactive)


@lru_cache(maxsize=1024)
def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant (UTC) of a calendar day. Where clocks skip midnight, that is when they do."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _later(moment: datetime, months: int, length: timedelta, zone: ZoneInfo) -> datetime:
    """`months` calendar months later at the same wall clock (31 January + 1 month = end of February), then `length`."""
    if months:
        local = moment.astimezone(zone)
        moment = datetime.combine(_months_later(local.date(), months), local.timetz())
    return moment.astimezone(UTC) + length


def _months_later(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 + months
    year, month = count // 12, count % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


@lru_cache(maxsize=1024)
def _end_of_period(day: date, months: int, rounding: Round, zone: ZoneInfo) -> datetime:
    """The end of the month or year that holds the day `months` after `day`."""
    last = _months_later(day, months)
    if rounding is Round.YEAR_END or last.month == 12:
        return local_midnight(date(last.year + 1, 1, 1), zone)
    return local_midnight(date(last.year, last.month + 1, 1), zone)


@lru_cache(maxsize=1024)
def _end_of_next(expiry: ExpiresOn, today: date, zone: ZoneInfo) -> datetime:
    """Points earned on the day itself expire at its end; 29 February is the 28th where there is none."""
    last = _day_of(expiry, today.year)
    if last < today:
        last = _day_of(expiry, today.year + 1)
    return local_midnight(last + timedelta(days=1), zone)


def _day_of(expiry: ExpiresOn, year: int) -> date:
    day = monthrange(year, 2)[1] if (expiry.month, expiry.day) == _LEAP_DAY else expiry.day
    return date(year, expiry.month, day)
