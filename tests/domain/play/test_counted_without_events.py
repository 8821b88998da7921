"""What metrics count of commands that are no events: it is counted anew with the rest, and nobody takes it back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.play.metric_cases import after
from tests.domain.play.test_backfilling import fill_in, publish
from tests.domain.play.test_taking_back import ADA, BEN, HEAD, RULES, World, compiled, earned, taken_back
from tests.properties import explored

from rewards.domain.commands import (
    AwardPrize,
    BuyFreezes,
    Capture,
    Cause,
    Command,
    Earn,
    Event,
    GiveFreezes,
    Import,
    JoinQuest,
    MemberRef,
    MergeOut,
    OptOut,
    PlaceHold,
    Release,
    Reverse,
    ReverseReference,
    SetProfile,
    SetSegments,
    Spend,
)
from rewards.domain.errors import Refusal
from rewards.domain.group_commands import JoinGroup, RewardWithTeam
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
from rewards.domain.program.compiled import Program

PARTS: Final = """
  welcomed: {properties: {segment: string}}
attributes: {vip: boolean}
metrics:
  orders: {count: ordered}
  changes: {count: [segment.entered, segment.left], OVER}
  segments: {distinct: [ordered, segment.entered, segment.left], value: event.segment, OVER}
  segment: {last: [ordered, segment.entered, segment.left], value: event.segment, OVER}
  begun: {last: [ordered, quest.started, quest.completed], value: event.quest, OVER}
  ended: {last: [ordered, quest.expired], value: event.quest, OVER}
  level: {max: [ordered, badge.awarded], value: event.level, OVER}
  welcomes: {count: welcomed, OVER}
  welcome: {last: welcomed, value: event.segment, OVER}
segments:
  vip: member.vip
  rich: balances.points >= 50
  best: {top: 10%, of: orders}
quests:
  sprint: {steps: [{event: gifted, target: 5}], window: 20h, opt_in: true}
  relay: {steps: [{event: gifted}], team: true}
leaderboards:
  monthly: {score: {metric: orders}, period: {every: month}, prizes: [{ranks: [1, 1], then: [{badge: {key: named, level: 2}}]}]}
streaks: {daily: {on: looked, freezes: {most: 3, price: {currency: points, amount: 50}}}}
badges: {named: {levels: [{name: One}, {name: Two}, {name: Three}]}}
"""
RAISED: Final = """
  - {key: greeted, on: segment.entered, then: [{event: {type: welcomed, properties: {segment: event.segment}}}]}
  - {key: vips, on: segment.entered, when: event.segment == "vip", then: [{badge: {key: named, level: 3}}]}
"""


def _program(over: str) -> Program:
    head = HEAD.replace(
        "ordered: {properties: {", "ordered: {properties: {segment: string, quest: string, level: integer, "
    )
    windows = "" if over == "lifetime" else f", over: {over}"
    return compiled(head.rstrip("\n") + PARTS.replace(", OVER", windows) + RULES.rstrip("\n") + RAISED)


PROGRAMS: Final = {over: _program(over) for over in ("lifetime", "30d", "60d", "year")}
ADAS: Final = MemberRef("user", f"u{ADA.int >> 112}")
RICH: Final = Import("points", 60)
"""Silently: who moves in from another system enters nothing."""
ASIDE: Final = PlaceHold("points", 25, until=after(500))

Act = Command | Callable[[World], Command]


def hold(world: World) -> UUID:
    return next(iter(world.member().holds))


def last_transaction(world: World) -> UUID:
    return list(world.member().originals)[-1]


def readings(world: World, hour: float) -> dict[str, Any]:
    return {key: world.metric(key, hour) for key in world.program.metrics}


def _merging(world: World) -> Command:
    world.do(Import("points", 30), now=0, member=BEN)
    return MergeOut(ADAS, ADA)


ACTS: Final[dict[str, list[Act]]] = {
    "a profile is changed": [SetProfile({"vip": True})],
    "ranks are drawn up": [SetSegments(entered=("best",))],
    "points are given": [Earn("points", 50)],
    "points are spent": [RICH, Spend("points", 60)],
    "points are held": [RICH, ASIDE],
    "a hold is released": [RICH, ASIDE, lambda world: Release(hold(world))],
    "a hold is captured": [RICH, ASIDE, lambda world: Capture(hold(world), amount=5, final=True)],
    "a transaction is reversed": [Earn("points", 50), lambda world: Reverse(last_transaction(world))],
    "a reference is reversed": [Earn("points", 50, Cause(reference="r")), ReverseReference("r")],
    "freezes are bought": [RICH, BuyFreezes("daily")],
    "a quest is joined": [JoinQuest("sprint")],
    "a team is rewarded": [RewardWithTeam("relay", UUID(int=7 << 100), instance=1, step=0, micros=0)],
    "a prize is won": [AwardPrize("monthly", "2026-11", "", prize=0, rank=1, score=5)],
    "members merge": [Import("points", 30), _merging],
}


@pytest.mark.parametrize("over", PROGRAMS)
@pytest.mark.parametrize("act", ACTS)
def test_what_a_command_counted_is_counted_anew(act: str, over: str) -> None:
    world = World(PROGRAMS[over])
    nothing = readings(world, 0)
    for number, each in enumerate(ACTS[act]):
        command = each if not callable(each) else each(world)
        world.do(command, now=1 + number, member=BEN if isinstance(command, MergeOut) else ADA)
    counted = readings(world, 5)
    assert counted != nothing
    # It says what was counted before it, so that nothing but that is left when it is refunded.
    said = {"segment": counted["segment"], "quest": counted["begun"], "level": counted["level"]}
    world.happen("ordered", 5, order="a", **{key: value for key, value in said.items() if value is not None})
    assert taken_back(world.happen("refunded", 6, order="a"))
    assert readings(world, 7) == counted
    fill_in(world, now=7)
    assert readings(world, 7) == counted


LATE: Final[dict[str, list[Act]]] = {
    "a profile is changed": [SetProfile(locale="de")],
    "ranks are drawn up": [SetSegments()],
    "points are given": [Earn("points", 1)],
    "a hold is placed": [RICH, ASIDE],
    "points move in": [RICH],
    "freezes are given": [GiveFreezes("daily")],
    "boards are left": [OptOut(out=True)],
    "a group is joined": [JoinGroup("team", UUID(int=7 << 100))],
    "a quest is joined again": [JoinQuest("sprint")],
    "the member merges": [MergeOut(ADAS, ADA)],
}


@pytest.mark.parametrize("late", LATE)
def test_what_time_counted_before_a_command_is_counted_anew(late: str) -> None:
    """The quest expires at hour 20, and nobody wakes the member before the command."""
    world = World(PROGRAMS["60d"])
    member = BEN if late == "the member merges" else ADA
    world.do(JoinQuest("sprint"), now=0, member=member)
    for number, each in enumerate(LATE[late]):
        assert not callable(each)
        world.do(each, now=30 + number, member=member)
    assert world.metric("ended", 32) == "sprint"
    world.happen("ordered", 33, order="a", quest="sprint")
    assert taken_back(world.happen("refunded", 34, order="a"))
    assert world.metric("ended", 35) == "sprint"
    world.happen("ordered", 19, now=36, order="b", quest="before it ended")
    assert world.metric("ended", 36) == "sprint"
    world.happen("ordered", 21, now=37, order="c", quest="after it ended")
    assert world.metric("ended", 37) == "after it ended"


REVOCABLE: Final = (
    HEAD
    + """
attributes: {vip: boolean}
metrics: {moves: {count: [ordered, segment.entered], over: 10d}}
segments: {vip: member.vip}
badges: {mover: {metric: moves, levels: [2], revocable: true, rewards: [{earn: {currency: stars, amount: 5}}]}}
"""
    + RULES
)


@pytest.mark.parametrize(("vip", "stars"), [(True, 5), (False, 0)])
def test_a_badge_stands_on_what_a_profile_change_counted(vip: bool, stars: int) -> None:
    world = World(compiled(REVOCABLE))
    world.do(SetProfile({"vip": vip}), now=0)
    for hour, order in enumerate("ab", start=1):
        world.happen("ordered", hour, order=order)
    # Long after: the window has let it go, and only what is recorded can tell.
    world.happen("ordered", 24 * 60, order="c")
    assert taken_back(world.happen("refunded", 24 * 61, order="a"))
    assert world.member().state.wallet.accounts["stars"].available == stars


THANKED: Final = (
    '  - {key: thanked, on: segment.entered, then: [{earn: {currency: points, amount: 3, reference: "\\"t\\""}}]}\n'
)
ENTRIES: Final = (
    HEAD
    + """
attributes: {vip: boolean}
metrics: {entries: {count: segment.entered}, entered: {last: segment.entered, value: event.segment}}
segments: {vip: member.vip}
"""
    + RULES
)


@pytest.mark.parametrize("after_the_rule", [False, True])
def test_what_came_about_without_an_event_is_never_taken_back(*, after_the_rule: bool) -> None:
    """Whatever is taken back of what it led to: also when nobody can tell any more on what the rule went."""
    world = World(compiled(ENTRIES + THANKED))
    entered = world.do(SetProfile({"vip": True}), now=0)
    if after_the_rule:
        publish(world, compiled(ENTRIES))
    reversal = world.do(Reverse(earned(entered)), now=1)
    assert (taken_back(reversal), reversal.taken_back) == ([], {})
    assert (world.metric("entries", 2), world.metric("entered", 2)) == (1, "vip")


def test_it_is_kept_like_an_event_with_what_it_did() -> None:
    world = World(compiled(ENTRIES + THANKED))
    entered = world.do(SetProfile({"vip": True}), now=0)
    assert entered.event is not None
    assert entered.event.answer is not None
    assert (entered.event.type, entered.event.client_id) == ("time.passed", f"time.passed:{entered.id}")
    assert entered.event.answer["effects"] == entered.effects
    assert entered.event.answer["balances"]["points"]["available"] == 3
    assert [effect["type"] for effect in entered.effects] == ["segment.entered", "earn"]
    unchanged = world.do(SetProfile({"vip": True}), now=1)
    assert unchanged.event is None, "nothing counted"


# Whatever happens in whatever order.


class Told(NamedTuple):
    """An internal event, or what an order said of itself; `place` orders those of one command."""

    at: Any
    command: str
    place: int
    kind: str
    segment: str


class Listener:
    """What happened to a member, by hand: from the effects of every command, without those of the orders taken back."""

    def __init__(self, program: Program) -> None:
        self.world = World(program)
        self.world.members = Members(program, heard=self._hear)
        self.told: list[tuple[UUID, UUID, Told]] = []
        self.merged = False

    def _hear(self, member: Member, command: Command, outcome: Outcome) -> None:
        found = []
        if isinstance(command, Event) and "segment" in command.properties:
            found.append(("ordered", command.properties["segment"]))
        for effect in outcome.effects:
            if effect["type"] in ("segment.entered", "segment.left"):
                found.append((effect["type"], effect["segment"]))
            if effect["type"] == "segment.entered":
                found.append(("welcomed", effect["segment"]))
        for place, (kind, segment) in enumerate(found):
            line = Told(outcome.now, outcome.id.hex, place, kind, segment)
            self.told.append((member.state.id, outcome.id, line))
        self.told = [each for each in self.told if each[1] not in outcome.taken_back]

    def of(self, *kinds: str) -> list[Told]:
        members = (ADA, BEN) if self.merged else (ADA,)
        return sorted(line for member, _, line in self.told if member in members and line.kind in kinds)

    def expected(self) -> dict[str, Any]:
        changes, welcomes = self.of("segment.entered", "segment.left"), self.of("welcomed")
        both = self.of("segment.entered", "segment.left", "ordered")
        return {
            "changes": len(changes),
            "segments": len({each.segment for each in both}),
            "segment": both[-1].segment if both else None,
            "welcomes": len(welcomes),
            "welcome": welcomes[-1].segment if welcomes else None,
        }

    def take(self, step: tuple[Any, ...], now: float) -> None:
        match step:
            case ("order", who, order, said):
                self.world.happen("ordered", now, order=order, member=who, **({"segment": said} if said else {}))
            case ("refund", who, order):
                self.world.happen("refunded", now, order=order, member=who)
            case ("merge",):
                if not self.merged:
                    self.world.do(MergeOut(ADAS, ADA), now=now, member=BEN)
                    self.merged = True
            case (who, command):
                with suppress(Refusal):  # there is not so much, or nothing left of it
                    self.world.do(command, now=now, member=who)


who = st.sampled_from([ADA, ADA, BEN])
orders = st.sampled_from(["o1", "o2"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("order"), who, orders, st.sampled_from(["vip", "rich", "best", None])),
        st.tuples(st.just("refund"), who, orders),
        st.tuples(who, st.booleans().map(lambda vip: SetProfile({"vip": vip}))),
        st.tuples(who, st.sampled_from([30, 50]).map(lambda amount: Earn("points", amount))),
        st.tuples(who, st.sampled_from([10, 50]).map(lambda amount: Spend("points", amount))),
        st.tuples(who, orders.map(ReverseReference)),
        st.tuples(who, st.sampled_from([SetSegments(entered=("best",)), SetSegments(left=("best",))])),
        st.just(("merge",)),
    ),
    min_size=3,
    max_size=20,
)


@explored(given(steps, st.sampled_from(["lifetime", "30d"])), few=60, at_length=1_500)
def test_metrics_of_internal_events_are_those_that_remain(steps: list[tuple[Any, ...]], over: str) -> None:
    listener = Listener(PROGRAMS[over])
    world = listener.world
    for number, step in enumerate(steps):
        now = 1 + number / 4
        listener.take(step, now)
        expected = listener.expected()
        assert {key: world.metric(key, now) for key in expected} == expected
    fill_in(world, now=10)
    expected = listener.expected()
    assert {key: world.metric(key, 11) for key in expected} == expected
