"""Streaks and time zones: odd days, daylight saving, flights over the date line, and zones that change all the time."""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.domain.play.streaks_world import World, program
from tests.properties import explored

from rewards.domain.commands import SetProfile

DAILY: Final = program("")
Run = tuple[str, str]


@pytest.mark.parametrize(
    ("zone", "runs", "length"),
    [
        # Kathmandu is 5:45 ahead: 18:14 and 18:16 UTC are two days.
        ("Asia/Kathmandu", ["2026-11-02T23:59", "2026-11-03T00:01"], 2),
        ("Asia/Kathmandu", ["2026-11-02T00:01", "2026-11-02T23:59"], 1),
        # Lord Howe moves its clocks by half an hour: a day of 24.5 hours, and one of 23.5.
        ("Australia/Lord_Howe", ["2026-04-04T12:00", "2026-04-05T23:59", "2026-04-06T00:01"], 3),
        ("Australia/Lord_Howe", ["2026-10-03T23:59", "2026-10-04T00:01", "2026-10-05T00:01"], 3),
        # Spring forward (23 hours) and fall back (25 hours).
        ("Europe/Berlin", ["2026-03-28T23:59", "2026-03-29T00:01", "2026-03-30T00:01"], 3),
        ("Europe/Berlin", ["2026-03-29T00:01", "2026-03-29T23:59"], 1),
        ("Europe/Berlin", ["2026-10-24T12:00", "2026-10-25T23:59", "2026-10-26T00:01"], 3),
        ("America/New_York", ["2026-11-01T00:01", "2026-11-01T23:59", "2026-11-02T00:01"], 2),
        # Clocks that jump over midnight, and that show it twice.
        ("America/Havana", ["2026-03-07T23:59", "2026-03-08T01:01", "2026-03-09T00:01"], 3),
        ("America/Havana", ["2026-10-31T23:59", "2026-11-01T00:30", "2026-11-01T23:59"], 2),
        # Samoa had no 30 December 2011.
        ("Pacific/Apia", ["2011-12-28T12:00", "2011-12-29T12:00", "2011-12-31T12:00", "2012-01-01T12:00"], 4),
        ("Pacific/Apia", ["2011-12-29T23:59", "2011-12-31T00:01"], 2),
    ],
)  # fmt: skip
def test_days_of_every_length(zone: str, runs: list[str], length: int) -> None:
    world = World(DAILY, zone)
    for at in runs:
        world.run(at)
    last = world.moment(runs[-1])
    assert world.standing(last).length == length
    # A minute before the next day is over it still stands, and once it is over it is broken.
    stretch = world.memory(last).stretches[-1]
    assert world.standing(datetime.fromtimestamp(stretch.end, UTC)).length == length
    day = date.fromordinal(stretch.number)
    following = world.memory(datetime.fromtimestamp(stretch.end, UTC)).stretches[-1]
    skipped = zone == "Pacific/Apia" and day == date(2011, 12, 29)
    assert date.fromordinal(following.number) - day == timedelta(days=2 if skipped else 1)
    world.until(datetime.fromtimestamp(following.end, UTC))
    assert world.standing(datetime.fromtimestamp(following.end, UTC)).length == 0


AUCKLAND, LA, HONOLULU, KIRITIMATI, PAGO = (
    "Pacific/Auckland", "America/Los_Angeles", "Pacific/Honolulu", "Pacific/Kiritimati", "Pacific/Pago_Pago",
)  # fmt: skip


def test_who_flies_west_lives_a_day_again_and_it_is_one() -> None:
    world = World(DAILY, AUCKLAND)
    world.run("2026-11-03T09:00")  # Tuesday in Auckland
    world.fly(LA, "2026-11-04T00:30")  # lands when Wednesday has begun in Auckland; Tuesday 3:30 in LA
    world.run("2026-11-03T20:00")  # Tuesday again
    assert world.standing("2026-11-03T20:00").length == 2  # Tuesday and the Wednesday that had begun
    world.run("2026-11-04T20:00")  # that Wednesday, in LA: no third day
    assert world.standing("2026-11-04T20:00").length == 2
    world.run("2026-11-05T20:00")
    assert world.standing("2026-11-05T20:00").length == 3


def test_who_flies_west_before_midnight_needs_the_day_once() -> None:
    world = World(DAILY, AUCKLAND)
    world.run("2026-11-03T09:00")
    world.fly(LA, "2026-11-03T23:00")  # Tuesday 2:00 in LA
    assert world.standing("2026-11-03T23:59").length == 1  # Tuesday is kept already, and lasts until LA's midnight
    world.run("2026-11-04T23:00")
    assert world.standing("2026-11-04T23:00").length == 2


def test_who_flies_west_gets_the_longer_day() -> None:
    world = World(DAILY, AUCKLAND)
    world.run("2026-11-02T09:00")
    world.fly(LA, "2026-11-03T22:00")  # nothing was done on Tuesday yet; it is Tuesday 1:00 in LA
    world.run("2026-11-03T22:00")  # still Tuesday
    assert world.standing("2026-11-03T22:00").length == 2


def test_who_flies_east_over_the_date_line_misses_no_day_that_was_not_lived() -> None:
    world = World(DAILY, PAGO)
    world.run("2026-11-02T10:00")  # Monday in Pago Pago, UTC-11
    world.fly(KIRITIMATI, "2026-11-02T23:30")  # Wednesday 0:30 in Kiritimati, UTC+14: there was no Tuesday
    world.run("2026-11-04T10:00")
    assert world.standing("2026-11-04T10:00").length == 2
    world.until("2026-11-05T23:00")
    assert world.standing("2026-11-05T23:00").length == 2


def test_who_flies_east_and_had_no_time_is_excused_once() -> None:
    world = World(DAILY, LA)
    world.run("2026-11-01T10:00")
    world.fly(AUCKLAND, "2026-11-02T20:00")  # Monday was not over, and nothing done on it; Tuesday 17:00 now
    world.run("2026-11-03T18:00")
    assert world.standing("2026-11-03T18:00").length == 2  # Sunday and Tuesday
    world = World(DAILY, LA)
    world.run("2026-11-01T10:00")
    world.fly(AUCKLAND, "2026-11-02T20:00")
    world.until("2026-11-04T01:00")  # Tuesday was short too, and nothing done on it either
    assert world.standing("2026-11-04T01:00").length == 0


def test_three_days_within_an_hour_are_not_three() -> None:
    """At 10:30 UTC it is Monday in Pago Pago, Tuesday in London and Wednesday in Kiritimati."""
    world = World(DAILY, PAGO)
    start = datetime(2026, 11, 3, 10, 30, tzinfo=UTC)
    world.run(start)
    for minute, zone in enumerate(("Europe/London", KIRITIMATI, PAGO, "Europe/London", KIRITIMATI), start=1):
        world.fly(zone, start + timedelta(minutes=minute))
        world.run(start + timedelta(minutes=minute, seconds=30))
    assert world.standing(start + timedelta(minutes=10)).length == 2
    # And Wednesday is not over before it is over in Pago Pago.
    world.fly(PAGO, start + timedelta(minutes=20))
    world.run(start + timedelta(hours=40))
    assert world.standing(start + timedelta(hours=40)).length == 2


ZONES: Final = (
    PAGO, HONOLULU, LA, "America/St_Johns", "Atlantic/Azores", "Europe/London", "Asia/Kathmandu", "Asia/Tokyo",
    "Australia/Lord_Howe", AUCKLAND, "Pacific/Chatham", KIRITIMATI,
)  # fmt: skip
START: Final = datetime(2026, 10, 29, 0, 0, tzinfo=UTC)  # clocks change in Europe and America in these days
QUARTER: Final = timedelta(minutes=15)
"""Every zone's midnight falls on a quarter of an hour."""


class Journey:
    """The oracle: it walks through time by quarters of an hour, looks at the local date, and writes down what was lived."""

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self.days: list[dict[str, float]] = []

    def walk(self, quarters: int, moves: dict[int, str], runs: set[int]) -> tuple[int, int]:
        """The length and the best after so many quarters from the start."""
        for quarter in range(quarters + 1):
            now = START + quarter * QUARTER
            moved = quarter in moves
            if moved:
                self._look(now, quarter, moved=False)  # a day that begins at this very moment has begun
                self.zone = ZoneInfo(moves[quarter])
            self._look(now, quarter, moved=moved)
            if quarter in runs:
                self.days[-1]["runs"] += 1
        length = best = 0
        excused = False
        for day in self.days[:-1]:
            if day["runs"]:
                length, excused = length + 1, False
            elif day["short"] and not excused and length:
                excused = True
            else:
                length, excused = 0, False
            best = max(best, length)
        length += self.days[-1]["runs"] > 0
        return length, max(best, length)

    def _look(self, now: datetime, quarter: int, *, moved: bool) -> None:
        """What day it is; a day lived before goes on, and a later one begins or takes the place of one just begun."""
        today = now.astimezone(self.zone).date().toordinal()
        usual = self._quarters_of(today)
        last = self.days[-1] if self.days else None
        if last is None:
            self.days.append(self._day(today, quarter - self._quarters_since_midnight(now), short=False))
        elif today > last["number"]:
            lasted = quarter - last["begins"]
            if moved and lasted * 2 < usual:
                last["number"] = today
                last["short"] = quarter - self._quarters_since_midnight(now) + usual - last["begins"] < usual
            else:
                if moved:
                    last["short"] = lasted < usual
                self.days.append(self._day(today, quarter, short=moved and self._quarters_since_midnight(now) > 0))
        elif moved:
            last["short"] = self._end_of(int(last["number"]), now, quarter) - last["begins"] < usual

    def _day(self, number: int, begins: int, *, short: bool) -> dict[str, float]:
        return {"number": number, "begins": begins, "short": short, "runs": 0}

    def _midnight(self, number: int) -> datetime:
        day = date.fromordinal(number)
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    def _quarters_of(self, number: int) -> int:
        return (self._midnight(number + 1) - self._midnight(number)) // QUARTER

    def _quarters_since_midnight(self, now: datetime) -> int:
        return (now - self._midnight(now.astimezone(self.zone).date().toordinal())) // QUARTER

    def _end_of(self, number: int, now: datetime, quarter: int) -> int:
        return quarter + (self._midnight(number + 1) - now) // QUARTER


DAYS_WALKED: Final = 9
QUARTERS: Final = DAYS_WALKED * 96
WIDE: Final = program("", late="30d")
runs_at = st.integers(2, QUARTERS - 1)
moves_of = st.dictionaries(runs_at, st.sampled_from(ZONES), max_size=12)
runs_of = st.sets(runs_at, max_size=30)


def travelled(zone: str, moves: dict[int, str], runs: set[int], late: dict[int, int] | None = None) -> World:
    """The same as the oracle walks, as commands in the order of their arrival; moves come before events of their moment."""
    world = World(WIDE, zone)
    world.do(SetProfile(timezone=zone), START)
    arrivals = [(quarter, 0, quarter) for quarter in moves]
    arrivals += [(quarter + (late or {}).get(quarter, 0), 1, quarter) for quarter in runs]
    for arrives, kind, quarter in sorted(arrivals):
        if kind == 0:
            world.fly(moves[quarter], START + quarter * QUARTER)
        else:
            world.run(START + quarter * QUARTER, arrives=START + arrives * QUARTER)
    return world


@explored(
    given(
        zone=st.sampled_from(ZONES), moves=moves_of, runs=runs_of, late=st.dictionaries(runs_at, st.integers(1, 300))
    ),
    few=40,
    at_length=150,
)
@example(zone=PAGO, moves={43: KIRITIMATI, 44: PAGO, 139: KIRITIMATI}, runs={42, 43, 140}, late={})
@example(zone=PAGO, moves={43: KIRITIMATI, 44: PAGO, 139: KIRITIMATI}, runs={42, 43, 140}, late={42: 200, 43: 1})
@example(zone="Europe/London", moves={53: "Australia/Lord_Howe", 244: PAGO}, runs={244}, late={})
def test_a_streak_is_what_the_days_lived_make_of_it(
    zone: str, moves: dict[int, str], runs: set[int], late: dict[int, int]
) -> None:
    """Whatever the moves, and in whatever order the events come in."""
    runs = {1, *runs}
    world = travelled(
        zone, moves, runs, {quarter: by for quarter, by in late.items() if quarter in runs and quarter > 1}
    )
    end = START + (QUARTERS + 300) * QUARTER
    world.until(end)
    standing = world.standing(end)
    assert (standing.length, standing.best) == Journey(zone).walk(QUARTERS + 300, moves, runs)


@settings(max_examples=60, deadline=None)
@given(zone=st.sampled_from(ZONES), moves=st.dictionaries(runs_at, st.sampled_from(ZONES), max_size=30))
def test_who_does_something_all_the_time_never_loses_a_streak_and_gains_no_day(
    zone: str, moves: dict[int, str]
) -> None:
    """Every six hours, whatever the zones: the streak never breaks, and is at most as long as the calendar is."""
    world = travelled(zone, moves, {1, *range(12, QUARTERS, 24)})
    assert world.lengths("streak_broken") == []
    end = START + QUARTERS * QUARTER
    first, last = START.astimezone(ZoneInfo(PAGO)).date(), end.astimezone(ZoneInfo(KIRITIMATI)).date()
    assert 1 < world.standing(end).length <= (last - first).days + 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("Europe/Berlin", LA), ("Europe/Berlin", "Asia/Kathmandu"), (PAGO, KIRITIMATI), (AUCKLAND, HONOLULU)],
)
@pytest.mark.parametrize(("morning", "evening"), [(6, 18), (0, 12), (11, 23), (9, 10)])
def test_a_zone_that_changes_twice_a_day_neither_breaks_nor_farms(
    one: str, other: str, morning: int, evening: int
) -> None:
    """The phone says one zone and the laptop the other. Once a day (of UTC) is enough, and twice a day wins nothing."""
    days = 14
    moves = {day * 96 + hour * 4: zone for day in range(days) for hour, zone in ((morning, one), (evening, other))}
    moves.pop(0, None)
    end = START + days * 96 * QUARTER
    for runs_a_day in (1, 2, 8):
        every = 96 // runs_a_day
        world = travelled(other, moves, set(range(1, days * 96, every)))
        assert world.lengths("streak_broken") == []
        assert days - 6 <= world.standing(end).length <= days + 2
    idle = travelled(other, moves, {1})
    idle.until(end)
    assert [effect for effect, _ in idle.told] == ["streak", "streak_broken"]


def test_a_day_that_is_shorter_than_its_warning_is_warned_of_when_it_begins() -> None:
    """In Troll clocks jump by two hours at once."""
    world = World(program("warn_before: 1350m"), "Antarctica/Troll")
    world.run("2026-03-28 12:00")
    world.until("2026-03-29 12:00")
    assert world.lengths() == [("streak", 1), ("streak_at_risk", 1)]
    assert world.outcomes[-1].now == world.moment("2026-03-29 00:00")
