"""Members in memory with streaks, for the tests of streaks: what happens, and what was told of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.commands import Command, Event, MemberRef, SetProfile
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome
from rewards.domain.periods import epoch_seconds
from rewards.domain.play.streaking.memory import Memory
from rewards.domain.play.streaking.standing import Standing
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program

HEAD: Final = """
rewards: 1
program: {key: app, timezone: UTC, late_window: LATE}
currencies: {points: {}, status: {spendable: false}}
events:
  ran: {properties: {km: number, indoors: boolean}}
  thanked: {}
  lost: {properties: {length: number}}
"""
ADA: Final = UUID(int=0xADA << 100)


def program(streak: str, *, more: str = "", late: str = "72h") -> Program:
    """A program with one streak, `s`, of these terms."""
    text = f"{HEAD.replace('LATE', late)}streaks:\n  s: {{on: ran{', ' if streak else ''}{streak}}}\n{more}"
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    assert not report.errors, report.errors
    return compile_program(report.document, version=1)


class World:
    """One member of a program. Moments are local times of `zone`, as texts, or moments."""

    def __init__(self, compiled: Program, zone: str = "UTC") -> None:
        self.program = compiled
        self.told: list[tuple[str, Any]] = []
        self.outcomes: list[Outcome] = []
        self.members = Members(compiled, heard=self._hear)
        self.zone = ZoneInfo(zone)
        self._number = 0
        self._zoned = zone == "UTC"

    @property
    def member(self) -> Member:
        return self.members.member(ADA, MemberRef("user", "ada"))

    def moment(self, at: str | datetime) -> datetime:
        return at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=self.zone).astimezone(UTC)

    def do(self, command: Command, at: str | datetime) -> Outcome:
        now = self.moment(at)
        if not self._zoned:
            self._zoned = True
            self.members.decide(self.member, SetProfile(timezone=self.zone.key), now)
        self.members.advance(now)
        return self.members.decide(self.member, command, now)

    def run(self, at: str | datetime, *, arrives: str | datetime | None = None, **properties: Any) -> Outcome:
        """An event at its moment, which comes in then or later."""
        self._number += 1
        event = Event(f"e{self._number}", "ran", self.moment(at), properties)
        return self.do(event, at if arrives is None else arrives)

    def fly(self, zone: str, at: str | datetime) -> Outcome:
        """The member is in another zone from a moment (of the zone before) on."""
        outcome = self.do(SetProfile(timezone=zone), at)
        self.zone = ZoneInfo(zone)
        return outcome

    def until(self, at: str | datetime) -> None:
        self.members.advance(self.moment(at))

    def standing(self, at: str | datetime) -> Standing:
        """How the streak stands at a moment, as those who read it see it."""
        return self.memory(at).tell().standing

    def memory(self, at: str | datetime) -> Memory:
        streak = self.program.streaks["s"]
        memory = Memory.read(streak, self.member.state.play["streaks"]["s"])
        zone = ZoneInfo(self.member.state.timezone or "UTC")
        memory.advance(epoch_seconds(self.moment(at)), zone, late_seconds=self.program.late_seconds)
        return memory

    def lengths(self, *kinds: str) -> list[tuple[str, Any]]:
        """What was told, as (effect, length), of these kinds or all."""
        return [each for each in self.told if not kinds or each[0] in kinds]

    def points(self) -> int:
        account = self.member.state.wallet.accounts.get("points")
        return 0 if account is None else account.available

    def _hear(self, _member: Member, _command: Command, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.told += [_told(effect) for effect in outcome.effects]


def _told(effect: Mapping[str, Any]) -> tuple[str, Any]:
    if "length" in effect:
        return effect["type"], effect["length"]
    return effect["type"], effect.get("amount", effect.get("given"))
