"""When points expire: months, calendar ends and clock changes, in the program's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rewards.domain.ledger.expiry import expires_at, local_midnight
from rewards.domain.program.currency import (
    ExpiresAfter,
    ExpiresInactive,
    ExpiresOn,
    Expiry,
    Round,
)

AMSTERDAM, HAVANA, BEIRUT = ZoneInfo("Europe/Amsterdam"), ZoneInfo("America/Havana"), ZoneInfo("Asia/Beirut")


def after(*, months: int = 0, rounded: Round = Round.NONE, **length: float) -> ExpiresAfter:
    return ExpiresAfter(timedelta(**length), months, rounded)


@pytest.mark.parametrize(
    ("expiry", "earned", "expires"),
    [
        # local times in Amsterdam
        (None, "2026-05-04 12:00", None),
        (ExpiresInactive(timedelta(0), 12), "2026-05-04 12:00", None),
        (after(days=30), "2026-05-04 12:00", "2026-06-03 12:00"),
        (after(hours=36), "2026-03-28 12:00", "2026-03-30 01:00"),  # 36 hours last 37 on the clock when it skips one
        (after(months=1), "2026-03-01 12:00", "2026-04-01 12:00"),  # a month keeps the clock's time
        (after(months=1), "2026-01-31 10:00", "2026-02-28 10:00"),
        (after(months=1), "2028-01-31 10:00", "2028-02-29 10:00"),
        (after(months=12), "2028-02-29 10:00", "2029-02-28 10:00"),
        (after(months=13), "2026-12-15 10:00", "2028-01-15 10:00"),
        (after(months=1), "2026-02-28 02:30", "2026-03-28 02:30"),
        (after(months=1), "2026-02-28 23:59", "2026-03-28 23:59"),
        (after(months=12, rounded=Round.MONTH_END), "2026-01-31 10:00", "2027-02-01 00:00"),
        (after(months=12, rounded=Round.MONTH_END), "2026-05-01 00:00", "2027-06-01 00:00"),  # all of May together
        (after(months=12, rounded=Round.MONTH_END), "2026-05-31 23:59", "2027-06-01 00:00"),
        (after(months=11, rounded=Round.MONTH_END), "2026-01-10 10:00", "2027-01-01 00:00"),
        (after(months=1, rounded=Round.YEAR_END), "2026-12-01 10:00", "2028-01-01 00:00"),
        (after(months=0, days=10, rounded=Round.YEAR_END), "2026-02-01 10:00", "2027-01-01 00:00"),
        (ExpiresOn(12, 31), "2026-05-04 12:00", "2027-01-01 00:00"),
        (ExpiresOn(12, 31), "2026-12-31 23:59", "2027-01-01 00:00"),
        (ExpiresOn(12, 31), "2027-01-01 00:00", "2028-01-01 00:00"),
        (ExpiresOn(3, 31), "2026-04-01 00:00", "2027-04-01 00:00"),
        (ExpiresOn(2, 29), "2027-01-01 00:00", "2027-03-01 00:00"),
        (ExpiresOn(2, 29), "2027-03-01 00:00", "2028-03-01 00:00"),
        (after(months=12 * 9_000), "2026-05-04 12:00", None),
        (after(days=365 * 8_500), "2026-05-04 12:00", None),
    ],
)
def test_expires_at(expiry: Expiry, earned: str, expires: str | None) -> None:
    moment = expires_at(expiry, _local(earned), AMSTERDAM)
    assert moment == (_local(expires) if expires is not None else None)
    assert moment is None or moment.tzinfo is UTC


def test_a_month_later_in_the_hour_that_the_clock_skips_is_after_the_skip() -> None:
    assert expires_at(after(months=1), _local("2026-02-28 02:30"), AMSTERDAM) == _local("2026-03-28 02:30")
    skipped = expires_at(after(months=1), _local("2027-02-28 02:30"), AMSTERDAM)
    assert skipped == _local("2027-03-28 03:30")


@pytest.mark.parametrize(
    ("zone", "day", "first_instant"),
    [
        (AMSTERDAM, (2026, 3, 29), "2026-03-28T23:00Z"),
        (HAVANA, (2026, 3, 8), "2026-03-08T05:00Z"),  # midnight is skipped: the day begins at 01:00
        (HAVANA, (2026, 11, 1), "2026-11-01T04:00Z"),  # midnight comes twice: the day begins at the first
        (BEIRUT, (2026, 3, 29), "2026-03-28T22:00Z"),
    ],
)
def test_local_midnight(zone: ZoneInfo, day: tuple[int, int, int], first_instant: str) -> None:
    moment = local_midnight(datetime(*day, tzinfo=UTC).date(), zone)
    assert moment == datetime.fromisoformat(first_instant)
    assert (moment - timedelta(microseconds=1)).astimezone(zone).date() < moment.astimezone(zone).date()


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM)
