"""Deciding one event: validate, count, place in segments, run the rules, and follow what they raise.

Metrics include the event itself; all conditions of one event see one snapshot, taken before any effect. Internal events
follow breadth-first, at most `DEPTH_MAX` deep and `EFFECTS_MAX` effects in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from rewards.domain.commands import Event
from rewards.domain.effects import EFFECTS_MAX
from rewards.domain.errors import InvalidInput, SchemaViolation
from rewards.domain.outcome import EventRecord, Outcome, Status
from rewards.domain.play import mechanics, timers
from rewards.domain.play.counting import count
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.rules import run_rules
from rewards.domain.play.segments import reassess
from rewards.domain.play.taking_back import take_back_events
from rewards.domain.play.tier_held import MECHANIC as TIERS
from rewards.domain.program.compiled import EventType, Program, Unknown
from rewards.domain.work import Work, balances

DEPTH_MAX: Final = 5
NAMES_SHOWN_MAX: Final = 20
AHEAD_MAX: Final = timedelta(minutes=5)
"""How far a sender's clock may run ahead; such an event counts as happening now."""


def decide_event(work: Work, command: Event) -> Outcome:
    """Raises `InvalidInput` (nothing changed) for a rejected type, a schema violation or a moment in the future."""
    occurred_at = _moment(work, command)
    kind = work.program.event_type(command.type)
    type_key = kind.key if kind is not None else command.type
    properties: Mapping[str, Any] = command.properties
    _check_sender(command, kind)
    if kind is None:
        if work.program.unknown is not Unknown.ACCEPT:
            return _hold_back(work, command, occurred_at, work.program.unknown, _undeclared(work.program, command))
    else:
        try:
            properties = kind.accept(command.properties)
        except SchemaViolation as violation:
            return _hold_back(work, command, occurred_at, work.program.invalid, violation)
    record = _record(command, type_key, occurred_at, properties, work.contributions)
    window = work.program.late_window
    if occurred_at < (command.received_at or work.now) - window:
        late = InvalidInput(f"it came more than {_days(window)} after it occurred", path="occurred_at")
        return finish(work, Status.TOO_LATE, record, _reason("too-late", late))
    _follow(work, type_key, properties, command.context, occurred_at)
    return finish(work, Status.PROCESSED, record)


def refuse_unfit(program: Program, command: Event) -> None:
    """Raises `InvalidInput` where deciding could only refuse the event, whatever the member has done and the clock says.

    For whoever accepts it to decide it later, and can still say so.
    """
    kind = program.event_type(command.type)
    _check_sender(command, kind)
    if kind is None:
        if program.unknown is Unknown.REJECT:
            raise _undeclared(program, command)
    elif program.invalid is Unknown.REJECT:
        kind.accept(command.properties)


def _check_sender(command: Event, kind: EventType | None) -> None:
    if command.client and (kind is None or not kind.client):
        name = kind.key if kind is not None else command.type
        raise InvalidInput(
            f"{name} may not be sent by a browser", path="type", expected="an event type with client: true"
        )


def _undeclared(program: Program, command: Event) -> InvalidInput:
    return InvalidInput(
        f"the program declares no event type {command.type!r}", path="type", expected=_some(program.events)
    )


def _record(
    command: Event, type_key: str, occurred_at: datetime, properties: Mapping[str, Any], contributions: list[Any]
) -> EventRecord:
    return EventRecord(
        type_key, command.client_id, occurred_at, properties, command.context, contributions, command.sent_by
    )


def _some(names: Iterable[str]) -> str:
    """Names as what would be right; of many only the first."""
    known = sorted(names)
    more = ", …" if len(known) > NAMES_SHOWN_MAX else ""
    return f"one of {', '.join(known[:NAMES_SHOWN_MAX])}{more}"


def finish(work: Work, status: Status, record: EventRecord, reason: dict[str, Any] | None = None) -> Outcome:
    """`reason` is part of the answer where the event was taken and yet not decided."""
    outcome = work.finish(status, event=record)
    outcome.answer = {
        "id": record.client_id,
        "status": status.value,
        "program_version": work.program.version,
        "effects": outcome.effects,
        "balances": balances(outcome.state, work.program),
    }
    if reason is not None:
        outcome.answer["reason"] = reason
    return outcome


def _days(length: timedelta) -> str:
    """A length of time as people say it."""
    hours = length / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours > 48 else f"{hours:g} hours"


def _reason(code: str, problem: InvalidInput) -> dict[str, Any]:
    told = {"code": code, "message": problem.message, "path": problem.details["path"]}
    expected = problem.details.get("expected")
    return told if expected is None else {**told, "expected": expected}


def _moment(work: Work, command: Event) -> datetime:
    occurred_at = command.occurred_at
    if occurred_at is None:
        return work.now
    if occurred_at > work.now:
        if occurred_at > work.now + AHEAD_MAX:
            raise InvalidInput(
                f"the event occurs {_days(occurred_at - work.now)} from now",
                path="occurred_at",
                expected=f"a moment at most {AHEAD_MAX.seconds // 60} minutes after the service's clock",
            )
        return work.now
    return occurred_at


def _hold_back(work: Work, command: Event, occurred_at: datetime, policy: Unknown, problem: InvalidInput) -> Outcome:
    """An event that does not fit the program: refused, or kept aside until the program is fixed.

    One that is replayed and still does not fit stays where it is: nothing is changed, and the caller hears why.
    """
    if policy is Unknown.REJECT or (command.replay and policy is Unknown.QUARANTINE):
        raise problem
    record = _record(command, command.type, occurred_at, command.properties, work.contributions)
    if policy is Unknown.ACCEPT:
        return finish(work, Status.PROCESSED, record)
    work.trace.append({"result": "quarantined", "code": problem.code, "why": problem.message, **problem.details})
    return finish(work, Status.QUARANTINED, record, _reason(problem.code, problem))


def _follow(
    work: Work, type_key: str, properties: Mapping[str, Any], context: Mapping[str, Any], occurred_at: datetime
) -> None:
    """The event, then what it raised, level by level."""
    level: list[tuple[str, Mapping[str, Any]]] = [(type_key, properties)]
    for depth in range(DEPTH_MAX + 1):
        for event_type, event_properties in level:
            if work.room() <= 0:
                work.trace.append({"event": event_type, "result": "effects_exceeded", "most": EFFECTS_MAX})
                work.emitted.clear()  # else what is decided next would take them for its own
                return
            if depth:
                work.trace.append({"event": event_type, "depth": depth})
            _one(work, event_type, event_properties, context, occurred_at)
        level = list(work.emitted)
        work.emitted.clear()
        if not level:
            level = after_effects(work)
        if not level:
            return
    work.trace.extend({"event": event_type, "result": "depth_exceeded", "most": DEPTH_MAX} for event_type, _ in level)


def after_effects(work: Work) -> list[tuple[str, Mapping[str, Any]]]:
    """Segments once more, where effects changed what they read; what that raised is decided next."""
    climbed = work.play.get(TIERS) is not work.state.play.get(TIERS)
    changed = work.attributes is not work.state.attributes or work.draft.accounts or work.achievements or climbed
    if changed or (work.segments and not work.program.segments):
        place_in_segments(work)
    raised: list[tuple[str, Mapping[str, Any]]] = list(work.emitted)
    work.emitted.clear()
    return raised


def place_in_segments(work: Work) -> None:
    """Decides the segments and raises `segment.entered` and `segment.left` for what changed."""
    if work.program.segments or work.segments:
        announce_segments(work, *reassess(work))


def announce_segments(work: Work, entered: tuple[str, ...], left: tuple[str, ...]) -> None:
    for name, keys in (("segment.entered", entered), ("segment.left", left)):
        for key in keys:
            work.effects.append({"type": name, "segment": key})
            work.emitted.append((name, {"segment": key}))


def follow_emitted(work: Work, occurred_at: datetime) -> None:
    """Decides internal events that arose outside an event: from silence, a profile change or a job."""
    mechanics.hear_earnings(work)
    take_back_events(work)
    raised = list(work.emitted)
    work.emitted.clear()
    for event_type, properties in raised:
        _follow(work, event_type, properties, {}, occurred_at)


def _one(
    work: Work, type_key: str, properties: Mapping[str, Any], context: Mapping[str, Any], occurred_at: datetime
) -> None:
    program = work.program
    facts = EventFacts(work, event=properties, context=context, at=occurred_at)
    metrics = program.metrics_by_event.get(type_key)
    if metrics:
        count(work, type_key, facts)
        place_in_segments(work)
    if type_key in program.waiting_for:
        timers.hear(work, type_key, properties, occurred_at)
    rules = program.rules_by_event.get(type_key)
    if rules:
        run_rules(work, rules, program.bind(type_key, facts), facts, type_key)
    if program.mechanics:
        mechanics.follow(work, type_key, facts)
    if work.withdrawn:
        take_back_events(work)
