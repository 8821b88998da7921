"""Quests: what completes them, what ends them, what begins them again, and what is paid for them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties import explored

from rewards.domain.commands import Command, Event, JoinQuest, LeaveQuest, MemberRef, MergeOut, SetProfile
from rewards.domain.errors import RewardsError
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
from rewards.domain.play.metric_upkeep import state_size
from rewards.domain.play.questing.standing import Kept
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program

TERSE: Final = """
rewards: 1
program: {key: shop, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {clawback: allow_debt}}
events:
  shared: {properties: {product: string}, required: [product]}
  walked: {properties: {km: number}}
  read: {}
  posted: {properties: {order: string}}
  refunded: {properties: {order: string}, required: [order]}
  starred: {}
attributes: {vip: {type: boolean, purpose: tests}}
metrics:
  shares: {distinct: shared, value: event.product, over: day}
  km: {sum: walked, value: event.km, where: event.km > 0}
badges: {star: {}}
rules:
  - {key: join_by_rule, on: starred, then: [{quest: {key: starred_only}}]}
  - {key: paid, on: posted, then: [{earn: {currency: points, amount: 1, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
quests:
  share_three:
    steps: [{metric: shares, target: 3}]
    window: 7d
    repeat: {after: 30d}
    rewards: [PAY 100]
  both:
    steps:
      - {metric: km, target: 10, rewards: [PAY 3]}
      - {event: read, target: 2, rewards: [PAY 4]}
    rewards: [PAY 50]
  either: {order: any, steps: [{event: walked, max: event.km, target: 20}, {event: read, target: 5}], rewards: [PAY 60]}
  in_turn: {order: sequence, steps: [{event: read}, {event: walked, target: 2}, {event: read}], rewards: [PAY 70]}
  daily: {steps: [{event: read, target: 2}], window: day, repeat: {after: day, times: 2}, rewards: [PAY 80]}
  next: {requires: {quests: [both]}, steps: [{event: read}], rewards: [PAY 90]}
  vips: {when: member.vip, steps: [{event: read, target: 1}], rewards: [PAY 11]}
  joined: {opt_in: true, steps: [{event: read, target: 2}], window: 2d, repeat: {after: 1d}, rewards: [PAY 12]}
  starred_only: {opt_in: true, steps: [{event: read, target: 2}], rewards: [PAY 13]}
  advent: {steps: [{event: read}], starts: 2026-12-01T00:00:00, ends: 2026-12-24T23:59:59, rewards: [PAY 24]}
  posts: {steps: [{event: posted, target: 2, rewards: [PAY 5]}], rewards: [PAY 20]}
  true_posts: {revocable: true, steps: [{event: posted, target: 2, rewards: [PAY 7]}], rewards: [PAY 30]}
"""
DOCUMENT: Final = re.sub(r"PAY (\d+)", r"{earn: {currency: points, amount: \1}}", TERSE)
START: Final = datetime(2026, 11, 20, 10, tzinfo=UTC)
ADA: Final = UUID(int=0xADA << 100)
BEN: Final = UUID(int=0xBE << 100)


def compiled(*, only: str = "", document: str = DOCUMENT) -> Program:
    """The program with all of its quests, or with one of them and those that it names."""
    report = check(read_document(document.encode()))
    assert report.document is not None, report.errors
    found = report.document
    if only:
        kept = {key: each for key, each in found.quests.items() if key in only.split()}
        rules = [rule for rule in found.rules if all(a.quest is None or a.quest.key in kept for a in rule.then)]
        found = found.model_copy(update={"quests": kept, "rules": rules})
    return compile_program(found, version=1)


class World:
    """Members in memory; what happened to their quests, with the hours from the start at which it was told."""

    def __init__(self, *, only: str = "", program: Program | None = None) -> None:
        self.told: list[tuple[float, str, str]] = []
        self.members = Members(program or compiled(only=only), heard=self._hear)
        self._number = 0

    def member(self, identifier: UUID = ADA, name: str = "ada") -> Member:
        return self.members.member(identifier, MemberRef("user", name))

    def happen(
        self, hour: float, kind: str, *, arrives: float | None = None, member: Member | None = None, **properties: Any
    ) -> Outcome:
        now = START + timedelta(hours=hour if arrives is None else arrives)
        self.members.advance(now)
        self._number += 1
        event = Event(f"e{self._number}", kind, START + timedelta(hours=hour), properties)
        return self.members.decide(member or self.member(), event, now)

    def ask(self, hour: float, command: Command) -> Outcome:
        self.until(hour)
        return self.members.decide(self.member(), command, START + timedelta(hours=hour))

    def until(self, hour: float) -> None:
        self.members.advance(START + timedelta(hours=hour))

    def points(self, member: Member | None = None) -> int:
        account = (member or self.member()).state.wallet.accounts.get("points")
        return 0 if account is None else account.available - account.debt

    def _hear(self, _member: Member, _command: Command, outcome: Outcome) -> None:
        hour = (outcome.now - START).total_seconds() / 3600
        for effect in outcome.effects:
            if effect["type"].startswith("quest"):
                step = f" {effect['step']}" if "step" in effect else ""
                self.told.append((hour, effect["type"] + step, effect["key"]))


def read(*hours: float) -> list[tuple[Any, ...]]:
    return [(hour, "read", {}) for hour in hours]


def shared(hour: float, product: str, *arrives: float) -> tuple[Any, ...]:
    return (hour, "shared", {"product": product}, *arrives)


def walked(hour: float, km: float, *arrives: float) -> tuple[Any, ...]:
    return (hour, "walked", {"km": km}, *arrives)


@pytest.mark.parametrize(
    ("quest", "happenings", "told"),
    [
        # Three different products within seven days, whatever the metric's own window says.
        ("share_three", [shared(0, "a"), shared(30, "b"), shared(60, "c")], [(60, "quest_step 1"), (60, "quest")]),
        ("share_three", [shared(0, "a"), shared(1, "a"), shared(2, "b")], [(168, "quest_expired")]),
        # The window is over after seven days to the moment; the event at its end begins another.
        (
            "share_three",
            [shared(0, "a"), shared(1, "b"), shared(168, "c"), shared(169, "d"), shared(170, "a")],
            [(168, "quest_expired"), (170, "quest_step 1"), (170, "quest")],
        ),
        # Again after thirty days, not before.
        (
            "share_three",
            [*(shared(hour, f"p{hour}") for hour in (0, 1, 2, 3, 4, 5)), *(shared(722 + hour, f"q{hour}") for hour in (0, 1, 2))],
            [(2, "quest_step 1"), (2, "quest"), (724, "quest_step 1"), (724, "quest")],
        ),
        # All steps, in whatever order; each is told once.
        (
            "both",
            [*read(0), walked(1, 6), walked(2, -3), *read(3, 4), walked(5, 4)],
            [(3, "quest_step 2"), (5, "quest_step 1"), (5, "quest")],
        ),
        # Once per member, unless it says otherwise.
        ("both", [*read(0, 1), walked(2, 10), *read(3, 4), walked(5, 10)], [(1, "quest_step 2"), (2, "quest_step 1"), (2, "quest")]),
        # Any one step: the longest walk, or five things read.
        ("either", [walked(0, 15), walked(1, 19), walked(2, 20)], [(2, "quest_step 1"), (2, "quest")]),
        ("either", [walked(0, 15), *read(1, 2, 3, 4, 5)], [(5, "quest_step 2"), (5, "quest")]),
        # In turn: what comes before its turn counts for nothing, and one event never counts for two steps.
        (
            "in_turn",
            [walked(0, 1), *read(1), walked(2, 1), *read(3), walked(4, 1), *read(5)],
            [(1, "quest_step 1"), (4, "quest_step 2"), (5, "quest_step 3"), (5, "quest")],
        ),
        # A calendar day in the member's zone (Berlin, an hour ahead): 23:30 and 00:30 are two.
        ("daily", read(12.5, 13.5, 14), [(13, "quest_expired"), (14, "quest_step 1"), (14, "quest")]),
        # From the next day on again, twice in all.
        (
            "daily",
            read(0, 1, 2, 3, 24, 25, 48, 49),
            [(1, "quest_step 1"), (1, "quest"), (25, "quest_step 1"), (25, "quest")],
        ),
        # Only from the first of December, and only until Christmas Eve.
        ("advent", read(240, 253.5), [(253.5, "quest_step 1"), (253.5, "quest")]),
        ("advent", read(840), []),
        # Nothing of a quest that was not joined.
        ("joined", read(0, 1, 2), []),
    ],
)  # fmt: skip
def test_what_becomes_of_a_quest(quest: str, happenings: list[tuple[Any, ...]], told: list[tuple[float, str]]) -> None:
    world = World(only=quest)
    for hour, kind, properties, *arrives in happenings:
        world.happen(hour, kind, arrives=arrives[0] if arrives else None, **properties)
    world.until(2_000)
    assert world.told == [(hour, what, quest) for hour, what in told]


@pytest.mark.parametrize(
    ("quest", "happenings", "told"),
    [
        # Two of three are there; the third, of the day between, arrives last.
        ("share_three", [shared(0, "a"), shared(48, "c"), shared(24, "b", 50)], [(50, "quest_step 1"), (50, "quest")]),
        # A late one moves the beginning, and with it the end of the window.
        ("share_three", [shared(100, "a"), shared(40, "a", 101)], [(208, "quest_expired")]),
        # The window that ended unfinished is finished by what happened in it and arrives after it.
        (
            "daily",
            [*read(0), (1, "read", {}, 20)],
            [(13, "quest_expired"), (20, "quest_step 1"), (20, "quest")],
        ),
        # In turn: the first step, told late, makes what came after it count.
        (
            "in_turn",
            [walked(1, 1), walked(2, 1), *read(3), (0, "read", {}, 4)],
            [(3, "quest_step 1"), (4, "quest_step 2"), (4, "quest_step 3"), (4, "quest")],
        ),
        # What was paid stays paid, whatever the order turns out to have been, and is not paid again.
        (
            "share_three",
            [*(shared(100 + hour, f"p{hour}") for hour in (0, 1, 2)), shared(99, "p0", 103), shared(98, "p5", 104)],
            [(102, "quest_step 1"), (102, "quest")],
        ),
    ],
)  # fmt: skip
def test_what_comes_late(quest: str, happenings: list[tuple[Any, ...]], told: list[tuple[float, str]]) -> None:
    world = World(only=quest)
    for hour, kind, properties, *arrives in happenings:
        world.happen(hour, kind, arrives=arrives[0] if arrives else None, **properties)
    world.until(2_000)
    assert world.told == [(hour, what, quest) for hour, what in told]


def test_rewards_are_paid_per_step_and_at_the_end_as_of_their_moment() -> None:
    world = World(only="both")
    for hour in (0, 2):
        world.happen(hour, "read")
    outcome = world.happen(1, "walked", arrives=3, km=12)
    assert world.points() == 3 + 4 + 50
    assert [(t.amount, t.origin.reference, t.effective_at - START) for t in outcome.transactions] == [
        (3, "quest:both:1:1", timedelta(hours=1)),
        (50, "quest:both:1", timedelta(hours=2)),
    ]
    assert [effect.get("quest", effect.get("key")) for effect in outcome.effects] == ["both"] * 4
    achieved = [(each.kind, each.level, each.instance, each.achieved_at - START) for each in outcome.achievements]
    assert achieved == [("quest_step", 1, 1, timedelta(hours=1)), ("quest", 0, 1, timedelta(hours=2))]


def test_what_a_quest_raises_is_heard_by_rules() -> None:
    events = "[quest.started, quest.step, quest.completed, quest.expired]"
    rule = "  - {key: heard, on: EVENTS, then: [{earn: {currency: points, amount: 1000}}]}\nquests:".replace(
        "EVENTS", events
    )
    when = 'event.instance == 1 && event.quest == "daily"'
    first = f"  - {{key: first, on: quest.completed, when: {when}, then: [{{earn: {{currency: points, amount: 20000}}}}]}}\n"
    world = World(program=compiled(only="daily", document=DOCUMENT.replace("quests:", first + rule, 1)))
    world.happen(0, "read")
    assert world.points() == 1_000  # started
    world.until(20)
    assert world.points() == 2_000  # expired
    world.happen(20, "read")
    world.happen(21, "read")
    assert world.points() == 2_000 + 1_000 + 1_000 + 1_000 + 80 + 20_000


def test_a_quest_waits_for_another() -> None:
    world = World(only="both next")
    for hour in (0, 1):
        world.happen(hour, "read")
    world.happen(2, "walked", km=10)
    assert [what for what in world.told if what[2] == "next"] == []
    world.happen(3, "read")
    assert world.told[-2:] == [(3, "quest_step 1", "next"), (3, "quest", "next")]


def test_what_waited_counts_from_when_the_other_was_really_completed() -> None:
    world = World(only="both next")
    for hour in (0, 1, 3):
        world.happen(hour, "read")
    world.happen(2, "walked", arrives=4, km=10)
    assert world.told[-2:] == [(4, "quest_step 1", "next"), (4, "quest", "next")]


def test_a_condition_over_the_member() -> None:
    world = World(only="vips")
    assert [line["result"] for line in world.happen(0, "read").trace] == ["locked"]
    world.ask(1, SetProfile({"vip": True}))
    world.happen(2, "read")
    assert world.points() == 11


def test_what_is_joined_begins_then_and_is_joined_again_after_its_end() -> None:
    world = World(only="joined")
    world.ask(0, JoinQuest("joined"))
    world.happen(1, "read")
    world.until(48)
    world.happen(49, "read")
    world.happen(50, "read")
    assert world.told == [(0, "quest_started", "joined"), (48, "quest_expired", "joined")]
    world.ask(51, JoinQuest("joined"))
    for hour in (52, 53, 54):
        world.happen(hour, "read")
    assert world.points() == 12
    assert refusal(world, 55, JoinQuest("joined")) == "quest-unavailable"
    world.ask(78, JoinQuest("joined"))


def test_what_happened_before_joining_does_not_count_even_if_it_arrives_later() -> None:
    world = World(only="joined")
    world.ask(10, JoinQuest("joined"))
    world.happen(9, "read", arrives=11)
    world.happen(12, "read")
    assert [what for _, what, _ in world.told] == ["quest_started"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (JoinQuest("none"), "unknown-quest"),
        (JoinQuest("next"), "quest-locked"),
        (JoinQuest("vips"), "quest-locked"),
        (JoinQuest("advent"), "quest-unavailable"),
        (LeaveQuest("joined"), "quest-not-active"),
        (LeaveQuest("none"), "unknown-quest"),
    ],
)
def test_refused(command: Command, code: str) -> None:
    assert refusal(World(), 0, command) == code


def test_leaving_forgets_the_attempt() -> None:
    world = World(only="joined")
    world.ask(0, JoinQuest("joined"))
    assert refusal(world, 1, JoinQuest("joined")) == "quest-active"
    world.happen(2, "read")
    world.ask(3, LeaveQuest("joined"))
    world.happen(4, "read")
    world.ask(5, JoinQuest("joined"))
    world.happen(6, "read")
    assert world.points() == 0
    world.happen(7, "read")
    assert world.points() == 12


def test_a_rule_begins_a_quest_also_with_an_event_that_comes_late() -> None:
    world = World(only="starred_only")
    for hour in (0, 2, 3):
        world.happen(hour, "read")
    assert world.points() == 0
    world.happen(1, "starred", arrives=4)
    assert world.points() == 13
    assert [line["result"] for line in world.happen(5, "starred").trace if "rule" in line] == ["not_begun", "no_effect"]


def refusal(world: World, hour: float, command: Command) -> str:
    with pytest.raises(RewardsError) as refused:
        world.ask(hour, command)
    return refused.value.code


def test_an_unfinished_quest_loses_what_is_taken_back() -> None:
    world = World(only="posts")
    world.happen(0, "posted", order="a")
    world.happen(1, "refunded", order="a")
    world.happen(2, "posted", order="b")
    assert "quest" not in [what for _, what, _ in world.told]
    world.happen(3, "posted", order="c")
    assert world.told == [(3, "quest_step 1", "posts"), (3, "quest", "posts")]


def test_a_finished_quest_stays_finished() -> None:
    world = World(only="posts")
    for hour, order in ((0, "a"), (1, "b")):
        world.happen(hour, "posted", order=order)
    world.happen(2, "refunded", order="a")
    world.happen(3, "posted", order="c")
    assert world.points() == 2 + 5 + 20
    assert [what for _, what, _ in world.told] == ["quest_step 1", "quest"]


def test_a_revocable_quest_is_lost_with_its_rewards_and_can_be_finished_again() -> None:
    world = World(only="true_posts")
    for hour, order in ((0, "a"), (1, "b")):
        world.happen(hour, "posted", order=order)
    assert world.points() == 2 + 7 + 30
    lost = world.happen(200, "refunded", order="a")
    assert world.points() == 1
    assert [(each.kind, each.instance, each.revoked_at is not None) for each in lost.achievements] == [
        ("quest", 1, True),
        ("quest_step", 1, True),
    ]
    world.happen(201, "posted", order="c")
    assert world.points() == 2 + 7 + 30
    assert [what for _, what, _ in world.told] == [
        *("quest_step 1", "quest"),
        *("quest_revoked", "quest_step_revoked 1"),
        *("quest_step 1", "quest"),
    ]


def test_more_than_is_needed_saves_a_revocable_quest() -> None:
    world = World(only="true_posts")
    for hour, order in ((0, "a"), (1, "b"), (2, "c")):
        world.happen(hour, "posted", order=order)
    world.happen(3, "refunded", order="a")
    assert world.points() == 2 + 7 + 30
    assert [what for _, what, _ in world.told] == ["quest_step 1", "quest"]


def test_changed_steps_begin_anew_and_what_was_completed_stays_so() -> None:
    world = World(only="both share_three")
    world.happen(0, "shared", product="a")
    for hour in (0, 1):
        world.happen(hour, "read")
    world.happen(2, "walked", km=10)
    changed = DOCUMENT.replace("{metric: shares, target: 3}", "{metric: shares, target: 2}").replace(
        "target: 10", "target: 5"
    )
    world.members.program = compiled(only="both share_three", document=changed)
    world.happen(3, "shared", product="b")
    world.happen(4, "walked", km=10)
    assert world.points() == 57
    world.happen(5, "shared", product="c")
    assert world.points() == 157


def test_a_quest_that_is_gone_is_forgotten() -> None:
    world = World(only="share_three")
    world.happen(0, "shared", product="a")
    world.members.program = compiled(only="both")
    world.until(2_000)
    world.happen(2_000, "read")
    assert list(world.member().state.play["quests"]) == ["both"]
    assert world.told == []


def merged(world: World, hour: float) -> Member:
    """Ada becomes Ben."""
    ben = world.member(BEN, "ben")
    world.until(hour)
    world.members.decide(world.member(), MergeOut(MemberRef("user", "ben"), BEN), START + timedelta(hours=hour))
    return ben


def test_two_that_become_one_have_done_together_what_each_has_done() -> None:
    world = World(only="share_three")
    ben = world.member(BEN, "ben")
    world.happen(0, "shared", product="a")
    world.happen(1, "shared", product="b", member=ben)
    world.happen(2, "shared", product="c", member=ben)
    merged(world, 3)
    assert world.points(ben) == 100
    world.happen(4, "shared", product="d", member=ben)
    assert world.points(ben) == 100


def test_what_both_were_paid_is_not_paid_again() -> None:
    world = World(only="share_three")
    ben = world.member(BEN, "ben")
    for hour, product in enumerate("abc"):
        world.happen(hour, "shared", product=product)
        world.happen(hour, "shared", product=product, member=ben)
    merged(world, 3)
    world.happen(4, "shared", product="d", member=ben)
    assert world.points(ben) == 200
    for hour, product in enumerate("abc"):
        world.happen(750 + hour, "shared", product=product, member=ben)
    assert world.points(ben) == 300
    assert [effect for effect in world.told if effect[1] == "quest"][-1] == (752, "quest", "share_three")


def test_what_was_completed_stays_so_in_a_merge_also_if_its_steps_changed_meanwhile() -> None:
    world = World(only="both")
    for hour in (0, 1):
        world.happen(hour, "read")
    world.happen(2, "walked", km=10)
    ben = world.member(BEN, "ben")
    world.happen(3, "read", member=ben)
    world.members.program = compiled(only="both", document=DOCUMENT.replace("target: 10", "target: 5"))
    merged(world, 4)
    for hour in (5, 6):
        world.happen(hour, "read", member=ben)
    world.happen(7, "walked", km=10, member=ben)
    assert world.points(ben) == 57


AGAIN: Final = """
rewards: 1
program: {key: shop, timezone: Europe/Berlin, late_window: 72h}
currencies: {points: {clawback: allow_debt}}
events:
  posted: {properties: {order: string}}
  refunded: {properties: {order: string}, required: [order]}
rules:
  - {key: paid, on: posted, then: [{earn: {currency: points, amount: 1, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
quests:
  again: {revocable: true, repeat: {after: 1h}, steps: [STEPS], rewards: [{earn: {currency: points, amount: 100}}]}
"""
ONE_STEP: Final = "{event: posted, target: 2, rewards: [{earn: {currency: points, amount: 10}}]}"
TWO_STEPS: Final = f"{{event: posted, target: 1, rewards: [{{earn: {{currency: points, amount: 10}}}}]}}, {ONE_STEP}"


@pytest.mark.parametrize(
    ("steps", "hers", "his", "gone", "points"),
    [
        # every two orders complete the quest, for 110 points; each order is a point; the sum after each refund
        (ONE_STEP, 2, 2, "a0 b0 a1", [113, 112, 1]),
        (ONE_STEP, 2, 2, "b1 b0 a0", [113, 112, 1]),
        (ONE_STEP, 4, 2, "a0 a1 a2 a3 b0", [225, 224, 113, 112, 1]),
        (ONE_STEP, 2, 4, "a0 a1 b0 b1 b2", [225, 224, 113, 112, 1]),
        (ONE_STEP, 3, 1, "b0 a0 a1 a2", [113, 112, 1, 0]),
        (ONE_STEP, 2, 0, "a0 a1", [1, 0]),
        # the first of two gives 10 more; both were paid that for the completion under way, which only one is
        (TWO_STEPS, 3, 3, "a2 b2 a1 b1 a0 b0", [265, 244, 133, 122, 11, 0]),
    ],
)
def test_what_is_lost_after_a_merge_was_paid_to_one_of_the_two(
    steps: str, hers: int, his: int, gone: str, points: list[int]
) -> None:
    world = World(program=compiled(document=AGAIN.replace("STEPS", steps)))
    ben = world.member(BEN, "ben")
    for number in range(4):
        for name, member, count in (("a", None, hers), ("b", ben, his)):
            if number < count:
                world.happen(number * 2, "posted", order=f"{name}{number}", member=member)
    merged(world, 20)
    found = []
    for hour, order in enumerate(gone.split(), 21):
        world.happen(hour, "refunded", order=order, member=ben)
        found.append(world.points(ben))
    assert found == points


@explored(given(data=st.data()), few=25, at_length=200)
def test_whoever_became_whom_what_is_lost_is_what_was_paid(data: st.DataObject) -> None:
    """Three members post, are refunded and become one, in any order: what they have is what is grounded, or was paid."""
    world = World(program=compiled(document=AGAIN.replace("STEPS", ONE_STEP)))
    ids = {name: UUID(int=number << 100) for number, name in enumerate(("ann", "bob", "cid"), 1)}
    became: dict[str, str | None] = dict.fromkeys(ids)
    orders: list[tuple[str, str]] = []
    for hour in range(1, 40):
        standing = [name for name in ids if became[name] is None]
        what = data.draw(st.sampled_from(["posted"] * 4 + ["refunded"] * 3 + ["merge"] * (len(standing) > 1)))
        name = data.draw(st.sampled_from(standing))
        member = world.member(ids[name], name)
        if what == "posted":
            orders.append((name, f"o{hour}"))
            world.happen(hour, "posted", member=member, order=f"o{hour}")
        elif what == "merge":
            into = data.draw(st.sampled_from([other for other in standing if other != name]))
            at = START + timedelta(hours=hour)
            world.members.advance(at)
            world.members.decide(member, MergeOut(MemberRef("user", into), ids[into]), at)
            became[name] = into
            orders = [(into if whose == name else whose, order) for whose, order in orders]
        elif theirs := [each for each in orders if each[0] == name]:
            gone = data.draw(st.sampled_from(theirs))
            orders.remove(gone)
            world.happen(hour, "refunded", member=member, order=gone[1])
        for each, identifier in ids.items():
            if became[each] is None:
                _agrees(world.member(identifier, each), sum(whose == each for whose, _ in orders))
    for hour, (name, order) in enumerate(orders, 40):
        world.happen(hour, "refunded", member=world.member(ids[name], name), order=order)
    assert [world.points(world.member(ids[name], name)) for name in ids] == [0, 0, 0]


def _agrees(member: Member, orders: int) -> None:
    """Of each order a point, of each completion that stands the reward, and none that has no ground."""
    plain = member.state.play.get("quests", {}).get("again")
    paid = 0 if plain is None else Kept.of(plain).paid
    account = member.state.wallet.accounts.get("points")
    assert (0 if account is None else account.available - account.debt) == orders + 110 * paid


def test_what_is_kept_stays_small() -> None:
    world = World()
    for hour in range(600):
        world.happen(hour / 10, "read")
        world.happen(hour / 10, "walked", km=-1)
        world.happen(hour / 10, "shared", product=f"p{hour}")
    assert state_size(world.member().state.play) < 16_384


@pytest.mark.parametrize(
    ("line", "path", "message"),
    [
        ("{steps: [{metric: shars}]}", "quests.new.steps.0.metric", "unknown metric 'shars'"),
        ("{steps: [{event: rea}]}", "quests.new.steps.0.event", "unknown event 'rea'"),
        ("{steps: [{event: read, metric: shares}]}", "quests.new.steps.0", "a step has either a metric or an event"),
        ("{steps: [{event: shared, sum: event.product}]}", "quests.new.steps.0.sum", "sum needs a number, this is text"),
        ("{steps: [{event: shared, where: event.km > 1}]}", "quests.new.steps.0.where", "event.km is not declared"),
        ("{steps: [{metric: latest}]}", "quests.new.steps.0.metric", "latest is a last; a step counts"),
        ("{steps: [{event: read, target: 1.5}]}", "quests.new.steps.0.target", "is a whole number"),
        ("{steps: [{event: shared, distinct: event.product, target: 900}]}", "quests.new.steps.0.target", "at most 200"),
        ("{steps: [{event: read}], requires: {quests: [nex]}}", "quests.new.requires.quests", "unknown quest 'nex'"),
        ("{steps: [{event: read}], requires: {badges: [sta]}}", "quests.new.requires.badges", "unknown badge 'sta'"),
        ("{steps: [{event: read}], requires: {quests: [new]}}", "quests.new.requires.quests", "waits for itself"),
        ("{steps: [{event: read}], when: event.km > 1}", "quests.new.when", "without an event"),
        ("{steps: [{event: read}], repeat: {after: lifetime}}", "quests.new.repeat", "after is a duration"),
        ("{steps: [{event: read}], windo: 7d}", "quests.new.windo", "unknown key 'windo'"),
        ("{steps: [{event: read, tagret: 2}]}", "quests.new.steps.0.tagret", "unknown key 'tagret'"),
        ("{steps: []}", "quests.new.steps", "1 or more of these"),
        ("{steps: [{event: read}], rewards: [{earn: {currency: pints, amount: 1}}]}", "quests.new.rewards.0.earn.currency", "pints"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_they_are(line: str, path: str, message: str) -> None:
    text = DOCUMENT.replace("metrics:\n", "metrics:\n  latest: {last: walked, value: event.km}\n") + f"  new: {line}\n"
    report = check(read_document(text.encode()))
    assert [(each.path, message in each.message) for each in report.errors] == [(path, True)], report.errors


def test_tests_that_name_unknown_quests_are_mistakes() -> None:
    tests = """tests:
  - name: a typing error
    given: [{at: "2026-11-20T10:00:00Z", member: ada, type: read}]
    expect: {ada: {effects: [{quest: {key: bot}}, {earn: {quest: eiter}}, {quest_step: {key: both, step: 1}}]}}
"""
    errors = check(read_document((DOCUMENT + tests).encode())).errors
    assert [each.path.removeprefix("tests.0.expect.ada.") for each in errors] == [
        "effects.0.quest.key",
        "effects.1.earn.quest",
    ]
