"""Runs the tests that a document carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rewards.domain.commands import Event, MemberRef, SetProfile
from rewards.domain.effects import Effect
from rewards.domain.errors import RewardsError
from rewards.domain.outcome import Status
from rewards.domain.program.compiled import Program
from rewards.domain.program.models.checks import Buckets, Check, Expected, Given
from rewards.domain.program.models.document import Document
from rewards.domain.program.world import World, balance


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


@dataclass(slots=True)
class _Seen:
    """What came of one test, by member."""

    effects: dict[str, list[Effect]] = field(default_factory=dict)
    trace: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)


def run_tests(document: Document, program: Program) -> list[TestResult]:
    """All tests of the document, each in a world of its own."""
    return [run_test(test, program) for test in document.tests]


def run_test(test: Check, program: Program) -> TestResult:
    """One test. A refused event is an outcome like any other; nothing is raised."""
    world = World(program)
    seen = _Seen()
    for position, given in enumerate(test.given):
        _happen(world, given, position, seen)
    failures = [
        f"{member}: {failure}"
        for member, expected in test.expect.items()
        for failure in _failures(world, _name(member), expected, seen)
    ]
    return TestResult(
        test.name,
        tuple(failures),
        {member: tuple(effects) for member, effects in seen.effects.items()},
        {member: tuple(trace) for member, trace in seen.trace.items()},
    )


def _name(member: str) -> str:
    return str(MemberRef.parse(member))


def _happen(world: World, given: Given, position: int, seen: _Seen) -> None:
    at = datetime.fromisoformat(given.at)
    if at.tzinfo is None:
        at = at.replace(tzinfo=world.program.zone)
    member = _name(given.member)
    statuses = seen.statuses.setdefault(member, [])
    event = Event(
        client_id=given.id or f"given-{position}",
        type=given.type,
        occurred_at=at,
        properties=given.properties,
        context=given.context,
    )
    try:
        if given.attributes:
            _note(world, member, SetProfile(given.attributes), at, seen)
        statuses.append(_note(world, member, event, at, seen).value)
    except RewardsError as error:
        statuses.append(Status.REJECTED.value)
        line = {"event": given.type, "result": Status.REJECTED.value, "code": error.code, "why": error.message}
        seen.trace.setdefault(member, []).append(line)


def _note(world: World, member: str, command: Event | SetProfile, at: datetime, seen: _Seen) -> Status:
    status = Status.PROCESSED
    for happened in world.send(member, command, now=at):
        seen.effects.setdefault(happened.member, []).extend(happened.outcome.effects)
        seen.trace.setdefault(happened.member, []).extend(happened.outcome.trace)
        status = happened.outcome.status
    return status


def _failures(world: World, member: str, expected: Expected, seen: _Seen) -> list[str]:
    seen.effects.setdefault(member, []).extend(world.settle(member).effects)
    state = world.state(member)
    effects = seen.effects[member]
    failures = []
    for currency, wanted in expected.balances.items():
        failures += _balance_failures(currency, wanted, balance(state, currency))
    failures += _effect_failures(expected, effects)
    if expected.segments is not None and sorted(expected.segments) != sorted(state.segments):
        failures.append(f"expected the segments {_list(expected.segments)}, is in {_list(state.segments)}")
    for key, value in expected.attributes.items():
        if state.attributes.get(key) != value:
            failures.append(f"expected the attribute {key} to be {value!r}, is {state.attributes.get(key)!r}")
    statuses = seen.statuses.get(member, [])
    if expected.statuses is not None and expected.statuses != statuses:
        failures.append(f"expected the statuses {_list(expected.statuses)}, got {_list(statuses)}")
    return failures


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
