"""Calendar periods in zones whose clocks do odd things."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.domain.periods import (
    Calendar,
    Lifetime,
    add_months,
    epoch_micros,
    epoch_seconds,
    from_epoch_micros,
    from_epoch_seconds,
    local_day,
    period_at,
    period_end,
    period_key,
    period_start,
)

DAY, WEEK, MONTH, YEAR = Calendar.DAY, Calendar.WEEK, Calendar.MONTH, Calendar.YEAR
ZONES = [
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Toronto",
    "UTC",
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "span", "moment", "start", "end"),
    [
        ("UTC", DAY, "2026-11-21T10:00", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("Europe/Berlin", DAY, "2026-03-29T00:30", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("Europe/Berlin", DAY, "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("Europe/Berlin", MONTH, "2026-10-31T22:59", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("Europe/Berlin", WEEK, "2026-11-22T22:59", "2026-11-15T23:00", "2026-11-22T23:00"),  # a Sunday
        ("Europe/Berlin", WEEK, "2026-11-22T23:00", "2026-11-22T23:00", "2026-11-29T23:00"),  # already Monday
        ("Europe/Berlin", YEAR, "2026-12-31T22:59", "2025-12-31T23:00", "2026-12-31T23:00"),
        ("Australia/Lord_Howe", DAY, "2026-04-04T14:00", "2026-04-04T13:00", "2026-04-05T13:30"),  # 24.5 hours
        ("Australia/Lord_Howe", DAY, "2026-10-03T14:00", "2026-10-03T13:30", "2026-10-04T13:00"),  # 23.5 hours
        ("Asia/Kathmandu", DAY, "2026-11-21T18:14", "2026-11-20T18:15", "2026-11-21T18:15"),
        ("Pacific/Apia", DAY, "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),  # the 29th …
        ("Pacific/Apia", DAY, "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),  # … then the 31st
        ("Pacific/Apia", MONTH, "2011-12-30T10:00", "2011-12-01T10:00", "2011-12-31T10:00"),
        ("America/New_York", DAY, "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),
        ("America/New_York", DAY, "2026-11-01T12:00", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("America/Sao_Paulo", DAY, "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),  # no midnight
        ("America/Toronto", DAY, "1919-03-31T12:00", "1919-03-31T04:30", "1919-04-01T04:00"),  # 23:30 became 00:30
        ("America/St_Johns", DAY, "2010-11-07T02:31", "2010-11-07T02:30", "2010-11-08T03:30"),  # 00:01 became 23:01
    ],
)
def test_a_period_is_an_interval_of_instants(zone: str, span: Calendar, moment: str, start: str, end: str) -> None:
    at, place = utc(moment), ZoneInfo(zone)
    assert (period_start(span, at, place), period_end(span, at, place)) == (utc(start), utc(end))


@pytest.mark.parametrize(
    ("span", "moment", "key"),
    [
        (DAY, "2026-11-21T10:00", "2026-11-21"),
        (WEEK, "2026-11-21T10:00", "2026-W47"),
        (WEEK, "2027-01-01T10:00", "2026-W53"),
        (WEEK, "2024-12-30T10:00", "2025-W01"),
        (MONTH, "2026-12-31T22:59", "2026-12"),
        (MONTH, "2026-12-31T23:00", "2027-01"),
        (YEAR, "2026-12-31T23:00", "2027"),
        (Lifetime.LIFETIME, "2026-12-31T23:00", "lifetime"),
    ],
)
def test_a_period_has_a_stable_key(span: Calendar | Lifetime, moment: str, key: str) -> None:
    assert period_key(span, utc(moment), ZoneInfo("Europe/Berlin")) == key


@pytest.mark.parametrize(
    ("zone", "moment", "months", "expected"),
    [
        ("UTC", "2026-01-31T10:00", 1, "2026-02-28T10:00"),
        ("UTC", "2028-01-31T10:00", 1, "2028-02-29T10:00"),
        ("UTC", "2026-12-15T10:00", 1, "2027-01-15T10:00"),
        ("UTC", "2026-01-15T10:00", -1, "2025-12-15T10:00"),
        ("UTC", "2026-01-15T10:00", 24, "2028-01-15T10:00"),
        ("Europe/Berlin", "2026-03-01T11:00", 1, "2026-04-01T10:00"),  # noon stays noon
        ("Europe/Berlin", "2026-02-28T01:30", 1, "2026-03-28T01:30"),
        ("America/New_York", "2026-02-08T07:30", 1, "2026-03-08T07:30"),  # 02:30 does not exist: 03:30
    ],
)
def test_months_keep_the_time_of_day(zone: str, moment: str, months: int, expected: str) -> None:
    assert add_months(utc(moment), months, ZoneInfo(zone)) == utc(expected)


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("Pacific/Apia", "2011-12-30T09:59", date(2011, 12, 29)),
        ("Pacific/Apia", "2011-12-30T10:00", date(2011, 12, 31)),
        ("Asia/Kathmandu", "2026-11-21T18:15", date(2026, 11, 22)),
        ("America/St_Johns", "2010-11-07T03:00", date(2010, 11, 7)),  # clocks show 23:30 of the 6th once more
    ],
)
def test_the_local_day(zone: str, moment: str, day: date) -> None:
    assert local_day(utc(moment), ZoneInfo(zone)) == day


def test_the_day_before_a_skipped_day_is_the_one_that_existed() -> None:
    apia = ZoneInfo("Pacific/Apia")
    period = period_at(DAY, epoch_seconds(utc("2011-12-31T00:00")), apia)
    assert (date.fromordinal(period.number), date.fromordinal(period.previous)) == (
        date(2011, 12, 31),
        date(2011, 12, 29),
    )


moments = st.integers(epoch_seconds(utc("1975-01-01")), epoch_seconds(utc("2037-01-01"))).map(from_epoch_seconds)


@given(moment=moments, zone=st.sampled_from(ZONES), span=st.sampled_from(Calendar))
def test_periods_follow_each_other_without_gap(moment: datetime, zone: str, span: Calendar) -> None:
    place = ZoneInfo(zone)
    here = period_at(span, epoch_seconds(moment), place)
    before, after = period_at(span, here.start_seconds - 1, place), period_at(span, here.end_seconds, place)
    assert here.start_seconds <= epoch_seconds(moment) < here.end_seconds
    assert (before.end_seconds, after.start_seconds) == (here.start_seconds, here.end_seconds)
    assert here.previous == before.number < here.number < after.number


@given(moments=st.lists(moments, min_size=2, max_size=20), zone=st.sampled_from(ZONES), span=st.sampled_from(Calendar))
def test_numbers_grow_with_time_and_match_the_local_date(moments: list[datetime], zone: str, span: Calendar) -> None:
    place = ZoneInfo(zone)
    numbers = [period_at(span, epoch_seconds(each), place).number for each in sorted(moments)]
    assert all(one <= other for one, other in pairwise(numbers))
    for each in moments:
        shown = each.astimezone(place).date()
        # Only where clocks went back over midnight do they show the day before.
        assert local_day(each, place) - shown in {timedelta(0), timedelta(days=1)}


@given(moment=moments)
def test_epochs_round_trip(moment: datetime) -> None:
    assert from_epoch_micros(epoch_micros(moment)) == moment
    later = moment + timedelta(microseconds=999_999)
    assert from_epoch_micros(epoch_micros(later)) == later
    assert from_epoch_seconds(epoch_seconds(later)) == moment
