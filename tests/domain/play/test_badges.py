"""Badges: when a level is reached, what it gives, and that none of it depends on the order in which events arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties import explored

from rewards.domain.commands import Command, Event, MemberRef, MergeOut
from rewards.domain.effects import EFFECTS_MAX
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Achievement, Outcome
from rewards.domain.play.held_badges import held
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program

DOCUMENT: Final = """
rewards: 1
program: {key: shop, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {}, stars: {}}
events:
  reviewed: {}
  bought: {properties: {total: money, item: string}}
  profiled: {}
  climbed: {}
metrics:
  reviews: {count: reviewed}
  spent_hours: {sum: bought, value: event.total, over: 6h}
  items_day: {distinct: bought, value: event.item, over: day}
  biggest: {max: bought, value: event.total, over: 2d}
  reviews_month: {count: reviewed, over: month}
  awards: {count: badge.awarded}
segments:
  proud: '"reviewer" in member.badges'
rules:
  - {key: profile, on: profiled, then: [{badge: {key: profile}}]}
  - {key: climb, on: climbed, then: [{badge: {key: climber, level: 3}}]}
  - {key: cheer, on: badge.awarded, when: event.badge == "reviewer" && event.level >= 2,
     then: [{earn: {currency: stars, amount: event.level}}]}
  - {key: keen, on: bought, when: '"profile" in member.badges', then: [{earn: {currency: stars, amount: 100}}]}
badges:
  profile: {announce: false, rewards: [{earn: {currency: points, amount: 50}}, {badge: {key: found}}]}
  found: {secret: true}
  climber:
    levels: [{name: Base camp}, {name: Camp one, rewards: [{earn: {currency: points, amount: 7}}]}, {name: Summit, rewards: []}]
    rewards: [{earn: {currency: points, amount: 3}}]
  reviewer: {metric: reviews, levels: [1, 3, {at: 4, rewards: [{earn: {currency: points, amount: 10 + metrics.reviews}}]}]}
  spender: {metric: spent_hours, levels: [10, 50, 100]}
  curious: {metric: items_day, levels: [2, 3]}
  big: {metric: biggest, levels: [20, 40]}
  monthly: {metric: reviews_month, levels: [2, 5]}
  collector: {metric: awards, levels: [6]}
"""
START: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
BERLIN: Final = ZoneInfo("Europe/Berlin")
ADA: Final = UUID(int=0xADA << 100)
BEN: Final = UUID(int=0xBE << 100)


def compiled(text: str = DOCUMENT) -> Program:
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


PROGRAM: Final = compiled()


@dataclass
class World:
    """Members in memory; hours count from the start."""

    program: Program = PROGRAM
    members: Members = field(init=False)
    achieved: list[Achievement] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self.members = Members(self.program, heard=self._hear)

    def _hear(self, _member: Member, _command: Command, outcome: Outcome) -> None:
        self.achieved += outcome.achievements

    def member(self, identifier: UUID = ADA) -> Member:
        return self.members.member(identifier, MemberRef("user", f"u{identifier.int >> 112}"))

    def happen(self, kind: str, hour: float, *, now: float | None = None, member: UUID = ADA, **sent: Any) -> Outcome:
        self.number += 1
        event = Event(f"e{self.number}", kind, after(hour), sent)
        return self.members.decide(self.member(member), event, after(hour if now is None else now))

    def levels(self, member: UUID = ADA) -> dict[str, int]:
        assert self.program.badges is not None
        play = self.member(member).state.play
        return {key: level for key in self.program.badges.by_key if (level := held(play, key).level)}


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def told(outcome: Outcome) -> list[str]:
    """The effects in short: `reviewer 2`, `+50 points of profile`."""
    return [
        f"{effect['key']} {effect['level']}"
        if effect["type"] == "badge"
        else f"+{effect['amount']} {effect['currency']} of {effect.get('badge') or effect.get('rule')}"
        for effect in outcome.effects
        if effect["type"] in {"badge", "earn"}
    ]


@pytest.mark.parametrize(
    ("happenings", "expected"),
    [
        ([("reviewed", 0, {})], ["reviewer 1"]),
        ([("reviewed", 0, {}), ("reviewed", 1, {})], ["monthly 1"]),
        ([("reviewed", hour, {}) for hour in range(3)], ["reviewer 2", "+2 stars of cheer"]),
        ([("reviewed", hour, {}) for hour in range(4)], ["reviewer 3", "+14 points of reviewer", "+3 stars of cheer"]),
        # Several levels at once come one after the other, the lowest first.
        ([("bought", 0, {"total": 60})], ["big 1", "big 2", "spender 1", "spender 2"]),
        # An action gives the levels below as well, each with its own rewards or the badge's.
        ([("climbed", 0, {})], ["climber 1", "+3 points of climber", "climber 2", "+7 points of climber", "climber 3"]),
        # Once is enough.
        ([("climbed", 0, {}), ("climbed", 1, {})], []),
        ([("profiled", 0, {})], ["profile 1", "+50 points of profile", "found 1"]),
        ([("profiled", 0, {}), ("profiled", 1, {})], []),
        # Conditions read what is held.
        ([("bought", 0, {"total": 1})], []),
        ([("profiled", 0, {}), ("bought", 1, {"total": 1})], ["+100 stars of keen"]),
        # A window moves on, the badge stays, and is not given twice.
        ([("bought", 0, {"total": 12}), ("bought", 20, {"total": 12})], []),
        ([("bought", 0, {"total": 6}), ("bought", 7, {"total": 6})], []),
        ([("bought", 0, {"total": 6}), ("bought", 5, {"total": 6})], ["spender 1"]),
        # A badge may count badges: these were climber 1 to 3, profile, found, reviewer.
        ([("climbed", 0, {}), ("profiled", 1, {}), ("reviewed", 2, {})], ["reviewer 1", "collector 1"]),
    ],
)
def test_what_the_last_event_brings(happenings: list[tuple[str, float, dict[str, Any]]], expected: list[str]) -> None:
    world = World()
    *_, last = [world.happen(kind, hour, **sent) for kind, hour, sent in happenings]
    assert told(last) == expected


@pytest.mark.parametrize(
    ("rows", "late", "badge", "reached_hour"),
    [
        # Together with an event that came after it: the reading at that one is enough.
        ([(0, 6, "a"), (9, 6, "b")], (4, 6, "c"), "spender", 4),
        ([(0, 1, "a"), (9, 6, "b")], (4, 6, "c"), "spender", 9),
        # Yesterday had two different things; today has one.
        ([(0, 1, "a"), (20, 1, "b")], (1, 1, "c"), "curious", 1),
        # It says how large it was itself.
        ([(10, 1, "a")], (2, 25, "b"), "big", 2),
    ],
)
def test_a_late_event_lifts_readings_of_the_past(
    rows: list[tuple[float, float, str]], late: tuple[float, float, str], badge: str, reached_hour: float
) -> None:
    world = World()
    for hour, total, item in rows:
        world.happen("bought", hour, total=total, item=item)
    assert badge not in world.levels()
    hour, total, item = late
    outcome = world.happen("bought", hour, now=30, total=total, item=item)
    assert f"{badge} 1" in told(outcome)
    found = next(each for each in outcome.achievements if each.key == badge)
    assert after(reached_hour) <= found.achieved_at <= after(reached_hour) + timedelta(hours=24)
    assert found.achieved_at >= after(hour)


def test_a_level_is_kept_as_achieved_with_its_event_and_moment() -> None:
    world = World()
    outcome = world.happen("reviewed", 0.5, now=1)
    assert outcome.achievements == [Achievement("badge", "reviewer", 1, 1, after(0.5), None, True, outcome.id)]
    profile = world.happen("profiled", 2).achievements
    assert [(each.key, each.announced) for each in profile] == [("profile", False), ("found", True)]


def test_segments_see_a_badge_with_the_event_that_brings_it() -> None:
    world = World()
    entered = {"type": "segment.entered", "segment": "proud"}
    assert entered in world.happen("reviewed", 0).effects
    assert entered not in world.happen("reviewed", 1).effects


def test_rewards_that_are_refused_leave_the_badge() -> None:
    text = DOCUMENT.replace(
        "{earn: {currency: points, amount: 10 + metrics.reviews}}", "{spend: {currency: points, amount: 1}}"
    )
    world = World(compiled(text))
    *_, last = [world.happen("reviewed", hour) for hour in range(4)]
    assert "reviewer 3" in told(last)
    line = next(line for line in last.trace if line.get("result") == "refused")
    assert (line["badge"], line["code"]) == ("reviewer", "insufficient-points")


def test_more_badges_than_an_event_may_have_effects_come_with_the_next() -> None:
    keys = [f"b{number:03}" for number in range(EFFECTS_MAX + 20)]
    head, _, _ = DOCUMENT.partition("segments:")
    badges = "\n".join(f"  {key}: {{metric: reviews, levels: [1]}}" for key in keys)
    world = World(compiled(f"{head}badges:\n{badges}\n"))
    first = world.happen("reviewed", 0)
    assert len(told(first)) == EFFECTS_MAX
    assert {"badge": keys[EFFECTS_MAX], "result": "effects_exceeded", "most": EFFECTS_MAX} in first.trace
    world.happen("reviewed", 1)
    assert world.levels() == dict.fromkeys(keys, 1)


def test_merging_keeps_the_higher_level_of_both_and_pays_it_no_second_time() -> None:
    world = World()
    for hour in range(3):
        world.happen("reviewed", hour, member=BEN)
    world.happen("climbed", 3)
    world.happen("profiled", 4, member=BEN)
    world.happen("reviewed", 5)
    before = len(world.achieved)
    world.members.decide(world.member(BEN), MergeOut(MemberRef("user", "u0"), ADA), after(6))
    # Only what both together have reached is new: the fourth review.
    assert [(each.key, each.level) for each in world.achieved[before:] if each.key != "collector"] == [("reviewer", 3)]
    assert world.levels() == {
        "profile": 1, "found": 1, "climber": 3, "reviewer": 3, "monthly": 1, "collector": 1,
    }  # fmt: skip
    assert told(world.happen("profiled", 7)) == []


def laddered(thresholds: str) -> Program:
    """A badge for reviews that stand, each level of which gives as many points as its threshold."""
    levels = ", ".join(
        f"{{at: {each}, rewards: [{{earn: {{currency: points, amount: {each}}}}}]}}" for each in thresholds.split()
    )
    return compiled(f"""
rewards: 1
program: {{key: shop, timezone: Europe/Berlin, late_window: 72h}}
currencies: {{points: {{clawback: allow_debt}}, paid: {{clawback: allow_debt}}}}
events: {{reviewed: {{properties: {{order: string}}}}, removed: {{properties: {{order: string}}}}}}
metrics: {{reviews: {{count: reviewed}}}}
rules:
  - {{key: pay, on: reviewed, then: [{{earn: {{currency: paid, amount: 1, reference: event.order}}}}]}}
  - {{key: back, on: removed, then: [{{reverse: {{reference: event.order}}}}]}}
badges: {{wordy: {{metric: reviews, revocable: true, levels: [{levels}]}}}}
""")


@pytest.mark.parametrize(
    ("versions", "told_last", "level", "points"),
    [
        # thresholds × reviews under them; what the last version brings; the level and the points afterwards
        (["1 5 × 5", "1 3 5 × 1"], ["wordy 2", "+3"], 3, 9),
        (["5 × 5", "1 5 × 1"], ["wordy 1", "+1"], 2, 6),
        (["1 5 9 × 9", "1 3 5 9 × 1"], ["wordy 2", "+3"], 4, 18),
        (["1 5 × 5", "1 2 3 5 × 1"], ["wordy 2", "+2", "wordy 3", "+3"], 4, 11),
        (["1 5 9 × 9", "1 3 5 7 9 × 1"], ["wordy 2", "+3", "wordy 4", "+7"], 5, 25),
        (["3 5 × 3", "1 2 3 5 × 1"], ["wordy 1", "+1", "wordy 2", "+2"], 3, 6),
        (["1 5 × 5", "1 5 6 × 1"], ["wordy 3", "+6"], 3, 12),
        (["1 5 × 5", "1 3 5 6 × 1"], ["wordy 2", "+3", "wordy 4", "+6"], 4, 15),
        (["1 5 × 2", "1 2 5 × 1", "1 2 5 × 2"], ["wordy 3", "+5"], 3, 8),
        (["1 5 × 5", "1 3 5 × 1", "1 2 3 5 × 1"], ["wordy 2", "+2"], 4, 11),
        (["1 5 × 5", "5 × 1", "1 5 × 1"], [], 2, 6),  # away and back again
        (["1 3 5 × 5", "1 5 × 1", "1 3 5 × 1"], [], 3, 9),
        (["1 5 × 5", "1 4 × 1"], [], 2, 6),  # a threshold that is another one: held under it, by number
    ],
)
def test_levels_that_a_version_inserts_are_paid_and_no_others_again(
    versions: list[str], told_last: list[str], level: int, points: int
) -> None:
    world = World()
    news: list[str] = []
    for number, (thresholds, _, count) in enumerate(version.partition(" × ") for version in versions):
        world.program = world.members.program = laddered(thresholds)
        news = [
            line.removesuffix(" points of wordy")
            for each in range(int(count))
            for line in told(world.happen("reviewed", number * 20 + each, order=f"o{number}-{each}"))
            if "paid" not in line
        ]
    assert (news, world.levels()["wordy"]) == (told_last, level)
    assert world.member().state.wallet.accounts["points"].available == points
    rows = [(each.level, each.instance) for each in world.achieved]
    assert len(rows) == len(set(rows)), "no achievement is written over another"


@pytest.mark.parametrize(
    ("before", "after_it", "hours"),
    [
        ("1 5", "1 3 5", [0, 4, 4]),
        ("1 5", "1 2 3 5", [0, 4, 4, 4]),
        ("1 3 5", "1 2 3 4 5", [0, 2, 2, 4, 4]),
    ],
)
def test_inserted_levels_are_as_of_the_moment_at_which_the_one_above_was_reached(
    before: str, after_it: str, hours: list[int]
) -> None:
    world = World(laddered(before))
    for number in range(5):
        world.happen("reviewed", number, order=f"o{number}")
    world.program = world.members.program = laddered(after_it)
    world.happen("reviewed", 90, order="late")
    wordy = held(world.member().state.play, "wordy")
    assert [wordy.reached_at(level) for level in range(1, wordy.level + 1)] == [after(hour) for hour in hours]
    [highest] = [each for each in world.achieved if each.level == wordy.level]
    assert (highest.achieved_at, highest.announced) == (after(hours[-1]), False)


@pytest.mark.parametrize(("after_it", "level", "points"), [("1 3 5", 2, 4), ("1 2 3 5", 3, 6), ("1 2 3 4 5", 4, 10)])
def test_what_is_taken_back_before_levels_have_moved_up_takes_the_level_that_it_grounded(
    after_it: str, level: int, points: int
) -> None:
    """Five reviews of which four are left, and levels that were inserted in between."""
    world = World(laddered("1 5"))
    for number in range(5):
        world.happen("reviewed", number, order=f"o{number}")
    world.program = world.members.program = laddered(after_it)
    world.happen("removed", 6, order="o0")
    account = world.member().state.wallet.accounts["points"]
    assert (world.levels()["wordy"], account.available - account.debt) == (level, points)


def test_levels_are_inserted_whatever_the_metric_reads_by_then() -> None:
    """A window that has moved on takes nothing, so what is below a level that is held is reached too."""
    windowed = [
        compiled(DOCUMENT.replace("levels: [10, 50, 100]", f"levels: [{levels}]"))
        for levels in ("10, 100", "10, 40, 70, 100")
    ]
    world = World(windowed[0])
    world.happen("bought", 0, total=100, item="a")
    assert world.levels()["spender"] == 2
    world.program = world.members.program = windowed[1]
    world.happen("bought", 48, total=1, item="a")
    assert world.levels()["spender"] == 4


def test_a_level_that_moved_up_is_lost_with_what_it_was_paid() -> None:
    world = World(laddered("1 5"))
    for number in range(5):
        world.happen("reviewed", number, order=f"o{number}")
    world.program = world.members.program = laddered("1 3 5")
    world.happen("reviewed", 5, order="o5")
    found = []
    for hour, number in enumerate((0, 1, 2, 3, 4, 5), 6):
        world.happen("removed", hour, order=f"o{number}")
        account = world.member().state.wallet.accounts["points"]
        found.append((world.levels().get("wordy", 0), account.available - account.debt))
    assert found == [(3, 9), (2, 4), (2, 4), (1, 1), (1, 1), (0, 0)]
    for number in range(5):
        world.happen("reviewed", 12 + number, order=f"again{number}")
    assert (world.levels()["wordy"], world.member().state.wallet.accounts["points"].available) == (3, 9)


GROWING: Final = st.lists(st.sets(st.integers(1, 5), max_size=3), min_size=2, max_size=4)
"""Thresholds that each version has beside those of the one before."""


@explored(given(versions=GROWING, data=st.data()), few=30, at_length=300)
def test_however_levels_are_inserted_each_is_held_and_paid_once_while_there_is_ground_for_it(
    versions: list[set[int]], data: st.DataObject
) -> None:
    thresholds = {4}
    world = World(laddered("4"))
    standing: list[str] = []
    for added in versions:
        thresholds |= added
        world.program = world.members.program = laddered(" ".join(map(str, sorted(thresholds))))
        several = data.draw(st.lists(st.integers(-2, 4), min_size=1, max_size=2))
        for added_one in (count > 0 for count in several for _ in range(abs(count))):
            hour = world.number
            if added_one or not standing:
                standing.append(f"o{hour}")
                world.happen("reviewed", hour, order=standing[-1])
            else:
                world.happen("removed", hour, order=standing.pop(data.draw(st.integers(0, len(standing) - 1))))
            reached = [each for each in thresholds if each <= len(standing)]
            account = world.member().state.wallet.accounts.get("points")
            points = account.available - account.debt if account is not None else 0
            assert (world.levels().get("wordy", 0), points) == (len(reached), sum(reached))


def test_levels_from_before_thresholds_were_kept_are_held_by_number() -> None:
    world = World(laddered("1 5"))
    for number in range(5):
        world.happen("reviewed", number, order=f"o{number}")
    play = world.member().state.play
    play["badges"]["wordy"] = play["badges"]["wordy"][:1]
    world.happen("reviewed", 5, order="o5")
    assert (world.levels()["wordy"], world.member().state.wallet.accounts["points"].available) == (2, 6)
    world.happen("removed", 6, order="o0")
    world.happen("removed", 7, order="o1")
    assert (world.levels()["wordy"], world.member().state.wallet.accounts["points"].available) == (1, 1)


def test_members_who_become_one_keep_what_either_was_paid() -> None:
    world = World(laddered("1 5"))
    for number in range(5):
        world.happen("reviewed", number, order=f"b{number}", member=BEN)
    world.program = world.members.program = laddered("1 3 5")
    for number in range(4):
        world.happen("reviewed", 6 + number, order=f"a{number}")
    world.members.decide(world.member(BEN), MergeOut(MemberRef("user", "u0"), ADA), after(11))
    world.happen("reviewed", 12, order="last")
    assert world.levels()["wordy"] == 3
    account = world.member().state.wallet.accounts["points"]
    assert account.available == 1 + 5 + 1 + 3  # the first level each, five one of them, three the other


def test_what_was_earned_is_not_earned_again_after_the_badge_was_away() -> None:
    world = World()
    world.happen("profiled", 0)
    head, _, rest = DOCUMENT.partition("badges:\n")
    world.members.program = compiled(f"{head.partition('segments:')[0]}badges:\n{rest[rest.index('  reviewer:') :]}")
    world.happen("reviewed", 1)
    world.members.program = PROGRAM
    assert told(world.happen("profiled", 2)) == []


# Against all events at once


@dataclass(frozen=True)
class Done:
    """One event: quarters of an hour after the start, and how many later it arrives."""

    kind: str
    quarter: int
    delay: int
    total: int
    item: str

    @property
    def at(self) -> datetime:
        return after(self.quarter / 4)


def levels_of(events: Sequence[Done]) -> dict[str, int]:
    """What the events come to, the slow way: at each event look back over all of them."""
    ordered = sorted(events, key=lambda done: done.quarter)
    thresholds = {
        "reviewer": (1, 3, 4),
        "spender": (10, 50, 100),
        "curious": (2, 3),
        "big": (20, 40),
        "monthly": (2, 5),
    }
    best = dict.fromkeys(thresholds, 0)
    for done in ordered:
        for key, value in _readings(ordered, done.at):
            best[key] = max(best[key], value)
    reached = {key: sum(best[key] >= each for each in thresholds[key]) for key in thresholds}
    return {key: level for key, level in reached.items() if level}


def _readings(events: Sequence[Done], now: datetime) -> Iterator[tuple[str, int]]:
    reviews = [done.at for done in events if done.kind == "reviewed"]
    bought = [done for done in events if done.kind == "bought"]
    yield "reviewer", sum(at <= now for at in reviews)
    yield "monthly", sum(at.astimezone(BERLIN).month == now.astimezone(BERLIN).month for at in reviews)
    yield "spender", sum(done.total for done in bought if _in_window(done.at, now, minutes=360))
    yield "curious", len({done.item for done in bought if _day(done.at) == _day(now)})
    yield "big", max((done.total for done in bought if _in_window(done.at, now, minutes=2_880)), default=0)


def _in_window(at: datetime, now: datetime, *, minutes: int) -> bool:
    """In the last so many minutes, in sixtieths of them."""
    parts = [int(moment.timestamp()) // (minutes * 60 // 60) for moment in (at, now)]
    return 0 <= parts[1] - parts[0] < 60


def _day(at: datetime) -> date:
    return at.astimezone(BERLIN).date()


def _arrivals(events: Sequence[Done]) -> list[Done]:
    return sorted(events, key=lambda done: (done.quarter + done.delay, done.delay))


done = st.builds(
    Done,
    kind=st.sampled_from(["reviewed", "bought", "bought"]),
    quarter=st.integers(0, 900),
    delay=st.one_of(st.just(0), st.integers(0, 280)),
    total=st.sampled_from([0, 1, 4, 9, 20, 45]),
    item=st.sampled_from("abc"),
)
"""Over ten days, into the next month, and up to 70 hours late."""


@explored(given(st.lists(done, max_size=40)), few=60, at_length=200)
def test_levels_are_those_of_all_events_in_whatever_order_they_arrive(events: list[Done]) -> None:
    world = World()
    seen: list[Done] = []
    for each in _arrivals(events):
        seen.append(each)
        arrives = (each.quarter + each.delay) / 4
        world.happen(each.kind, each.quarter / 4, now=arrives, total=each.total, item=each.item)
        assert {**world.levels(), "collector": 0} == {**levels_of(seen), "collector": 0}
    given = [(each.key, each.level) for each in world.achieved]
    assert len(given) == len(set(given))


@explored(given(st.lists(done, max_size=40)), few=40, at_length=100)
def test_levels_are_reached_when_the_events_say_so(events: list[Done]) -> None:
    """In order of occurrence: at the first event by which the readings suffice."""
    world = World()
    seen: list[Done] = []
    for each in sorted(events, key=lambda one: one.quarter):
        before = levels_of(seen)
        seen.append(each)
        world.happen(each.kind, each.quarter / 4, total=each.total, item=each.item)
        new = [
            (key, level) for key, most in levels_of(seen).items() for level in range(before.get(key, 0) + 1, most + 1)
        ]
        found = [each for each in world.achieved if each.key != "collector"]
        assert sorted((one.key, one.level) for one in found) == sorted(new)
        assert all(one.achieved_at == each.at for one in found)
        world.achieved.clear()


def ladder(step: int) -> list[int]:
    """Fifty levels."""
    return [step * number for number in range(1, 51)]


LADDERS: Final = {"all": 250, "sums": 12_000, "kinds": 2, "largest": 20, "weeks": 60}
MANY: Final = """
rewards: 1
program: {key: shop, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {}}
events: {bought: {properties: {total: money, item: integer}}}
metrics:
  all: {count: bought}
  sums: {sum: bought, value: event.total, over: 3d}
  kinds: {distinct: bought, value: event.item, over: day}
  largest: {max: bought, value: event.total, over: 7d}
  weeks: {count: bought, over: week}
badges:
""" + "".join(
    f"  {key}: {{metric: {key}, levels: {ladder(step)}, rewards: [{{earn: {{currency: points, amount: 1}}}}]}}\n"
    for key, step in LADDERS.items()
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_events_in_any_order(seed: int) -> None:
    """Minutes after the start, each up to 70 hours late; every level is reached once and paid once."""
    chance = Random(seed)
    events = [
        (
            chance.randrange(43_200),
            chance.choice([0, 0, chance.randrange(4_200)]),
            chance.randrange(1_000),
            chance.randrange(90),
        )
        for _ in range(10_000)
    ]
    world = World(compiled(MANY))
    for minute, delay, total, item in sorted(events, key=lambda event: event[0] + event[1]):
        world.happen("bought", minute / 60, now=(minute + delay) / 60, total=total, item=item)
    best = {
        "all": len(events),
        "sums": highest_sum([(int(after(minute / 60).timestamp()) // 4_320, total) for minute, _, total, _ in events]),
        "kinds": max(Counter(day for day, _ in {(_day(after(event[0] / 60)), event[3]) for event in events}).values()),
        "largest": max(event[2] for event in events),
        "weeks": max(Counter(_day(after(event[0] / 60)).isocalendar()[:2] for event in events).values()),
    }
    expected = {key: sum(best[key] >= threshold for threshold in ladder(step)) for key, step in LADDERS.items()}
    assert world.levels() == {key: level for key, level in expected.items() if level}
    assert all(0 < level < 50 for level in expected.values())
    reached = [(each.key, each.level) for each in world.achieved]
    assert len(reached) == len(set(reached)) == sum(expected.values())
    assert world.member().state.wallet.accounts["points"].available == sum(expected.values())


def highest_sum(rows: list[tuple[int, int]]) -> int:
    """Over sixty sub-windows that end with one that holds something."""
    sums: Counter[int] = Counter()
    for slot, total in rows:
        sums[slot] += total
    return max(sum(sums[slot - back] for back in range(60)) for slot in list(sums))


# When events count no longer

REVOCABLE: Final = """
rewards: 1
program: {key: shop, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {clawback: within_balance}, stars: {clawback: allow_debt}}
events:
  bought: {properties: {order: string, total: money, item: string}}
  returned: {properties: {order: string}}
  spent: {}
metrics:
  orders: {count: bought}
  spent_hours: {sum: bought, value: event.total, over: 6h}
  items_day: {distinct: bought, value: event.item, over: day}
  biggest: {max: bought, value: event.total}
segments:
  proud: '"buyer" in member.badges'
rules:
  - {key: paid, on: bought, then: [{earn: {currency: points, amount: 1, reference: event.order}}]}
  - {key: back, on: returned, then: [{reverse: {reference: event.order}}]}
  - {key: spend, on: spent, then: [{spend: {currency: stars, amount: 20}}]}
  - {key: sorry, on: badge.revoked, then: [{earn: {currency: points, amount: 1000 * event.level}}]}
badges:
  buyer: {metric: orders, levels: [2, {at: 3, rewards: [{earn: {currency: stars, amount: 20}}]}], revocable: true}
  keeper: {metric: orders, levels: [2, 3], rewards: [{earn: {currency: stars, amount: 1}}]}
  spender: {metric: spent_hours, levels: [10, 50, 100], revocable: true}
  curious: {metric: items_day, levels: [2, 3], revocable: true}
  big: {metric: biggest, levels: [20, 40], revocable: true}
"""
REVOKING: Final = compiled(REVOCABLE)
FORGETFUL: Final = compiled(REVOCABLE.replace("late_window: 72h", "late_window: 1h"))


@dataclass
class Shop(World):
    """Orders that are returned; what is given for them is taken back with them."""

    program: Program = REVOKING

    def buy(self, order: str, hour: float, total: int = 1, item: str = "a", *, now: float | None = None) -> Outcome:
        return self.happen("bought", hour, now=now, order=order, total=total, item=item)

    def give_back(self, order: str, hour: float) -> Outcome:
        return self.happen("returned", hour, order=order)


def test_what_is_returned_takes_levels_and_their_rewards_with_it() -> None:
    world = Shop()
    for hour, order in enumerate("abc"):
        world.buy(order, hour)
    assert world.levels() == {"buyer": 2, "keeper": 2}
    world.achieved.clear()
    outcome = world.give_back("b", 3)
    kept = ("type", "key", "level", "currency", "amount", "badge", "rule")
    assert [{name: effect[name] for name in kept if name in effect} for effect in outcome.effects] == [
        {"type": "reverse", "currency": "points", "amount": 1, "rule": "back"},
        {"type": "taken_back"},
        {"type": "badge.revoked", "key": "buyer", "level": 2},
        {"type": "reverse", "currency": "stars", "amount": 20, "badge": "buyer"},
        {"type": "earn", "currency": "points", "amount": 2000, "rule": "sorry"},
    ]
    assert world.achieved == [
        Achievement("badge", "buyer", 2, 1, after(2), revoked_at=after(3), announced=True, event=outcome.id)
    ]
    assert world.levels() == {"buyer": 1, "keeper": 2}
    assert {"badge": "buyer", "level": 2, "result": "revoked"} in outcome.trace


def test_what_is_lost_can_be_earned_again_with_its_rewards() -> None:
    world = Shop()
    for hour, order in enumerate("abc"):
        world.buy(order, hour)
    world.give_back("a", 3)
    world.achieved.clear()
    again = world.buy("d", 4)
    assert told(again) == ["+1 points of paid", "buyer 2", "+20 stars of buyer"]
    assert [(each.level, each.instance, each.revoked_at) for each in world.achieved] == [(2, 2, None)]
    lost = world.give_back("d", 5)
    assert [effect["amount"] for effect in lost.effects if effect.get("badge") == "buyer"] == [20]
    assert (world.achieved[-1].instance, world.achieved[-1].revoked_at) == (2, after(5))


def test_what_was_spent_of_a_lost_reward_is_owed_by_the_currencys_own_policy() -> None:
    world = Shop()
    for hour, order in enumerate("abc"):
        world.buy(order, hour)
    world.happen("spent", 3)
    world.give_back("a", 4)
    stars = world.member().state.wallet.accounts["stars"]
    assert (stars.available, stars.debt) == (0, 18)  # two for `keeper` were left


@pytest.mark.parametrize(
    ("clawback", "spends", "stars"),
    [
        # Taken back in full, also what is owed: given again each time.
        ("allow_debt", False, 20),
        ("allow_debt", True, 0),
        ("within_balance", False, 20),
        # What could not be taken back is still the member's: it is not given a second time.
        ("within_balance", True, 0),
        ("pending_only", False, 20),
        ("pending_only", True, 0),
    ],
)
def test_a_level_that_is_lost_and_earned_again_and_again_pays_once(clawback: str, stars: int, *, spends: bool) -> None:
    """Neither points that were spent meanwhile, nor freezes, which nobody takes back."""
    text = REVOCABLE.replace("stars: {clawback: allow_debt}", f"stars: {{clawback: {clawback}}}")
    text = text.replace("amount: 20}}]}]", "amount: 20}}, {streak: {key: daily, freezes: 1}}]}]")
    text = text.replace("\nbadges:", "\nstreaks: {daily: {on: spent, freezes: {most: 10}}}\nbadges:")
    text = text[: text.index("  keeper:")] + text[text.index("  spender:") :]
    world = Shop(compiled(text))
    outcomes = [world.buy(order, hour) for hour, order in enumerate(["a", "b", "c0"])]
    if spends:
        world.happen("spent", 3)
    for again in range(3):
        world.give_back(f"c{again}", 4 + again)
        outcomes.append(world.buy(f"c{again + 1}", 4.5 + again))
    account = world.member().state.wallet.accounts["stars"]
    assert (world.levels()["buyer"], account.available, account.debt) == (2, stars, 0)
    effects = [effect for outcome in outcomes for effect in outcome.effects]
    assert sum(effect["given"] for effect in effects if effect["type"] == "streak_freezes") == 1
    assert [effect["level"] for effect in effects if effect["type"] == "badge" and effect["key"] == "buyer"] == [
        1,
        2,
        2,
        2,
        2,
    ]


def test_a_segment_is_left_with_the_badge_that_it_asks_for() -> None:
    world = Shop()
    world.buy("a", 0)
    assert {"type": "segment.entered", "segment": "proud"} in world.buy("b", 1).effects
    assert {"type": "segment.left", "segment": "proud"} in world.give_back("a", 2).effects


def test_a_window_that_moves_on_takes_nothing_and_nor_does_what_was_no_ground() -> None:
    world = Shop()
    world.buy("a", 0, total=60)
    world.buy("b", 100, total=1)
    outcome = world.give_back("b", 101)
    assert [effect["key"] for effect in outcome.effects if effect["type"] == "badge.revoked"] == ["buyer"]
    assert world.levels()["spender"] == 2


def test_a_level_stands_on_what_reaches_it_all_the_same_until_that_goes_too() -> None:
    world = Shop()
    world.buy("a", 0, total=60)
    world.buy("b", 40, total=50)
    world.give_back("a", 50)
    assert world.levels()["spender"] == 2
    world.give_back("b", 51)
    assert "spender" not in world.levels()


def test_what_a_metric_has_forgotten_is_told_by_the_events_themselves() -> None:
    world = Shop(FORGETFUL)
    for order, hour, total in (("a", 0, 60), ("b", 3, 45), ("c", 4, 20), ("d", 9, 1)):
        world.buy(order, hour, total)
    assert world.levels()["spender"] == 3
    world.give_back("b", 9.5)
    assert world.levels()["spender"] == 2  # 80, four hours after the first
    world.give_back("c", 20)
    assert world.levels()["spender"] == 2  # the first alone
    world.give_back("a", 21)
    assert "spender" not in world.levels()


bought = st.builds(
    Done,
    kind=st.just("bought"),
    quarter=st.integers(0, 120),
    delay=st.one_of(st.just(0), st.integers(0, 100)),
    total=st.sampled_from([0, 1, 4, 9, 20, 45]),
    item=st.sampled_from("abc"),
)


Orders = Sequence[tuple[Done, int | None]]
"""With how many quarters of an hour after its arrival each is returned, if it is."""


@explored(
    given(st.lists(st.tuples(bought, st.one_of(st.none(), st.integers(0, 60))), max_size=25)), few=30, at_length=200
)
def test_levels_are_those_of_the_events_that_still_count(orders: Orders) -> None:
    play_orders(Shop(), orders)


soon = st.builds(
    Done,
    kind=st.just("bought"),
    quarter=st.integers(0, 300),
    delay=st.integers(0, 3),
    total=st.sampled_from([1, 9, 20, 45]),
    item=st.sampled_from("abc"),
)


@explored(
    given(st.lists(st.tuples(soon, st.one_of(st.none(), st.integers(0, 600))), max_size=25)), few=30, at_length=200
)
def test_so_they_are_long_after_the_windows_have_moved_on(orders: Orders) -> None:
    """What the metrics no longer remember, the recorded events do."""
    play_orders(Shop(FORGETFUL), orders)


def play_orders(world: Shop, orders: Orders) -> None:
    """Has them arrive and returned, and compares the levels after each step."""
    steps: list[tuple[int, int, int, str]] = []
    for number, (order, returned) in enumerate(orders):
        arrives = order.quarter + order.delay
        steps.append((arrives, 0, number, "bought"))
        if returned is not None:
            steps.append((arrives + returned, 1, number, "returned"))
    standing: dict[int, Done] = {}
    most = 0
    for quarter, _, number, kind in sorted(steps):
        order = orders[number][0]
        if kind == "bought":
            world.buy(str(number), order.quarter / 4, order.total, order.item, now=quarter / 4)
            standing[number] = order
        else:
            world.give_back(str(number), quarter / 4)
            del standing[number]
        most = max(most, len(standing))
        assert world.levels() == expected_of(list(standing.values()), most)


def expected_of(events: list[Done], most: int) -> dict[str, int]:
    """`most`: how many orders ever stood at once, for the badge that is not revocable."""
    slow = levels_of(events)
    biggest = max((done.total for done in events), default=0)
    levels = {
        "buyer": sum(len(events) >= each for each in (2, 3)),
        "keeper": sum(most >= each for each in (2, 3)),
        "spender": slow.get("spender", 0),
        "curious": slow.get("curious", 0),
        "big": sum(biggest >= each for each in (20, 40)),
    }
    return {key: level for key, level in levels.items() if level}
