"""Metrics that are filled in from recorded events are those that were there from the start."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.play.test_taking_back import ADA, ALL, BEN, HEAD, LATEST, RULES, World, compiled, steps, taken_back

from rewards.domain import memory
from rewards.domain.commands import Backfill, MemberRef, MergeOut, Reverse, ReverseReference
from rewards.domain.errors import Refusal
from rewards.domain.ledger.accounts import Kind
from rewards.domain.outcome import Outcome
from rewards.domain.play.recounting import FILLED_IN
from rewards.domain.play.tier_held import tier_at
from rewards.domain.program.compiled import Program

BARE: Final = compiled(HEAD + RULES)
METRICS: Final = """
metrics:
  orders: {count: ordered}
  large: {count: ordered, where: event.value >= 50}
  largest: {max: ordered, value: event.value, over: 30d}
  by_customer: {sum: ordered, value: event.value, by: event.by}
segments: {regular: metrics.orders >= 2}
"""
COUNTED: Final = compiled(HEAD + METRICS + RULES)
BADGED: Final = compiled(
    HEAD
    + METRICS
    + "badges: {buyer: {metric: orders, levels: [1, 3], rewards: [{earn: {currency: stars, amount: 7}}]}}"
    + RULES.replace(
        "rules:", "rules:\n  - {key: seen, on: badge.awarded, then: [{earn: {currency: stars, amount: 1}}]}"
    )
)


def fill_in(world: World, *, now: float, member: UUID = ADA, **how: bool) -> Outcome:
    ids = tuple(metric.id for metric in world.program.metrics.values())
    return world.do(Backfill(ids, **how), now=now, member=member)


def publish(world: World, program: Program) -> None:
    world.program = world.members.program = program


def ordered(world: World, hour: float, name: str, value: float, **more: Any) -> Outcome:
    return world.happen("ordered", hour, order=name, value=value, by="a", **more)


def readings(world: World, hour: float) -> list[Any]:
    return [world.metric(key, hour) for key in ("orders", "large", "largest", "by_customer")]


def test_a_new_metric_counts_what_was_recorded_before_it() -> None:
    world = World(BARE)
    ordered(world, 0, "a", 40)
    ordered(world, 1, "b", 70)
    world.happen("looked", 1, value=99)
    publish(world, COUNTED)
    live = ordered(world, 2, "c", 60)
    assert (readings(world, 2), len(live.effects)) == ([1, 1, 60, 60], 1)
    filled = fill_in(world, now=3)
    assert readings(world, 3) == [3, 2, 70, 170]
    assert filled.answer["events"] == 3
    assert world.member().state.segments == ("regular",)
    again = fill_in(world, now=4)
    assert (readings(world, 4), again.effects) == ([3, 2, 70, 170], [])


@pytest.mark.parametrize(
    ("before", "live", "filled", "later", "again"),
    [
        (0, 6, 6, 2, 8),  # counted from the start, and more than is looked at: nothing of it is lost
        (0, 3, 3, 4, 7),
        (2, 3, 4, 0, 4),  # of those from before the metric, what is looked at
        (9, 1, 4, 3, 7),  # done again, it forgets nothing that it had counted
    ],
)
def test_more_events_than_are_looked_at_lose_nothing_that_was_counted(
    before: int, live: int, filled: int, later: int, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "HISTORY_EVENTS_MAX", 4)
    world = World(BARE)
    for number in range(before):
        ordered(world, 0.1 * number, f"before{number}", 60)
    publish(world, COUNTED)
    for number in range(live):
        ordered(world, 1 + 0.1 * number, f"live{number}", 60)
    fill_in(world, now=3)
    assert readings(world, 3)[0] == filled
    for number in range(later):
        ordered(world, 4 + 0.1 * number, f"later{number}", 60)
    fill_in(world, now=5)
    assert readings(world, 5)[0] == again


def test_an_event_from_before_the_metric_is_taken_back_from_it_as_well() -> None:
    world = World(BARE)
    ordered(world, 0, "a", 90)
    ordered(world, 1, "b", 20)
    publish(world, COUNTED)
    fill_in(world, now=2)
    assert readings(world, 2) == [2, 1, 90, 110]
    assert len(taken_back(world.happen("refunded", 3, order="a"))) == 1
    assert readings(world, 3) == [1, 0, 20, 20]


def test_what_was_never_filled_in_is_not_taken_back_from() -> None:
    world = World(BARE)
    ordered(world, 0, "a", 90)
    publish(world, COUNTED)
    ordered(world, 1, "b", 20)
    assert len(taken_back(world.happen("refunded", 2, order="a"))) == 1
    assert readings(world, 2) == [1, 0, 20, 20]
    fill_in(world, now=3)
    assert readings(world, 3) == [1, 0, 20, 20]


@pytest.mark.parametrize(
    ("how", "told", "stars", "announced"),
    [
        ({}, {"badge", "earn"}, 7 + 1, True),
        ({"announce": False, "rewards": False}, {"badge"}, 0, False),
        ({"announce": False, "rewards": True}, {"badge", "earn"}, 7, False),
        ({"announce": True, "rewards": False}, {"badge", "earn"}, 1, True),
    ],
)
def test_badges_follow_announced_or_silent(how: dict[str, Any], told: set[str], stars: int, announced: bool) -> None:
    world = World(BARE)
    ordered(world, 0, "a", 40)
    publish(world, BADGED)
    filled = fill_in(world, now=2, **how)
    assert filled.answer["achieved"] == 1
    assert [(each.key, each.level, each.announced) for each in filled.achievements] == [("buyer", 1, announced)]
    assert {effect["type"] for effect in filled.effects} == told
    assert sum(made.amount for made in filled.transactions if made.kind is Kind.EARN) == stars
    assert filled.event is not None
    assert filled.event.properties["backfill"][0] == "orders"
    # What is achieved later is news again.
    ordered(world, 3, "b", 1)
    later = ordered(world, 3, "c", 1)
    assert [each.announced for each in later.achievements] == [True]


def _tiers(qualify: str, at: tuple[int, int]) -> Program:
    head = HEAD.replace("clawback: allow_debt", "clawback: allow_debt, qualifying: true")
    levels = f"{{silver: {{at: {at[0]}}}, gold: {{at: {at[1]}, rewards: [{{earn: {{currency: stars, amount: 9}}}}]}}}}"
    return compiled(f"{head}{METRICS}tiers: {{qualify: {{{qualify}}}, per: year, levels: {levels}}}{RULES}")


@pytest.mark.parametrize("refunded", ["b", "d"])
@pytest.mark.parametrize(
    ("qualify", "at", "unqualified"),
    [("earned: points", (20, 30), "silver"), ("metric: orders", (2, 3), "silver"), ("metric: orders", (1, 2), "gold")],
)
def test_tiers_are_those_that_were_earned_before_there_were_any(
    qualify: str, at: tuple[int, int], unqualified: str, refunded: str
) -> None:
    world, always = World(BARE), World(_tiers(qualify, at))
    for each in (world, always):
        for hour, name in enumerate("abc"):
            ordered(each, hour, name, 40)
        each.happen("refunded", 3, order="a")
    publish(world, always.program)
    for each in (world, always):
        ordered(each, 4, "d", 40)
    filled = fill_in(world, now=5)
    ladder = always.program.tiers
    assert ladder is not None
    assert ("tier", "gold") in {(each.kind, each.key) for each in filled.achievements}
    assert world.member().state.metrics.get(ladder.metric.id) == always.member().state.metrics.get(ladder.metric.id)
    assert [effect["amount"] for effect in filled.effects if effect["type"] == "earn"] == [9]
    assert held(world) == held(always) == "gold"
    for each in (world, always):
        each.happen("refunded", 6, order=refunded)
    assert held(world) == held(always) == unqualified


def held(world: World) -> str | None:
    state, ladder = world.member().state, world.program.tiers
    assert ladder is not None
    assert state.last_now is not None
    found = tier_at(ladder, state.play, state.last_now)
    return None if found is None else found.key


def test_members_that_merge_while_only_one_is_filled_in_are_both() -> None:
    for filled_first in (ADA, BEN):
        world = World(BARE)
        ordered(world, 0, "a", 40)
        ordered(world, 0, "b", 80, member=BEN)
        publish(world, COUNTED)
        fill_in(world, now=1, member=filled_first)
        world.do(MergeOut(MemberRef("user", f"u{ADA.int >> 112}"), ADA), now=2, member=BEN)
        assert readings(world, 2) == [2, 1, 80, 120]
        assert len(taken_back(world.happen("refunded", 3, order="b"))) == 1
        assert readings(world, 3) == [1, 0, 40, 40]


def test_a_metric_that_is_gone_is_forgotten() -> None:
    world = World(COUNTED)
    ordered(world, 0, "a", 40)
    old = fill_in(world, now=1).state.play[FILLED_IN]
    publish(world, compiled(HEAD + "metrics: {orders: {count: ordered}}" + RULES))
    [kept] = fill_in(world, now=2).state.play[FILLED_IN]
    assert kept in old
    assert len(old) == 4


@given(steps, st.integers(0, 25), st.integers(0, 25), st.booleans())
@settings(max_examples=60, deadline=None)
def test_filled_in_is_as_if_the_metric_had_always_been_there(
    steps: list[tuple[Any, ...]], published_at: int, filled_at: int, split: bool
) -> None:
    """Whatever happens before the metric is published, between that and its filling in, and after."""
    always, late = World(ALL[split]), World(BARE)
    merged = False
    for number, step in enumerate([*steps, ("nothing",)]):
        now = LATEST + number / 3_600
        if number == min(published_at, len(steps)):
            publish(late, ALL[split])
        if number == min(max(published_at, filled_at), len(steps)):
            fill_in(late, now=now)
            if not merged:
                fill_in(late, now=now, member=BEN)
        for world in (always, late):
            _do(world, step, now, merged=merged)
        merged = merged or step == ("merge",)
    for metric in ALL[split].metrics.values():
        for hours_later in (0, 24):
            for by in ("a", "b") if split else (None,):
                mine, theirs = (world.metric(metric.key, LATEST + hours_later, by=by) for world in (late, always))
                assert mine == theirs, (metric.key, hours_later)


def _do(world: World, step: tuple[Any, ...], now: float, *, merged: bool) -> None:
    with suppress(Refusal):
        match step:
            case ("reverse", order):
                world.do(ReverseReference(order), now=now)
            case ("reverse one", index, amount):
                made = [key for key, each in world.member().originals.items() if each.kind is Kind.EARN]
                if made:
                    world.do(Reverse(made[index % len(made)], amount=amount), now=now)
            case ("merge",):
                if not merged:
                    world.do(MergeOut(MemberRef("user", f"u{ADA.int >> 112}"), ADA), now=now, member=BEN)
            case (kind, order, hour, value, by, bens):
                sent = {"value": value, "by": by} | ({} if kind == "looked" else {"order": order})
                world.happen(kind, hour, now=now, member=BEN if bens else ADA, **sent)
