"""When points expire: month arithmetic and calendar ends in the program's zone, safe when clocks change.

Every expiry is the first moment at which the points are gone, so "the end of December" is the first instant of January.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from rewards.domain.ledger.accounts import Account, Lot
from rewards.domain.program.compiled import Currency, ExpiresAfter, ExpiresInactive, ExpiresOn, Expiry, Round

_LEAP_DAY: Final = (2, 29)


def expires_at(expiry: Expiry, earned_at: datetime, zone: ZoneInfo) -> datetime | None:
    """The moment (UTC) from which points earned at `earned_at` (aware) are expired, None for never.

    Inactivity gives None as well: it expires the account, not the lot (see `inactive_at`).
    """
    if expiry is None or isinstance(expiry, ExpiresInactive):
        return None
    try:
        if isinstance(expiry, ExpiresAfter):
            return _rounded(_later(earned_at, expiry.months, expiry.length, zone), expiry.round, zone)
        return _end_of_next(expiry, earned_at, zone)
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


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant (UTC) of a calendar day. Where clocks skip midnight, that is when they do."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _later(moment: datetime, months: int, length: timedelta, zone: ZoneInfo) -> datetime:
    """`months` calendar months later at the same wall clock (31 January + 1 month = end of February), then `length`."""
    if months:
        local = moment.astimezone(zone)
        count = local.year * 12 + local.month - 1 + months
        year, month = count // 12, count % 12 + 1
        day = min(local.day, monthrange(year, month)[1])
        moment = local.replace(year=year, month=month, day=day, fold=0)
    return moment.astimezone(UTC) + length


def _rounded(moment: datetime, rounding: Round, zone: ZoneInfo) -> datetime:
    if rounding is Round.NONE:
        return moment
    local = moment.astimezone(zone)
    if rounding is Round.YEAR_END or local.month == 12:
        return local_midnight(date(local.year + 1, 1, 1), zone)
    return local_midnight(date(local.year, local.month + 1, 1), zone)


def _end_of_next(expiry: ExpiresOn, earned_at: datetime, zone: ZoneInfo) -> datetime:
    """Points earned on the day itself expire at its end; 29 February is the 28th where there is none."""
    today = earned_at.astimezone(zone).date()
    last = _day_of(expiry, today.year)
    if last < today:
        last = _day_of(expiry, today.year + 1)
    return local_midnight(last + timedelta(days=1), zone)


def _day_of(expiry: ExpiresOn, year: int) -> date:
    day = monthrange(year, 2)[1] if (expiry.month, expiry.day) == _LEAP_DAY else expiry.day
    return date(year, expiry.month, day)
