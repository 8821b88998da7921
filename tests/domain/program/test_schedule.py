"""Periods of leaderboards: they lie end to end whatever clocks do, and are told apart by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.domain.periods import Calendar
from rewards.domain.program.schedule import BadCron, Schedule, check_cron

ZONES = [
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/St_Johns",
    "America/Sao_Paulo",
]
CRONS = ["0 18 * * *", "30 2 * * *", "0 0 * * 1", "0 */6 * * *", "0 9 1,15 * *", "0 12 * * 1-5", "0 0 29 2 *"]
MOMENTS = st.datetimes(datetime(2011, 6, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone comes with it


@pytest.mark.parametrize("zone", ZONES)
@given(moment=MOMENTS, kind=st.sampled_from([Calendar.DAY, Calendar.WEEK, Calendar.MONTH, *CRONS]))
@settings(max_examples=60, deadline=None)
def test_periods_lie_end_to_end(zone: str, moment: datetime, kind: Calendar | str) -> None:
    where = ZoneInfo(zone)
    schedule = Schedule(where, every=kind) if isinstance(kind, Calendar) else Schedule(where, cron=kind)
    period = schedule.at(moment)
    assert period.starts_at is not None
    assert period.ends_at is not None
    assert period.starts_at <= moment < period.ends_at
    for inside in (period.starts_at, period.ends_at - timedelta(microseconds=1)):
        assert schedule.at(inside) == period
    after = schedule.at(period.ends_at)
    assert (after.starts_at, after.key != period.key) == (period.ends_at, True)
    assert schedule.before(after) == period
    assert schedule.named(period.key) == period


@pytest.mark.parametrize(
    ("schedule", "moment", "key", "hours"),
    [
        (Schedule(ZoneInfo("UTC")), "2026-11-21T10:00Z", "all_time", None),
        (Schedule(ZoneInfo("Europe/Berlin"), every=Calendar.DAY), "2026-10-24T22:30Z", "2026-10-25", 25),
        (Schedule(ZoneInfo("Europe/Berlin"), every=Calendar.DAY), "2026-03-29T12:00Z", "2026-03-29", 23),
        (Schedule(ZoneInfo("Australia/Lord_Howe"), every=Calendar.DAY), "2026-10-03T14:00Z", "2026-10-04", 23.5),
        (
            Schedule(ZoneInfo("Pacific/Apia"), every=Calendar.DAY),
            "2011-12-30T12:00Z",
            "2011-12-31",
            24,
        ),  # the 30th is no day
        (Schedule(ZoneInfo("UTC"), every=Calendar.WEEK), "2026-12-31T10:00Z", "2026-W53", 168),
        (Schedule(ZoneInfo("UTC"), every=Calendar.MONTH), "2026-02-10T10:00Z", "2026-02", 28 * 24),
        (Schedule(ZoneInfo("Europe/Berlin"), cron="0 18 * * *"), "2026-03-29T12:00Z", "2026-03-28T17:00Z", 23),
    ],
)
def test_a_period_by_name(schedule: Schedule, moment: str, key: str, hours: float | None) -> None:
    period = schedule.at(datetime.fromisoformat(moment))
    length = period.ends_at - period.starts_at if period.ends_at is not None and period.starts_at is not None else None
    assert (period.key, length) == (key, timedelta(hours=hours) if hours is not None else None)


@pytest.mark.parametrize(
    ("every", "key"),
    [
        (Calendar.DAY, "2026-13-01"),
        (Calendar.DAY, "2026-W47"),
        (Calendar.WEEK, "2026-W54"),
        (Calendar.WEEK, "2026-11"),
        (Calendar.MONTH, "2026-11-01"),
        (Calendar.MONTH, "9999-99"),
        (None, "2026-11"),
    ],
)
def test_a_name_of_no_period(every: Calendar | None, key: str) -> None:
    assert Schedule(ZoneInfo("UTC"), every=every).named(key) is None


@pytest.mark.parametrize("key", ["2026-11-21T18:01Z", "2026-11-21", "x"])
def test_a_name_of_no_period_of_cron(key: str) -> None:
    assert Schedule(ZoneInfo("UTC"), cron="0 18 * * *").named(key) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 18 * *", "five fields"),
        ("0 18 * * * *", "five fields"),
        ("61 * * * *", "minute"),
        ("0 0 30 2 *", "day-of-month"),
        ("*/30 * * * *", "0:30:00 apart"),
        ("0,59 12 * * 5", "0:59:00 apart"),
    ],
)
def test_a_cron_that_makes_no_periods(text: str, why: str) -> None:
    with pytest.raises(BadCron, match=why):
        check_cron(text, ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize("text", CRONS)
@pytest.mark.parametrize("zone", ZONES)
def test_a_cron_that_does(text: str, zone: str) -> None:
    check_cron(text, ZoneInfo(zone))
