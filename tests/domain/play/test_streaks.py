"""Streaks: what keeps them, what bridges a missed period, what breaks and mends them, and what they are worth."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.domain.play.streaks_world import ADA, HEAD, World, program

from rewards.domain.commands import (
    BuyFreezes,
    Earn,
    Event,
    GiveFreezes,
    MemberRef,
    MergeOut,
    PauseStreak,
    RestoreStreak,
    ResumeStreak,
    ReverseReference,
    SetProfile,
)
from rewards.domain.errors import InvalidInput
from rewards.domain.ledger.spend import InsufficientPoints
from rewards.domain.outcome import Leg
from rewards.domain.play.metric_upkeep import state_size
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program
from rewards.domain.streak_moves import (
    FreezesFull,
    FreezesNotForSale,
    StreakNotBroken,
    StreakNotPausable,
    StreakNotPaused,
    StreakNotRunning,
    StreakPaused,
    UnknownStreak,
)

# 2 November 2026 is a Monday.
DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "mon2", "tue2")
DAYS = {name: f"2026-11-{2 + day:02}" for day, name in enumerate(DAY_NAMES)}
LENGTHS = ("streak", "streak_frozen", "streak_broken", "streak_restored")


def on(day: str, hour: str = "12:00") -> str:
    return f"{DAYS[day]}T{hour}"


@pytest.mark.parametrize(
    ("streak", "days", "then", "length"),
    [
        ("", "mon tue wed", "wed", 3),
        ("", "mon tue wed", "thu", 3),                    # Thursday is not over yet
        ("", "mon tue thu", "thu", 1),                    # a missed Wednesday breaks it
        ("", "mon tue", "thu", 0),
        ("", "mon mon mon", "mon", 1),                    # a day is kept once
        ("freezes: {start: 1}", "mon tue thu", "thu", 3),  # bridged: not counted, not broken
        ("freezes: {start: 1}", "mon tue fri", "fri", 1),  # the second missed day in a row is one too many
        ("freezes: {start: 2}", "mon tue fri", "fri", 3),
        ("freezes: {start: 1}", "mon wed fri", "fri", 1),
        ("freezes: {earn_every: 2}", "mon tue thu", "thu", 3),
        ("freezes: {earn_every: 2}", "mon tue thu fri sun", "sun", 5),
        ("freezes: {earn_every: 1, most: 1}", "mon tue wed sat", "sat", 1),  # at most one is kept
        ("per: week", "mon sun mon2", "mon2", 2),
        ("per: week", "mon", "tue2", 1),
        ("per: month", "mon tue2", "tue2", 1),
        ("target: 2", "mon mon tue tue wed", "wed", 2),
        ("target: 2", "mon mon tue", "wed", 0),
    ],
)  # fmt: skip
def test_how_long_a_streak_is(streak: str, days: str, then: str, length: int) -> None:
    world = World(program(streak))
    for minute, day in enumerate(days.split()):
        world.run(on(day, f"12:{minute:02}"))
    world.until(on(then, "13:00"))
    assert world.standing(on(then, "13:00")).length == length


@pytest.mark.parametrize(
    ("streak", "runs", "length"),
    [
        ("value: event.km, target: 5", [3, 2], 1),
        ("value: event.km, target: 5", [3, 1.9], 0),
        ("value: event.km, target: 0.3", [0.1, 0.2], 1),     # exactly, whatever binary fractions say
        ("value: event.km, target: 5", [None, 5], 1),        # what carries no value counts for nothing
        ("where: event.km > 2, target: 2", [3, 1, 2.5], 1),
        ("where: event.km > 2, target: 2", [3, 1, None], 0),
    ],
)  # fmt: skip
def test_what_counts(streak: str, runs: list[float | None], length: int) -> None:
    world = World(program(streak))
    for km in runs:
        carried: dict[str, Any] = {} if km is None else {"km": km}
        world.run(on("mon"), **carried)
    assert world.standing(on("mon", "13:00")).length == length


def test_everything_is_told_when_it_happens() -> None:
    streak = (
        "freezes: {start: 1}, warn_before: 4h, milestones: [{at: 2, rewards: [{earn: {currency: points, amount: 7}}]}]"
    )
    world = World(program(streak))
    for day in ("mon", "tue"):
        world.run(on(day))
    world.until(on("sat"))
    told = [
        (outcome.now.isoformat()[8:16], effect["type"], effect.get("length", effect.get("amount")))
        for outcome in world.outcomes
        for effect in outcome.effects
    ]
    assert told == [
        ("02T12:00", "streak", 1),
        ("03T12:00", "streak", 2),
        ("03T12:00", "streak_milestone", 2),
        ("03T12:00", "earn", 7),
        ("05T00:00", "streak_frozen", 2),
        ("05T20:00", "streak_at_risk", 2),
        ("06T00:00", "streak_broken", 2),
    ]


def test_internal_events_start_rules() -> None:
    more = """
rules:
  - {key: warned, on: streak.at_risk, when: event.length >= 2, then: [{earn: {currency: points, amount: 1}}]}
  - {key: broken, on: streak.broken, then: [{earn: {currency: points, amount: event.length * 10}}]}
  - {key: kept, on: streak.kept, when: 'event.streak == "s"', then: [{earn: {currency: points, amount: 100}}]}
  - {key: far, on: streak.milestone, then: [{earn: {currency: points, amount: event.length * 1000}}]}
"""
    world = World(program("warn_before: 4h, milestones: [{at: 2}]", more=more))
    for day in ("mon", "tue"):
        world.run(on(day))
    world.until(on("sat"))
    earned = [effect["rule"] for outcome in world.outcomes for effect in outcome.effects if effect["type"] == "earn"]
    assert earned == ["kept", "kept", "far", "warned", "broken"]
    assert world.points() == 2 * 100 + 2000 + 1 + 20


@pytest.mark.parametrize(
    ("first", "late", "told"),
    [
        # A Wednesday that comes late mends what had broken; what broke after it stays broken.
        ("mon tue", ("wed", "thu"), [("streak_restored", 3), ("streak", 3)]),
        ("mon tue", ("wed", "fri"), [("streak_restored", 3), ("streak_broken", 3), ("streak", 0)]),
        ("mon tue thu", ("wed", "thu"), [("streak_restored", 3), ("streak", 4)]),
        # One that fills no gap.
        ("mon tue wed", ("tue", "wed"), []),
        # Beyond the window nothing counts.
        ("mon wed thu fri", ("tue", "sat"), []),
    ],
)  # fmt: skip
def test_what_comes_late_mends(first: str, late: tuple[str, str], told: list[tuple[str, int]]) -> None:
    world = World(program(""))
    for day in first.split():
        world.run(on(day))
    world.until(on(late[1], "17:00"))
    known = len(world.told)
    world.run(on(late[0], "11:00"), arrives=on(late[1], "18:00"))
    assert [each for each in world.told[known:] if each[0] in LENGTHS] == told


def test_a_freeze_that_was_not_needed_after_all_comes_back() -> None:
    world = World(program("freezes: {start: 1}"))
    world.run(on("mon"))
    world.until(on("wed", "01:00"))
    assert world.standing(on("wed", "01:00")).freezes == 0
    world.run(on("tue"), arrives=on("wed", "02:00"))
    standing = world.standing(on("wed", "02:00"))
    assert (standing.length, standing.freezes) == (2, 1)


MILESTONES = """milestones: [{at: 2, rewards: [{earn: {currency: points, amount: 1}}]},
    {every: 3, rewards: [{earn: {currency: points, amount: 10}}]}]"""


@pytest.mark.parametrize(
    ("days", "late", "reached", "points"),
    [
        ("mon tue wed thu fri sat", [], [(2, 1), (3, 1), (6, 1)], 21),
        # Another streak reaches it another time.
        ("mon tue thu fri", [], [(2, 1), (2, 2)], 2),
        # Two streaks that a late event makes one: what was paid stays paid, and only what is new is paid.
        ("mon tue thu fri", [("wed", "fri")], [(2, 1), (2, 2), (3, 1)], 12),
        ("mon wed", [("tue", "wed")], [(2, 1), (3, 1)], 11),
    ],
)
def test_milestones_are_paid_once_each_time(
    days: str, late: list[tuple[str, str]], reached: list[tuple[int, int]], points: int
) -> None:
    world = World(program(MILESTONES))
    for day in days.split():
        world.run(on(day))
    for day, arrives in late:
        world.run(on(day), arrives=on(arrives, "18:00"))
    effects = [effect for outcome in world.outcomes for effect in outcome.effects]
    assert [(each["length"], each["instance"]) for each in effects if each["type"] == "streak_milestone"] == reached
    rows = [each for outcome in world.outcomes for each in outcome.achievements]
    assert [(each.kind, each.key, each.level, each.instance) for each in rows] == [
        ("streak", "s", *one) for one in reached
    ]
    assert world.points() == points


def test_what_is_given_for_each_period_is_given_once() -> None:
    world = World(program("target: 2, rewards: [{earn: {currency: points, amount: 1}}]"))
    for hour in (8, 9, 10, 11):
        world.run(on("mon", f"{hour:02}:00"))
    world.run(on("tue"))
    assert world.points() == 1
    world.run(on("tue", "11:00"), arrives=on("wed"))
    assert world.points() == 2


GROUNDS = """
rules:
  - {key: ground, on: ran, then: [{earn: {currency: points, amount: 1, reference: 'string(event.km)'}}]}
"""


@pytest.mark.parametrize(
    ("taken", "told", "length"),
    [
        (3, [("streak", 2)], 2),                                  # today's
        (2, [("streak_broken", 1), ("streak", 1)], 1),            # yesterday's: it had broken, then
        (1, [("streak", 2)], 2),                                  # the first
    ],
)  # fmt: skip
def test_what_is_taken_back_keeps_no_period(taken: int, told: list[tuple[str, int]], length: int) -> None:
    world = World(program("", more=GROUNDS))
    for number, day in enumerate(("mon", "tue", "wed"), start=1):
        world.run(on(day), km=number)
    known = len(world.told)
    world.do(ReverseReference(str(taken)), on("wed", "18:00"))
    assert [each for each in world.told[known:] if each[0] in LENGTHS] == told
    assert world.standing(on("wed", "18:00")).length == length
    # A milestone or a period that was paid is not paid again when it is reached anew.
    world.run(on(("mon", "tue", "wed")[taken - 1], "13:00"), arrives=on("wed", "19:00"))
    assert world.standing(on("wed", "19:00")).length == 3


@pytest.mark.parametrize("between", [[], ["tue"]])
@pytest.mark.parametrize("now", ["per: week", "per: week, value: event.km", "REMOVED"])
def test_what_a_streak_does_not_remember_is_not_taken_from_it(between: list[str], now: str) -> None:
    """It begins anew with a version that counts by another period, and so does one that was gone for a while."""
    world = World(program("", more=GROUNDS))
    world.run(on("mon"), km=7)
    if now == "REMOVED":
        world.members.program = compiled_without_streaks()
        world.run(on("mon", "13:00"), km=8)
        now = "per: day"
    world.program = world.members.program = program(now, more=GROUNDS)
    for day in between:
        world.run(on(day), km=1)
    world.do(ReverseReference("7"), on("wed", "09:00"))
    if between:
        assert world.standing(on("wed", "10:00")).length == 1
    world.run(on("wed"), km=1)
    assert world.standing(on("wed", "13:00")).length == (2 if now == "per: day" and between else 1)
    assert all(each.count >= 0 for each in world.memory(on("wed", "13:00")).stretches)


def compiled_without_streaks() -> Program:
    report = check(read_document((HEAD.replace("LATE", "72h") + GROUNDS).encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


PRICED = "freezes: {most: 2, price: {currency: points, amount: 50}}"


def test_freezes_are_bought_and_given() -> None:
    world = World(program(PRICED))
    world.do(Earn("points", 120), on("mon"))
    world.run(on("mon"))
    answer = world.do(BuyFreezes("s"), on("mon", "13:00")).answer
    assert (answer["streak"]["freezes"], answer["balances"]["points"]["available"]) == (1, 70)
    assert [each["type"] for each in answer["effects"]] == ["spend", "streak_freezes"]
    with pytest.raises(FreezesFull):
        world.do(BuyFreezes("s", 2), on("mon", "14:00"))
    world.do(GiveFreezes("s", 1, "goodwill"), on("mon", "14:00"))
    with pytest.raises(FreezesFull):
        world.do(GiveFreezes("s"), on("mon", "14:00"))
    world.run(on("thu"))
    standing = world.standing(on("thu", "13:00"))
    assert (standing.length, standing.freezes, world.points()) == (2, 0, 70)


@pytest.mark.parametrize(
    ("streak", "points", "command", "refusal"),
    [
        (PRICED, 49, BuyFreezes("s"), InsufficientPoints),
        ("freezes: {most: 2}", 100, BuyFreezes("s"), FreezesNotForSale),
        ("", 100, BuyFreezes("s"), FreezesNotForSale),
        ("", 0, GiveFreezes("s"), FreezesFull),
        ("", 0, BuyFreezes("no"), UnknownStreak),
        ("", 0, PauseStreak("s", timedelta(days=1)), StreakNotPausable),
        ("pause: {longest: 7d}", 0, PauseStreak("s", timedelta(days=8)), InvalidInput),
        ("pause: {longest: 7d}", 0, ResumeStreak("s"), StreakNotPaused),
        ("", 0, RestoreStreak("s"), StreakNotBroken),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(streak: str, points: int, command: Any, refusal: type[Exception]) -> None:
    world = World(program(streak))
    if points:
        world.do(Earn("points", points), on("mon"))
    world.run(on("mon"))
    before = world.member.state.play, world.points()
    with pytest.raises(refusal):
        world.do(command, on("mon", "13:00"))
    assert (world.member.state.play, world.points()) == before


@pytest.mark.parametrize(
    ("days", "paused", "resumed", "then", "length"),
    [
        ("mon tue", ("tue", 3), None, "fri", 2),       # Wednesday and Thursday in the pause; it ends on Friday at noon
        ("mon tue", ("tue", 3), None, "sat", 2),       # the period in which it ends is bridged as well
        ("mon tue", ("tue", 3), None, "sun", 0),       # the next one is not
        ("mon tue", ("tue", 7), "thu", "fri", 2),
        ("mon tue", ("tue", 7), "thu", "sat", 0),
        ("mon tue thu sat", ("tue", 7), None, "sat", 4),  # what is done in a pause counts
    ],
)  # fmt: skip
def test_a_pause(days: str, paused: tuple[str, int], resumed: str | None, then: str, length: int) -> None:
    world = World(program("pause: {longest: 7d}, freezes: {start: 0}"))
    for day in days.split():
        world.run(on(day))
        if day == paused[0]:
            world.do(PauseStreak("s", timedelta(days=paused[1])), on(day, "12:00"))
    if resumed is not None:
        world.do(ResumeStreak("s"), on(resumed, "12:00"))
    assert world.standing(on(then, "13:00")).length == length
    world.until(on(then, "13:00"))
    assert world.standing(on(then, "13:00")).length == length


def test_who_is_paused_is_not_warned_and_cannot_pause_twice() -> None:
    world = World(program("pause: {}, warn_before: 4h"))
    with pytest.raises(StreakNotRunning):
        world.do(PauseStreak("s", timedelta(days=2)), on("mon"))
    world.run(on("mon"))
    world.do(PauseStreak("s", timedelta(days=2)), on("mon", "13:00"))
    with pytest.raises(StreakPaused):
        world.do(PauseStreak("s", timedelta(days=2)), on("tue", "13:00"))
    world.until(on("fri"))
    assert world.lengths("streak_at_risk", "streak_broken") == [("streak_at_risk", 1), ("streak_broken", 1)]
    assert world.outcomes[-1].now.isoformat().startswith(DAYS["fri"])


def test_many_short_pauses_take_no_room() -> None:
    world = World(program("pause: {}"))
    world.run(on("mon"))
    for minute in range(30):
        world.do(PauseStreak("s", timedelta(seconds=1)), on("mon", f"13:{minute:02}"))
    assert len(world.member.state.play["streaks"]["s"]["pauses"]) == 1


@pytest.mark.parametrize(
    ("restore", "then", "length"),
    [
        (None, "", 2),                       # what was lost
        (None, "fri", 3),
        (10, "", 10),
        (10, "fri", 11),
    ],
)  # fmt: skip
def test_staff_put_a_broken_streak_back(restore: int | None, then: str, length: int) -> None:
    world = World(program("milestones: [{at: 2, rewards: [{earn: {currency: points, amount: 1}}]}, {every: 3}]"))
    for day in ("mon", "tue"):
        world.run(on(day))
    world.until(on("thu"))
    answer = world.do(RestoreStreak("s", restore, "outage"), on("fri", "11:00")).answer
    assert [each["type"] for each in answer["effects"]] == ["streak_restored", "streak"]  # and no milestone
    if then:
        world.run(on(then))
    assert world.standing(on("fri", "13:00")).length == length
    with pytest.raises(StreakNotBroken):
        world.do(RestoreStreak("s"), on("fri", "14:00"))


def test_a_streak_is_restored_once_whoever_mends_it() -> None:
    """Staff restore it, then the event comes that had been missing."""
    world = World(program(""))
    for day in ("mon", "tue"):
        world.run(on(day))
    world.do(RestoreStreak("s", None, "outage"), on("thu", "10:00"))
    assert world.standing(on("thu", "10:00")).length == 2
    world.run(on("wed"), arrives=on("thu", "11:00"))
    assert world.standing(on("thu", "11:00")).length == 3


def test_a_rule_gives_freezes() -> None:
    more = "rules: [{key: thanks, on: thanked, then: [{streak: {key: s, freezes: 2}}]}]"
    world = World(program("freezes: {most: 3}", more=more))
    given = [
        [effect["given"] for effect in world.do(Event(f"t{n}", "thanked"), on("mon", f"1{n}:00")).effects]
        for n in range(3)
    ]
    assert given == [[2], [1], []]
    assert world.outcomes[-1].trace[0]["result"] == "freezes_full"


def test_merged_members_have_one_streak() -> None:
    world = World(program("milestones: [{at: 3, rewards: [{earn: {currency: points, amount: 1}}]}]"))
    other = world.members.member(UUID(int=0xBE << 100), MemberRef("user", "ben"))
    for day in ("mon", "wed"):
        world.run(on(day))
    world.members.decide(other, Event("b1", "ran"), world.moment(on("tue")))
    world.members.decide(other, MergeOut(MemberRef("user", "ada"), ADA), world.moment(on("wed", "13:00")))
    assert world.standing(on("wed", "14:00")).length == 3
    assert world.points() == 1


@pytest.mark.parametrize(
    ("given", "bought", "freezes"),
    [(0, 0, 1), (1, 0, 2), (0, 1, 2), (2, 0, 3), (0, 2, 3)],
)
def test_the_freezes_that_a_guest_began_with_are_no_more_for_the_member(given: int, bought: int, freezes: int) -> None:
    price = "price: {currency: points, amount: 50}"
    world = World(program(f"freezes: {{most: 5, start: 1, {price}}}"))
    guest = world.members.member(UUID(int=0xBE << 100), MemberRef("anon", "guest"))
    world.run(on("mon"))
    noon = world.moment(on("mon"))
    world.members.decide(guest, Earn("points", 500), noon)
    world.members.decide(guest, Event("b1", "ran"), noon)
    for _ in range(given):
        world.members.decide(guest, GiveFreezes("s", 1, "goodwill"), noon)
    for _ in range(bought):
        world.members.decide(guest, BuyFreezes("s", 1), noon)
    world.members.advance(world.moment(on("mon", "13:00")))
    world.members.decide(guest, MergeOut(MemberRef("user", "ada"), ADA), world.moment(on("mon", "13:00")))
    assert world.standing(on("mon", "14:00")).freezes == freezes


def test_a_merge_that_brings_a_zone_is_a_move() -> None:
    world = World(program(""))
    ben = world.members.member(UUID(int=0xBE << 100), MemberRef("user", "ben"))
    world.run(on("mon"))
    noon = world.moment(on("mon", "12:30"))
    world.members.decide(ben, SetProfile(timezone="Asia/Tokyo"), noon)
    world.members.decide(ben, MergeOut(MemberRef("user", "ada"), ADA), noon)
    kept = world.member.state.play["streaks"]["s"]
    assert kept["zone"] == "Asia/Tokyo"
    assert kept["stretches"][-1][1] == world.moment(on("mon", "15:00")).timestamp()  # Tokyo's midnight


def test_a_streak_that_the_program_has_no_more_is_forgotten() -> None:
    world = World(program(""))
    world.run(on("mon"))
    world.members.program = program("per: week")
    world.run(on("tue"))
    assert world.standing(on("tue")).length == 1
    assert world.member.state.play["streaks"]["s"]["per"] == "week"


def _priced(terms: str, most: int, start: int = 0) -> str:
    price = "{currency: points, amount: 50}"
    return f"{terms}freezes: {{most: {most}, start: {start}, price: {price}}}"


@pytest.mark.parametrize(
    ("before", "now", "bought", "freezes"),
    [
        (_priced("", 3), _priced("per: week, ", 3), 2, 2),
        (_priced("per: week, ", 3), _priced("per: month, ", 3), 2, 2),
        (_priced("", 4, 1), _priced("per: week, ", 4, 1), 2, 3),  # beside those that are there at first
        (_priced("", 4, 1), _priced("per: week, ", 4), 2, 2),
        (_priced("", 3), _priced("per: week, ", 3, 2), 2, 3),  # as many as there is room for
        (_priced("", 3), _priced("per: week, ", 1), 2, 2),  # what was paid for goes beyond
        (_priced("", 3), "per: week", 2, 2),
        (_priced("", 3, 3), _priced("per: week, ", 3), 0, 0),
    ],
)
def test_freezes_that_were_bought_outlast_other_periods(before: str, now: str, bought: int, freezes: int) -> None:
    world = World(program(before))
    world.do(Earn("points", 150), on("mon"))
    world.run(on("mon"))
    if bought:
        world.do(BuyFreezes("s", bought), on("mon", "13:00"))
    world.program = world.members.program = program(now)
    world.run(on("tue"))
    standing = world.standing(on("tue"))
    assert (standing.length, standing.freezes, standing.bought) == (1, freezes, bought)


def test_freezes_that_were_used_before_other_periods_are_gone_and_the_others_can_be_taken_back() -> None:
    world = World(program(_priced("", 3)))
    world.do(Earn("points", 150), on("mon"))
    world.run(on("mon"))
    for hour in ("13:00", "14:00"):
        world.do(BuyFreezes("s"), on("mon", hour))
    world.run(on("wed"))  # one was used on Tuesday
    world.program = world.members.program = program(_priced("per: week, ", 3))
    world.run(on("thu"))
    assert (world.standing(on("thu")).freezes, world.points()) == (1, 50)
    world.do(ReverseReference("streak:s:freezes"), on("fri"))
    assert (world.standing(on("fri")).freezes, world.points()) == (0, 100)


def test_a_merge_brings_freezes_that_were_bought_before_other_periods() -> None:
    world = World(program(_priced("", 3)))
    ben = world.members.member(UUID(int=0xBE << 100), MemberRef("user", "ben"))
    monday = world.moment(on("mon"))
    world.members.decide(ben, Earn("points", 100), monday)
    world.members.decide(ben, BuyFreezes("s"), monday)
    sent: list[Leg] = []
    kept, world.members._follow = world.members._follow, lambda leg, *_: sent.append(leg)  # type: ignore[method-assign]
    world.members.decide(ben, MergeOut(MemberRef("user", "ada"), ADA), monday)
    world.members._follow = kept  # type: ignore[method-assign]
    world.program = world.members.program = program(_priced("per: week, ", 3))
    world.run(on("tue"))
    world.members._follow(sent[0], world.moment(on("tue", "13:00")), "tests")
    assert world.standing(on("tue", "14:00")).bought == 1


@pytest.mark.parametrize(
    ("before", "now", "then", "length"),
    [
        ("", "target: 2", [], 10),
        ("target: 2", "", [], 10),
        ("", "value: event.km, target: 3", [], 10),
        ("value: event.km, target: 3", "", [], 10),
        # From the next period on the new target holds.
        ("", "target: 2", ["12-11 10:00"], 10),
        ("", "target: 2", ["12-11 10:00", "12-11 11:00"], 11),
        ("", "target: 2", ["12-11 10:00", "12-12 11:00"], 0),
        ("target: 2", "", ["12-11 10:00"], 11),
        ("", "value: event.km, target: 3", ["12-11 10:00"], 11),
    ],
)
def test_what_was_kept_under_another_target_stays_kept(before: str, now: str, then: list[str], length: int) -> None:
    """Also where late events may still reach it."""
    world = World(program(before))
    for day in range(1, 11):
        for hour in (9, 10):
            world.run(f"2026-12-{day:02} {hour:02}:00", km=5)
    world.told.clear()
    world.program = world.members.program = program(now)
    for moment in then:
        world.run(f"2026-{moment}", km=5)
    at = f"2026-{then[-1][:5] if then else '12-10'} 23:00"
    assert world.standing(at).length == length
    assert world.standing(at).best == max(length, 10)
    assert world.lengths("streak_broken") == ([] if length else [("streak_broken", 10)])


@pytest.mark.parametrize(
    ("before", "then", "reached"),
    [
        ("mon tue", "wed", [(1, 1), (2, 1)]),            # what still runs has come to it
        ("mon tue thu", "fri", [(1, 2), (2, 2)]),        # and what had ended did so before there was anything to reach
        ("mon tue", "thu", [(1, 2)]),
        ("mon", "tue2", [(1, 2)]),                       # however long ago that was
    ],
)  # fmt: skip
def test_a_milestone_that_a_version_adds_is_not_reached_by_what_had_ended(
    before: str, then: str, reached: list[tuple[int, int]]
) -> None:
    world = World(program("target: 1"))
    for day in before.split():
        world.run(on(day))
    world.until(on(then, "10:00"))
    world.program = world.members.program = program("milestones: [{at: 1}, {at: 2}]")
    world.run(on(then, "11:00"))
    world.run(on(then))
    effects = [effect for outcome in world.outcomes for effect in outcome.effects]
    assert [(each["length"], each["instance"]) for each in effects if each["type"] == "streak_milestone"] == reached


def test_what_was_missed_under_another_target_stays_missed() -> None:
    world = World(program("target: 3"))
    for day, runs in ((1, 3), (2, 2), (3, 3)):
        for hour in range(runs):
            world.run(f"2026-12-{day:02} 1{hour}:00")
    assert world.standing("2026-12-03 13:00").length == 1
    world.program = world.members.program = program("target: 2")
    assert world.standing("2026-12-03 14:00").length == 1
    world.run("2026-12-02 14:00", arrives="2026-12-03 15:00")
    assert world.standing("2026-12-03 16:00").length == 3


def test_what_is_remembered_stays_small() -> None:
    """A year of days, some of them missed."""
    world = World(program("freezes: {earn_every: 3}, warn_before: 2h, milestones: [{every: 2}]", late="30d"))
    start = world.moment(on("mon"))
    for day in range(365):
        if day % 7 != 3 and day % 11 != 5:
            world.run(start + timedelta(days=day))
    assert state_size(world.member.state.play) < 2_000
    assert world.member.wake_at is not None


def test_a_member_whose_streak_broke_is_not_woken_any_more() -> None:
    world = World(program("warn_before: 2h"))
    world.run(on("mon"))
    world.until(on("thu"))
    assert world.member.wake_at is None


@pytest.mark.parametrize(
    ("streak", "path"),
    [
        ("on: [ran], target: 1.5", "streaks.s"),
        ("on: run", "streaks.s.on"),
        ("on: ran, per: year", "streaks.s.per"),
        ("on: ran, where: event.speed > 3", "streaks.s.where"),
        ("on: ran, value: event.indoors", "streaks.s.value"),
        ("on: ran, freezes: {most: 1, start: 2}", "streaks.s.freezes"),
        ("on: ran, freezes: {mots: 1}", "streaks.s.freezes.mots"),
        ("on: ran, freezes: {price: {currency: coins, amount: 1}}", "streaks.s.freezes.price.currency"),
        ("on: ran, freezes: {price: {currency: status, amount: 1}}", "streaks.s.freezes.price.currency"),
        ("on: ran, warn_before: 23h", "streaks.s.warn_before"),
        ("on: ran, pause: {longest: 500d}", "streaks.s.pause.longest"),
        ("on: ran, milestones: [{at: 3, every: 3}]", "streaks.s.milestones.0"),
        ("on: ran, milestones: [{every: 1}]", "streaks.s.milestones.0.every"),
        ("on: ran, milestones: [{at: 3}, {at: 3}]", "streaks.s.milestones.1"),
        ("on: ran, milestones: [{at: 3, rewards: [{earn: {currency: coins, amount: 1}}]}]",
         "streaks.s.milestones.0.rewards.0.earn.currency"),
        ("on: ran, rewards: [{streak: {key: t, freezes: 1}}]", "streaks.s.rewards.0.streak.key"),
        ("on: ran, rewards: [{streak: {key: s, freezes: 1}}]", "streaks.s.rewards.0.streak.freezes"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_they_are(streak: str, path: str) -> None:
    report = check(read_document(f"{HEAD.replace('LATE', '72h')}streaks:\n  s: {{{streak}}}\n".encode()))
    assert [error.path for error in report.errors] == [path]
