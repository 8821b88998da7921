"""Quests: what completes them, what ends them, what begins them again, and what is paid for them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from rewards.domain.commands import Command, Event, MemberRef
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
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
