"""Events whose earnings were taken back: what they counted in is as if they had never been."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.play import metric_cases as cases
from tests.domain.play.metric_cases import BERLIN, Seen, after, reading, state_of
from tests.properties import explored

from rewards.domain.commands import Cause, Command, Earn, Event, MemberRef, MergeOut, Reverse, ReverseReference, Spend
from rewards.domain.errors import Refusal
from rewards.domain.ledger.accounts import Kind
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
from rewards.domain.play import windows
from rewards.domain.play.metrics import read, read_previous
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Metric, MetricKind, Program

KINDS: Final = ("count", "sum", "max", "last", "distinct", "favorite", "score")
SPANS: Final = ("90s", "1d", "3d", "30d", "1mo", "day", "week", "month", "year", "lifetime")
HEAD: Final = """
rewards: 1
program: {key: shop, timezone: Europe/Berlin, late_window: 96h}
currencies: {points: {clawback: allow_debt}, stars: {}}
events:
  ordered: {properties: {order: string, value: number, by: string}}
  refunded: {properties: {order: string, value: number, by: string}}
  gifted: {properties: {order: string}}
  looked: {properties: {value: number, by: string}}
"""
RULES: Final = """
rules:
  - {key: paid, on: ordered, then: [{earn: {currency: points, amount: 10, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
"""
ADA: Final = UUID(int=0xADA << 100)
BEN: Final = UUID(int=0xBE << 100)
CLEO: Final = UUID(int=0xC1E << 100)


def compiled(text: str) -> Program:
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


@dataclass
class World:
    """Members in memory; hours count from the start."""

    program: Program
    members: Members = field(init=False)
    told: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self.members = Members(self.program)

    def member(self, identifier: UUID = ADA) -> Member:
        return self.members.member(identifier, MemberRef("user", f"u{identifier.int >> 112}"))

    def do(self, command: Command, *, now: float, member: UUID = ADA) -> Outcome:
        return self.members.decide(self.member(member), command, after(now))

    def happen(self, kind: str, hour: float, *, now: float | None = None, member: UUID = ADA, **sent: Any) -> Outcome:
        self.number += 1
        event = Event(f"e{self.number}", kind, after(hour), sent)
        return self.do(event, now=hour if now is None else now, member=member)

    def metric(self, key: str, hour: float, *, by: str | None = None, member: UUID = ADA) -> Any:
        metric = self.program.metrics[key]
        state = self.member(member).state.metrics.get(metric.id)
        return read(metric, state, at=after(hour), zone=BERLIN, by=by)


def taken_back(outcome: Outcome) -> list[str]:
    return [effect["event"] for effect in outcome.effects if effect["type"] == "taken_back"]


# What takes an event back.

SHOP: Final = (
    HEAD
    + """
metrics:
  orders: {count: ordered}
  spent: {sum: ordered, value: event.value}
  largest: {max: ordered, value: event.value}
  latest: {last: ordered, value: event.value}
  looks: {count: looked}
segments:
  regular: metrics.orders >= 2
rules:
  - {key: paid, on: ordered, then: [{earn: {currency: points, amount: 10, reference: event.order}}]}
  - {key: starred, on: ordered, when: event.value >= 100, then: [{earn: {currency: stars, amount: 1}}]}
  - {key: thanks, on: ordered, delay: 1h, when: event.by == "slow", then: [{earn: {currency: points, amount: 5}}]}
  - {key: welcome, on: segment.entered, then: [{earn: {currency: points, amount: 3, reference: "\\"welcome\\""}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
  - {key: regifted, on: gifted, then: [{earn: {currency: points, amount: 1}}, {reverse: {reference: event.order}}]}
"""
)


def earned(outcome: Outcome, currency: str = "points") -> UUID:
    [found] = [made.id for made in outcome.transactions if made.kind is Kind.EARN and made.currency == currency]
    return found


def test_a_refund_takes_the_order_out_of_all_that_counted_it() -> None:
    world = World(compiled(SHOP))
    world.happen("ordered", 0, order="a", value=40)
    second = world.happen("ordered", 1, order="b", value=70)
    assert world.member().state.segments == ("regular",)
    refund = world.happen("refunded", 2, order="b")
    assert taken_back(refund) == [str(second.id)]
    assert [world.metric(key, 2) for key in ("orders", "spent", "largest", "latest")] == [1, 40, 40, 40]
    assert world.member().state.segments == ()
    assert {"type": "segment.left", "segment": "regular"} in refund.effects
    assert refund.taken_back == {second.id: ADA}


def test_what_was_taken_back_in_part_counts_until_the_rest_is_too() -> None:
    world = World(compiled(SHOP))
    order = world.happen("ordered", 0, order="a", value=40)
    part = world.do(Reverse(earned(order), amount=4), now=1)
    assert (taken_back(part), world.metric("orders", 1)) == ([], 1)
    [line] = [line for line in part.trace if "taken_back" in line]
    assert line == {"taken_back": str(order.id), "result": "still_earned", "left": 6}
    rest = world.do(Reverse(earned(order)), now=2)
    assert (taken_back(rest), world.metric("orders", 2)) == ([str(order.id)], 0)
    assert rest.answer["effects"] == [{"type": "taken_back", "event": str(order.id)}]


def test_all_that_an_event_earned_has_to_be_taken_back() -> None:
    world = World(compiled(SHOP))
    order = world.happen("ordered", 0, order="a", value=100)
    assert taken_back(world.happen("refunded", 1, order="a")) == []
    assert world.metric("orders", 1) == 1
    assert taken_back(world.do(Reverse(earned(order, "stars")), now=2)) == [str(order.id)]
    assert world.metric("orders", 2) == 0


def test_what_an_event_earned_later_by_a_rule_that_waited_counts_as_well() -> None:
    world = World(compiled(SHOP))
    order = world.happen("ordered", 0, order="a", value=1, by="slow")
    # The refund comes when the wait is over: what is earned in the same command stands against it.
    assert taken_back(world.happen("refunded", 2, order="a")) == []
    waited = [key for key, made in world.member().originals.items() if made.amount == 5]
    assert taken_back(world.do(Reverse(waited[0]), now=3)) == [str(order.id)]


def test_what_followed_from_an_event_is_no_ground_of_it() -> None:
    """The welcome came because of a segment: the order stands or falls without it."""
    world = World(compiled(SHOP))
    world.happen("ordered", 0, order="a", value=1)
    second = world.happen("ordered", 1, order="b", value=2)
    assert taken_back(world.do(ReverseReference("welcome"), now=2)) == []
    assert world.metric("orders", 2) == 2
    world.happen("ordered", 3, order="c", value=2)
    assert taken_back(world.happen("refunded", 4, order="b")) == [str(second.id)]


def test_one_command_that_takes_several_earnings_back_takes_the_event_back_once() -> None:
    program = compiled(
        HEAD
        + """
metrics: {orders: {count: ordered}, largest: {max: ordered, value: event.value}}
rules:
  - key: paid
    on: ordered
    then:
      - {earn: {currency: points, amount: 10, reference: event.order}}
      - {earn: {currency: stars, amount: 2, reference: event.order}}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
"""
    )
    world = World(program)
    world.happen("ordered", 0, order="a", value=1)
    events = [world.happen("ordered", hour, order="b", value=hour).id for hour in (1, 2)]
    refund = world.happen("refunded", 3, order="b")
    assert taken_back(refund) == [str(event) for event in events]
    assert [effect["type"] for effect in refund.effects].count("reverse") == 4
    assert (world.metric("orders", 3), world.metric("largest", 3)) == (1, 1)
    assert taken_back(world.happen("refunded", 4, order="b")) == []
    assert world.metric("orders", 4) == 1


def test_a_rule_that_is_refused_takes_nothing_back() -> None:
    program = compiled(
        HEAD
        + """
metrics: {orders: {count: ordered}}
rules:
  - {key: paid, on: ordered, then: [{earn: {currency: points, amount: 10, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}, {spend: {currency: points, amount: 1000}}]}
"""
    )
    world = World(program)
    world.happen("ordered", 0, order="a", value=1)
    refund = world.happen("refunded", 1, order="a")
    assert (taken_back(refund), world.metric("orders", 1)) == ([], 1)


def test_an_event_that_is_no_longer_kept_stays_counted_and_the_trace_says_so() -> None:
    world = World(compiled(SHOP))
    order = world.happen("ordered", 0, order="a", value=1)
    world.member().events.clear()
    refund = world.happen("refunded", 1, order="a")
    assert {"taken_back": str(order.id), "result": "not_recorded"} in refund.trace
    assert (taken_back(refund), world.metric("orders", 1)) == ([], 1)


@pytest.mark.parametrize(
    ("refunded", "readings"),
    [
        ("new", [2, 90, "lamp", 2]),  # the others stand, though one of them is recorded no more
        ("newer", [2, 90, "chair", 2]),
    ],
)
def test_what_older_events_have_left_behind_stays(refunded: str, readings: list[Any]) -> None:
    metrics = """
metrics:
  orders: {count: ordered}
  largest: {max: ordered, value: event.value}
  latest: {last: ordered, value: event.by}
  kinds: {distinct: ordered, value: event.by}
"""
    world = World(compiled(HEAD + metrics + RULES))
    old = world.happen("ordered", 0, order="old", value=90, by="table")
    world.happen("ordered", 1, order="new", value=40, by="chair")
    world.happen("ordered", 2, order="newer", value=50, by="lamp")
    del world.member().events[old.id]
    world.happen("refunded", 3, order=refunded)
    assert [world.metric(key, 3) for key in ("orders", "largest", "latest", "kinds")] == readings


def test_points_that_an_app_earned_directly_are_no_event_s() -> None:
    world = World(compiled(SHOP))
    world.happen("ordered", 0, order="a", value=1)
    made = world.do(Earn("points", 5), now=1)
    outcome = world.do(Reverse(earned(made)), now=2)
    assert (taken_back(outcome), [line for line in outcome.trace if "taken_back" in line]) == ([], [])


def test_after_a_merge_the_events_of_both_count_and_are_taken_back() -> None:
    world = World(compiled(SHOP))
    early = world.happen("ordered", 0, order="a", value=90, member=BEN)
    world.happen("ordered", 1, order="b", value=50)
    world.do(MergeOut(MemberRef("user", f"u{ADA.int >> 112}"), ADA), now=2, member=BEN)
    assert world.metric("largest", 2) == 90
    refund = world.happen("refunded", 3, order="a")
    assert refund.taken_back == {early.id: BEN}
    assert (world.metric("orders", 3), world.metric("largest", 3)) == (1, 50)


@pytest.mark.parametrize("chain", [[ADA], [CLEO, ADA]], ids=["once", "twice"])
def test_after_merges_the_orders_that_a_guest_paid_are_refunded(chain: list[UUID]) -> None:
    world = World(compiled(SHOP))
    world.do(Earn("points", 30), now=0, member=BEN)
    world.do(Spend("points", 10, Cause(reference="a")), now=0, member=BEN)
    world.do(Spend("points", 20, Cause(reference="b")), now=0, member=BEN)
    for guest, member in zip([BEN, *chain], chain, strict=False):
        world.do(MergeOut(MemberRef("user", f"u{member.int >> 112}"), member), now=1, member=guest)
    world.do(ReverseReference("b"), now=2)
    world.happen("refunded", 3, order="a")
    with pytest.raises(Refusal):
        world.do(ReverseReference("b"), now=4)
    [ben, ada] = [world.member(member).state.wallet.accounts["points"] for member in (BEN, ADA)]
    assert (ada.available, ada.received, ben.redeemed, ben.sent) == (30, 30, 0, 30)


# Every kind over every window, whatever comes in whatever order.


def _all_metrics(*, split: bool) -> dict[str, str]:
    found = {}
    for kind in KINDS:
        for number, span in enumerate(SPANS):
            value = "" if kind == "count" else ", value: event.value"
            over = "" if span == "lifetime" else f", over: {span}, previous: true"
            more = f"{value}{over}{', half_life: 2d' if kind == 'score' else ''}{', by: event.by' if split else ''}"
            found[f"{kind}_{number}"] = f"{{{kind}: [ordered, looked, refunded]{more}}}"
    return found


def _program(*, split: bool) -> Program:
    lines = "\n".join(f"  {key}: {written}" for key, written in _all_metrics(split=split).items())
    return compiled(f"{HEAD}metrics:\n{lines}\n{RULES}")


ALL: Final = {split: _program(split=split) for split in (False, True)}
LATEST: Final = 80.0
hours = st.integers(0, 80 * 4).map(lambda quarter: quarter / 4)
values = st.sampled_from([0, 1, 2.5, 0.1, 7, 40])
orders = st.sampled_from(["o1", "o2", "o3"])
happenings = st.tuples(
    st.sampled_from(["ordered", "ordered", "looked", "refunded"]),
    orders,
    hours,
    values,
    st.sampled_from("ab"),
    st.booleans(),
)
reversals = st.one_of(
    st.tuples(st.just("reverse"), orders),
    st.tuples(st.just("reverse one"), st.integers(0, 30), st.sampled_from([None, 3, 7])),
)
steps = st.lists(st.one_of(happenings, happenings, reversals, st.just(("merge",))), min_size=4, max_size=25)


class Books:
    """What is left of the points of each order, by hand; Ben's are Ada's after the merge."""

    def __init__(self, program: Program) -> None:
        self.world = World(program)
        self.seen: dict[UUID, tuple[UUID, Seen]] = {}
        self.event_of: dict[UUID, UUID] = {}
        self.left: dict[UUID, int] = {}
        self.carrying: dict[tuple[UUID, str], list[UUID]] = {}
        self.merged = False

    def happen(self, now: float, kind: str, order: str, hour: float, value: float, by: str, bens: bool) -> None:
        who = BEN if bens else ADA
        owner = ADA if self.merged else who
        reference = {} if kind == "looked" else {"order": order}
        outcome = self.world.happen(kind, hour, now=now, member=who, value=value, by=by, **reference)
        if kind == "refunded":
            self._take(self._left(owner, order))
        self.seen[outcome.id] = owner, Seen(hour, value, by, order=outcome.id.hex)
        if kind == "ordered":
            transaction = earned(outcome)
            self.event_of[transaction], self.left[transaction] = outcome.id, 10
            self.carrying.setdefault((owner, order), []).append(transaction)

    def reverse(self, now: float, order: str) -> None:
        if found := self._left(ADA, order):
            self.world.do(ReverseReference(order), now=now)
            self._take(found)

    def reverse_one(self, now: float, index: int, amount: int | None) -> None:
        mine = [each for (owner, _), some in self.carrying.items() if owner == ADA for each in some]
        if mine:
            chosen = mine[index % len(mine)]
            with suppress(Refusal):  # more than is left
                self.world.do(Reverse(chosen, amount=amount), now=now)
                self._take([chosen], amount)

    def merge(self, now: float) -> None:
        if self.merged:
            return
        self.world.do(MergeOut(MemberRef("user", f"u{ADA.int >> 112}"), ADA), now=now, member=BEN)
        self.merged = True
        self.seen = {event: (ADA, seen) for event, (_, seen) in self.seen.items()}
        for owner, order in [*self.carrying]:
            if owner == BEN:
                self.carrying.setdefault((ADA, order), []).extend(self.carrying.pop((owner, order)))

    def remaining(self) -> list[Seen]:
        return [seen for owner, seen in self.seen.values() if owner == ADA]

    def _left(self, owner: UUID, order: str) -> list[UUID]:
        return [each for each in self.carrying.get((owner, order), ()) if self.left[each]]

    def _take(self, transactions: Iterable[UUID], amount: int | None = None) -> None:
        for transaction in transactions:
            self.left[transaction] -= self.left[transaction] if amount is None else amount
            if not self.left[transaction]:
                del self.seen[self.event_of[transaction]]


@explored(given(steps, st.booleans(), hours), few=40, at_length=120)
def test_metrics_are_those_of_the_events_that_remain(steps: list[tuple[Any, ...]], split: bool, later: float) -> None:
    books = Books(ALL[split])
    for number, step in enumerate(steps):
        now = LATEST + number / 3_600
        match step:
            case ("reverse", order):
                books.reverse(now, order)
            case ("reverse one", index, amount):
                books.reverse_one(now, index, amount)
            case ("merge",):
                books.merge(now)
            case _:
                books.happen(now, *step)
    states = books.world.member().state.metrics
    for moment in (after(LATEST), after(LATEST + 1 + later)):
        for metric in ALL[split].metrics.values():
            for by in ("a", "b") if split else (None,):
                events = [seen for seen in books.remaining() if by in (None, seen.by)]
                _check(metric, states.get(metric.id), events, moment, by)


def _check(metric: Metric, state: Any, events: list[Seen], at: datetime, by: str | None) -> None:
    now = read(metric, state, at=at, zone=BERLIN, by=by)
    assert now == _about(metric, reading(metric, events, at)), (metric.key, at)
    if metric.previous and metric.kind is not MetricKind.SCORE:  # decayed to the end of that window, not to now
        before = read_previous(metric, state, at=at, zone=BERLIN, by=by)
        assert before == _about(metric, reading(metric, events, at, previous=True)), (metric.key, "previous", at)


def _about(metric: Metric, value: Any) -> Any:
    return pytest.approx(value, abs=1e-5) if metric.kind in {MetricKind.SUM, MetricKind.SCORE} else value


@given(cases.metrics, cases.events, st.integers(0, 400))
def test_events_older_than_the_reach_of_a_metric_change_no_reading(
    one: Metric, events: list[Seen], days_later: int
) -> None:
    """Neither now nor as of an event that comes as late as it may."""
    now = after(72 + 24 * days_later)
    reach = windows.reach_seconds(one, windows.LATE_SECONDS)
    recent = [seen for seen in events if reach is None or seen.at >= now - timedelta(seconds=reach)]
    for at in (now, now - timedelta(seconds=windows.LATE_SECONDS)):
        for back in (read, read_previous):
            shorter = back(one, state_of(one, recent), at=at, zone=BERLIN)
            assert shorter == back(one, state_of(one, events), at=at, zone=BERLIN)


BREAKS: Final = """
metrics:
  breaks: {count: streak.broken}
  longest: {max: streak.broken, value: event.length}
streaks: {daily: {on: looked}}
"""


@pytest.mark.parametrize("punctual", [False, True])
def test_what_time_brought_about_is_not_taken_back_with_the_event_that_came_next(*, punctual: bool) -> None:
    world = World(compiled(HEAD + BREAKS + RULES))
    for hour in (0, 24):
        world.happen("looked", hour)
    if punctual:
        world.members.advance(after(100))
    else:
        world.members._wakes.clear()  # nobody woke the member
    world.happen("ordered", 100, order="a")
    counted = (world.metric("breaks", 101), world.metric("longest", 101))
    assert counted == (1, 2)
    assert taken_back(world.happen("refunded", 101, order="a"))
    assert (world.metric("breaks", 102), world.metric("longest", 102)) == counted


SPRINTS: Final = """
metrics:
  names: {distinct: [ordered, quest.expired], value: event.quest, OVER}
  latest: {last: [ordered, quest.expired], value: event.quest, OVER}
  lengths: {max: [ordered, streak.broken], value: event.length, OVER}
quests: {sprint: {steps: [{event: gifted, target: 5}], window: 20h}}
streaks: {daily: {on: looked}}
"""
NAMED: Final = HEAD.replace(
    "ordered: {properties: {", "ordered: {properties: {quest: string, length: integer, "
).replace("late_window", "unknown_events: quarantine, late_window")


@pytest.mark.parametrize("over", ["over: 30d", "over: 60d", "over: year", "over: lifetime"])
@pytest.mark.parametrize(
    "beside",
    ["nothing", "an order that is refunded", "both in one refund", "too late", "quarantined"],
)
def test_what_time_counted_is_counted_anew_whatever_became_of_the_event_beside_it(beside: str, over: str) -> None:
    world = World(compiled((NAMED + SPRINTS + RULES).replace("OVER", over).replace(", over: lifetime", "")))
    for hour in (0, 24):
        world.happen("looked", hour)
    world.happen("gifted", 24)
    if beside == "nothing":
        world.members.advance(after(99))
    world.members._wakes.clear()  # otherwise nobody woke the member
    reference = "b" if beside == "both in one refund" else "a"
    if beside == "too late":
        world.happen("ordered", -200, now=99, order="a", quest="a", length=1)
    elif beside == "quarantined":
        world.happen("nobody_knows", 99)
    elif beside != "nothing":
        world.happen("ordered", 99, order=reference, quest="a", length=1)
    # It says the same as what time said, so that nothing but what time said is left without it.
    world.happen("ordered", 43, now=99.1, order="b", quest="sprint", length=2)
    for number, order in enumerate(("a", "b")):
        world.happen("refunded", 99.2 + number / 10, order=order)
    assert [world.metric(key, 100) for key in ("names", "latest", "lengths")] == [1, "sprint", 2]
    # What occurred after time had its say and came later is the latest; what occurred before it is not.
    for occurred, latest in ((43.5, "sprint"), (45, "late")):
        world.happen("ordered", occurred, now=99.8, order="c", quest="late", length=0)
        assert world.metric("latest", 100) == latest
