"""Runs the tests that a document carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rewards.domain.commands import Command, Due, Event, MemberRef, SetProfile
from rewards.domain.effects import Effect
from rewards.domain.errors import InvalidInput, RewardsError
from rewards.domain.group_commands import JoinGroup
from rewards.domain.ids import member_id
from rewards.domain.memory import Member, Members
from rewards.domain.outcome import Outcome, Status
from rewards.domain.play.groups import group_ref
from rewards.domain.program.compiled import Program
from rewards.domain.program.models.base import duration
from rewards.domain.program.models.checks import Buckets, Check, Expected, Given
from rewards.domain.program.models.document import Document
from rewards.domain.state import MemberState


@dataclass(frozen=True, slots=True)
class TestResult:
    """`failures` say what was expected and what came instead; `effects` and `trace` are what happened, by member."""

    __test__ = False

    name: str
    failures: tuple[str, ...]
    effects: Mapping[str, tuple[Effect, ...]]
    trace: Mapping[str, tuple[dict[str, Any], ...]]

    @property
    def passed(self) -> bool:
        """Whether everything expected held."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Plain values for the wire."""
        return {
            "name": self.name,
            "passed": self.passed,
            "failures": list(self.failures),
            "effects": {member: list(effects) for member, effects in self.effects.items()},
        }


_KEY: Final = b"document tests"
_NOTHING: Final = {"available": 0, "pending": 0, "held": 0, "debt": 0}


class _World:
    """The members of one test, and what came of it, by member."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.members = Members(program, heard=self._hear)
        self.now: datetime | None = None
        self.effects: dict[MemberRef, list[Effect]] = {}
        self.trace: dict[MemberRef, list[dict[str, Any]]] = {}
        self.statuses: dict[MemberRef, list[str]] = {}

    def member(self, ref: MemberRef) -> Member:
        """The member as it is now; a new one if it was never heard of."""
        return self.members.member(member_id(_KEY, ref.kind, ref.external_id), ref)

    def happen(self, given: Given, position: int) -> None:
        """One event at its moment, after all that silence brings until then. Time never runs backwards: an earlier
        moment is an event that arrives late."""
        at = datetime.fromisoformat(given.at)
        if at.tzinfo is None:
            at = at.replace(tzinfo=self.program.zone)
        self.now = at if self.now is None else max(self.now, at)
        self.members.advance(self.now)
        event = Event(
            client_id=given.id or f"given-{position}",
            type=given.type,
            occurred_at=at,
            properties=given.properties,
            context=given.context,
        )
        ref = MemberRef.parse(given.member)
        member = self.member(ref)
        statuses = self.statuses.setdefault(ref, [])
        try:
            if given.attributes:
                self.members.decide(member, SetProfile(given.attributes), self.now)
            for group in map(group_ref, given.groups):
                joining = JoinGroup(group.external_id, self.member(group).state.id)
                self.members.decide(member, joining, self.now)
            statuses.append(self.members.decide(member, event, self.now).status.value)
        except RewardsError as error:
            statuses.append(Status.REJECTED.value)
            line = {"event": given.type, "result": Status.REJECTED.value, "code": error.code, "why": error.message}
            self.trace.setdefault(ref, []).append(line)

    def wait(self, length: timedelta) -> None:
        """The clock moves on, and what falls due on the way happens."""
        if self.now is not None:
            self.now += length
            self.members.advance(self.now)

    def settle(self, ref: MemberRef) -> MemberState:
        """The member once what has matured or expired by now is posted."""
        member = self.member(ref)
        if self.now is not None:
            self.members.decide(member, Due(), self.now)
        return member.state

    def _hear(self, member: Member, _: Command, outcome: Outcome) -> None:
        ref = MemberRef(member.state.kind, member.state.external_id)
        self.effects.setdefault(ref, []).extend(outcome.effects)
        self.trace.setdefault(ref, []).extend(outcome.trace)


def run_tests(document: Document, program: Program) -> list[TestResult]:
    """All tests of the document, each in a world of its own."""
    return [run_test(test, program) for test in document.tests]


def run_test(test: Check, program: Program) -> TestResult:
    """One test. A refused event is an outcome like any other; nothing is raised."""
    if nobody := _nobody(test):
        return TestResult(test.name, nobody, {}, {})
    world = _World(program)
    for position, given in enumerate(test.given):
        world.happen(given, position)
    if (length := duration(test.advance)) is not None:
        world.wait(length)
    failures = [
        f"{member}: {failure}"
        for member, expected in test.expect.items()
        for failure in _failures(world, MemberRef.parse(member), expected)
    ]
    return TestResult(
        test.name,
        tuple(failures),
        {str(member): tuple(effects) for member, effects in world.effects.items()},
        {str(member): tuple(trace) for member, trace in world.trace.items()},
    )


def _nobody(test: Check) -> tuple[str, ...]:
    """What is wrong with names that the service would take for nobody's."""
    wrong = []
    groups = (f"group:{group.removeprefix('group:')}" for given in test.given for group in given.groups)
    for name in dict.fromkeys((*(given.member for given in test.given), *groups, *test.expect)):
        try:
            MemberRef.parse(name)
        except InvalidInput as mistake:
            wrong.append(f"{name}: {mistake.message}")
    return tuple(wrong)


def _failures(world: _World, member: MemberRef, expected: Expected) -> list[str]:
    state = world.settle(member)
    effects = world.effects.get(member, [])
    failures = []
    for currency, wanted in expected.balances.items():
        failures += _balance_failures(currency, wanted, _balance(state, currency))
    failures += _effect_failures(expected, effects)
    if expected.segments is not None and sorted(expected.segments) != sorted(state.segments):
        failures.append(f"expected the segments {_list(expected.segments)}, is in {_list(state.segments)}")
    for key, value in expected.attributes.items():
        if state.attributes.get(key) != value:
            failures.append(f"expected the attribute {key} to be {value!r}, is {state.attributes.get(key)!r}")
    statuses = world.statuses.get(member, [])
    if expected.statuses is not None and expected.statuses != statuses:
        failures.append(f"expected the statuses {_list(expected.statuses)}, got {_list(statuses)}")
    return failures


def _balance(state: MemberState, currency: str) -> dict[str, int]:
    account = state.wallet.accounts.get(currency)
    return _NOTHING if account is None else {bucket: getattr(account, bucket) for bucket in _NOTHING}


def _balance_failures(currency: str, wanted: int | Buckets, found: Mapping[str, int]) -> list[str]:
    stated = {"available": wanted} if isinstance(wanted, int) else wanted.model_dump(exclude_none=True)
    return [
        f"expected {amount} {currency} {bucket}, found {found[bucket]}"
        for bucket, amount in stated.items()
        if found[bucket] != amount
    ]


def _effect_failures(expected: Expected, effects: list[Effect]) -> list[str]:
    failures = []
    rest = iter(effects)
    for wanted in expected.effects:
        if not any(_fits(wanted, effect) for effect in rest):
            failures.append(f"expected {_told(wanted)}, in this order, among: {_listing(effects)}")
            break
    if expected.exactly is not None:
        whole = len(expected.exactly) == len(effects)
        if not whole or not all(map(_fits, expected.exactly, effects)):
            wanted_list = "; ".join(map(_told, expected.exactly)) or "nothing"
            failures.append(f"expected exactly: {wanted_list}; got: {_listing(effects)}")
    failures += [
        f"expected no {kind}, got {_told({kind: effect})}"
        for kind in expected.none
        for effect in effects
        if effect["type"] == kind
    ]
    return failures


def _fits(wanted: Mapping[str, Mapping[str, Any]], effect: Effect) -> bool:
    return all(
        effect["type"] == kind and all(name in effect and effect[name] == value for name, value in fields.items())
        for kind, fields in wanted.items()
    )


def _told(wanted: Mapping[str, Mapping[str, Any]]) -> str:
    kind, fields = next(iter(wanted.items()))
    shown = ", ".join(f"{name} {value}" for name, value in fields.items() if name not in {"type", "transaction"})
    return f"{kind} ({shown})" if shown else kind


def _listing(effects: list[Effect]) -> str:
    return "; ".join(_told({effect["type"]: effect}) for effect in effects) or "nothing"


def _list(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
