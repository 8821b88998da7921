"""A club in memory: members, their groups, and the legs that go between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rewards.domain.commands import Command, Event, MemberRef
from rewards.domain.group_commands import JoinGroup
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Leg, Outcome
from rewards.domain.play.questing.sending import command_of
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program
from rewards.domain.replay import replay_id

DOCUMENT: Final = """
rewards: 1
program: {key: club, timezone: UTC, late_window: 72h}
currencies: {points: {clawback: allow_debt}, paid: {clawback: allow_debt}}
events:
  walked: {properties: {km: number, order: string}}
  read: {}
  refunded: {properties: {order: string}, required: [order]}
attributes: {vip: {type: boolean, purpose: tests}}
metrics: {done: {count: quest.completed}}
rules:
  - {key: paid, on: walked, when: has(event.order), then: [{earn: {currency: paid, amount: 1, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
quests:
  far:
    team: true
    revocable: true
    steps:
      - {event: walked, sum: event.km, target: 10, where: event.km > 0, rewards: [{earn: {currency: points, amount: 5}}]}
      - {event: read, target: 2}
    repeat: {after: 1d}
    rewards: [{earn: {currency: points, amount: 100}}]
  stays: {team: true, steps: [{event: walked, target: 2}], rewards: [{earn: {currency: points, amount: 1}}]}
  later: {team: true, requires: {quests: [stays]}, steps: [{event: read}], rewards: [{earn: {currency: points, amount: 1000}}]}
  called: {team: true, opt_in: true, steps: [{event: read, target: 3}]}
"""
START: Final = datetime(2026, 11, 20, 10, tzinfo=UTC)


def compiled(*only: str, document: str = DOCUMENT) -> Program:
    report = check(read_document(document.encode()))
    assert report.document is not None, report.errors
    found = report.document
    kept = {key: each for key, each in found.quests.items() if not only or key in only}
    return compile_program(found.model_copy(update={"quests": kept}), version=1)


class Club:
    """Members in memory, named as callers name them, with the legs that went between them."""

    def __init__(self, *only: str, document: str = DOCUMENT) -> None:
        self.outcomes: list[tuple[str, Command, Outcome]] = []
        self.members = Members(compiled(*only, document=document), heard=self._hear)
        self.held: list[tuple[Leg, datetime]] = []
        self._number = 0

    def hold_back(self, *names: str) -> None:
        """Legs of those names are sent and do not arrive, until `deliver`."""
        arrive: Callable[[Leg, datetime, str], None] = self.members._follow

        def follow(leg: Leg, at: datetime, actor: str) -> None:
            if leg.name in names:
                self.held.append((leg, at))
            else:
                arrive(leg, at, actor)

        self.members._follow = follow  # type: ignore[method-assign]

    def deliver(self, leg: Leg, at: datetime) -> Outcome:
        """One of those that were held back."""
        member = self.members.member(leg.member, MemberRef(leg.kind, leg.external_id))
        return self.members.decide(member, command_of(leg.name, leg.payload), at)

    def member(self, name: str) -> Member:
        ref = MemberRef.parse(name)
        return self.members.member(replay_id(ref), ref)

    def join(self, name: str, *groups: str) -> None:
        for group in groups:
            self.ask(name, JoinGroup(group, replay_id(MemberRef("group", group))))

    def ask(self, name: str, command: Command, hour: float = 0) -> Outcome:
        return self.members.decide(self.member(name), command, START + timedelta(hours=hour))

    def happen(self, name: str, kind: str, hour: float = 0, *, arrives: float | None = None, **said: Any) -> Outcome:
        self._number += 1
        event = Event(f"e{self._number}", kind, START + timedelta(hours=hour), said)
        return self.ask(name, event, hour if arrives is None else arrives)

    def points(self, *names: str) -> list[int]:
        accounts = [self.member(name).state.wallet.accounts.get("points") for name in names]
        return [0 if each is None else each.available - each.debt for each in accounts]

    def told(self, name: str) -> list[str]:
        """The effects of quests for a member, in order."""
        return [
            " ".join(str(effect[part]) for part in ("type", "key", "step", "instance") if part in effect)
            for heard, _, outcome in self.outcomes
            if heard == name
            for effect in outcome.effects
            if effect["type"].startswith("quest")
        ]

    def traced(self, name: str) -> list[str]:
        return [
            line["result"]
            for heard, _, outcome in self.outcomes
            if heard == name
            for line in outcome.trace
            if "quest" in line and "result" in line
        ]

    def _hear(self, member: Member, command: Command, outcome: Outcome) -> None:
        name = str(MemberRef(member.state.kind, member.state.external_id))
        self.outcomes.append((name, command, outcome))
