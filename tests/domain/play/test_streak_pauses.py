"""How long a streak can be paused in a calendar year, counted in whole periods of the member's own year."""

from datetime import timedelta
from typing import Any, Final

import pytest
from tests.domain.play.streaks_world import HEAD, World, program

from rewards.domain.commands import PauseStreak, ResumeStreak
from rewards.domain.outcome import Outcome
from rewards.domain.periods import epoch_seconds
from rewards.domain.play.streaking.pauses import left_seconds
from rewards.domain.program import check, read_document
from rewards.domain.program.diff import diff
from rewards.domain.program.docs import render
from rewards.domain.program.models import Document
from rewards.domain.streak_moves import StreakPausesUsedUp

WEEK: Final = "pause: {longest: 7d, per_year: 10d}"


def pause(world: World, at: str, **length: float) -> Outcome:
    return world.do(PauseStreak("s", timedelta(**length)), at)


def refused(world: World, at: str, **length: float) -> dict[str, Any]:
    """What the refusal tells; nothing is changed."""
    before = world.member.state.play["streaks"]["s"]
    with pytest.raises(StreakPausesUsedUp) as refusal:
        pause(world, at, **length)
    assert world.member.state.play["streaks"]["s"] == before
    return refusal.value.details


def running(terms: str, *days: str, zone: str = "UTC") -> World:
    """Somebody who runs at eight each of these days."""
    world = World(program(terms), zone)
    for day in days:
        world.run(f"{day}T08:00")
    return world


@pytest.mark.parametrize(
    ("terms", "pauses", "left"),
    [
        # days each, one pause after the other, and the days that are left of the year
        (WEEK, [], 10),
        (WEEK, [7], 3),
        (WEEK, [7, 3], 0),
        (WEEK, [1.5, 1.5], 6),                       # each counts in whole days
        (WEEK, [1 / 86_400, 1 / 86_400, 6.5], 1),    # a second counts as a day
        ("pause: {longest: 7d}", [7], 7),            # twice the longest, when nothing is said
        ("pause: {longest: 300d}", [100], 266),      # up to a year
        ("pause: {longest: 400d}", [100], 300),
        ("per: week, pause: {longest: 10d}", [1], 21),  # ten days are two weeks, so it is four a year
        ("per: month, pause: {longest: 7d}", [7], 30),
    ],
)  # fmt: skip
def test_what_is_left_of_a_year(terms: str, pauses: list[float], left: int) -> None:
    world = World(program(terms))
    at = world.moment("2026-01-05T12:00")
    world.run(at)
    for days in pauses:
        world.do(PauseStreak("s", timedelta(days=days)), at)
        at += timedelta(days=max(days, {"day": 1, "week": 7, "month": 31}[world.program.streaks["s"].per]))
        world.run(at)
    of_streak = world.program.streaks["s"].pause
    assert of_streak is not None
    assert left_seconds(world.memory(at), of_streak, epoch_seconds(at)) == left * 86_400


def test_the_year_is_the_members_own() -> None:
    world = running(WEEK, "2026-12-20", zone="Asia/Kathmandu")
    pause(world, "2026-12-20T09:00", days=7)
    world.run("2026-12-27T08:00")
    told = refused(world, "2026-12-27T09:00", days=4)
    assert told == {"left": "3d", "next_at": "2027-01-01T00:00:00+05:45"}
    pause(world, "2026-12-27T10:00", days=3)
    for day in ("28", "29", "30", "31"):
        world.run(f"2026-12-{day}T08:00")
    assert refused(world, "2026-12-31T23:59", seconds=1)["left"] is None
    pause(world, "2027-01-01T00:00", days=7)


def test_who_flies_to_where_it_is_still_the_old_year_has_no_other_one() -> None:
    world = running(WEEK, "2026-12-31", zone="Pacific/Kiritimati")
    pause(world, "2026-12-31T09:00", seconds=1)
    world.run("2027-01-01T00:10")
    pause(world, "2027-01-01T00:20", days=7)
    world.do(ResumeStreak("s"), "2027-01-01T00:30")
    world.run("2027-01-02T00:10")
    pause(world, "2027-01-02T00:20", days=7)
    world.do(ResumeStreak("s"), "2027-01-02T00:30")
    world.fly("Pacific/Pago_Pago", "2027-01-02T00:40")  # where it is New Year's Eve
    assert world.memory("2026-12-31T23:50").paused_in == [2027, 2 * 86_400]
    pause(world, "2026-12-31T23:55", days=7)
    assert world.memory("2026-12-31T23:56").paused_in[0] == 2027


def test_what_is_spared_by_going_on_can_be_used_later() -> None:
    world = running(WEEK, "2026-11-02")
    pause(world, "2026-11-02T09:00", days=7)
    world.do(ResumeStreak("s"), "2026-11-04T10:00")  # three days, one of them begun
    world.run("2026-11-04T11:00")
    world.run("2026-11-05T08:00")
    pause(world, "2026-11-05T09:00", days=7)
    world.run("2026-11-12T10:00")
    assert refused(world, "2026-11-12T11:00", days=1)["left"] is None


def test_pauses_of_one_day_are_one() -> None:
    world = running(WEEK, "2026-11-02")
    for minute in range(30):
        pause(world, f"2026-11-02T13:{minute:02}", seconds=1)
    assert world.memory("2026-11-02T14:00").paused_in == [2026, 86_400]
    pause(world, "2026-11-02T15:00", days=7)
    assert world.memory("2026-11-02T16:00").paused_in == [2026, 7 * 86_400]


def test_a_second_each_midnight_keeps_no_streak_alive() -> None:
    world = running(WEEK, "2026-11-02")
    ended = None
    for day in range(3, 30):
        try:
            pause(world, f"2026-11-{day:02}T23:59:59", seconds=1)
        except StreakPausesUsedUp:
            ended = day
            break
    assert ended == 13
    world.until("2026-11-15T00:01")
    assert world.standing("2026-11-15T00:01").length == 0


@pytest.mark.parametrize(
    ("pause_terms", "path", "code"),
    [
        ("{longest: 401d}", "streaks.s.pause.longest", "too-long"),
        ("{per_year: 401d}", "streaks.s.pause.per_year", "too-long"),
        ("{longest: 7d, per_year: 6d}", "streaks.s.pause.per_year", "too-short"),
        ("{longest: 7d, per_year: often}", "streaks.s.pause.per_year", "value"),
        ("{longest: 7d, each_year: 6d}", "streaks.s.pause.each_year", "unknown-key"),
    ],
)
def test_what_is_wrong_is_said(pause_terms: str, path: str, code: str) -> None:
    text = f"{HEAD.replace('LATE', '72h')}streaks:\n  s: {{on: ran, pause: {pause_terms}}}\n"
    report = check(read_document(text.encode()))
    assert [(each.path, each.code) for each in report.errors] == [(path, code)]


def document(streak: str) -> Document:
    text = f"{HEAD.replace('LATE', '72h')}streaks:\n  s: {{on: ran, {streak}}}\n"
    found = check(read_document(text.encode())).document
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("streak", "told"),
    [
        (WEEK, "up to 7d each time, 10d a calendar year"),
        ("pause: {}", "up to 30d each time, 60d a calendar year"),
        ("pause: {longest: 300d}", "up to 300d each time, 366d a calendar year"),
        ("per: week, pause: {longest: 10d}", "up to 10d each time, 28d a calendar year"),
    ],
)
def test_people_read_how_long_a_streak_can_be_paused(streak: str, told: str) -> None:
    assert f"| can be paused | {told} |" in render(document(streak))


def test_a_diff_names_the_bound() -> None:
    [change] = diff(document("pause: {}"), document("pause: {per_year: 40d}"))
    assert str(change) == "~ streaks.s\n    pause.per_year: nothing → 40d"
