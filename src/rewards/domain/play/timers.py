"""Rules that wait: started by an event, started anew or called off by others, and over at a moment of their own.

Each waiting is `[due, started, event type, match, properties, context, event id]` (moments in microseconds), kept in the
member's document under its rule, earliest first. What the rule's conditions and amounts need of the event is kept with it.

Events may arrive out of order, so what starts a wait anew or calls it off is remembered as long as an earlier trigger may
still come: `[hash of match, last called off, last started anew]` under the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from uuid import UUID

from rewards.domain.periods import epoch_micros, from_epoch_micros
from rewards.domain.play.metric_upkeep import state_size
from rewards.domain.program.compiled import Rule, Wait
from rewards.domain.work import Work

MECHANIC: Final = "timers"
HEARD: Final = "heard"
PER_RULE_MAX: Final = 20
PER_MEMBER_MAX: Final = 100
VALUE_BYTES_MAX: Final = 512
"""Larger values of the triggering event are not kept; what needs them later finds them missing."""
WAITING_BYTES_MAX: Final = 12 * 1_024
"""What all that waits of a member may take of its document."""
_ENTRY_BYTES_MAX: Final = 160
_NAMED_BYTES_MAX: Final = VALUE_BYTES_MAX + 70


class NotStarted(StrEnum):
    """Why a rule does not wait, as the trace says it."""

    EXCEEDED = "waiting_exceeded"
    CALLED_OFF = "called_off"


class Waiting(NamedTuple):
    """One rule that waits."""

    due_micros: int
    started_micros: int
    event_type: str
    match: Any
    properties: Mapping[str, Any]
    context: Mapping[str, Any]
    event: str

    @property
    def due_at(self) -> datetime:
        return from_epoch_micros(self.due_micros)

    @property
    def event_id(self) -> UUID:
        return UUID(self.event)


def start(
    work: Work,
    rule: Rule,
    *,
    event_type: str,
    properties: Mapping[str, Any],
    context: Mapping[str, Any],
    occurred_at: datetime,
) -> datetime | NotStarted:
    """Begins to wait; the moment when that is over, or why it does not: too much waits, or what came since called it off.

    Silence is waited for once per value of `match`; a delay for every event.
    """
    wait = rule.wait
    assert wait is not None
    kept = list(work.play.get(MECHANIC, {}).get(rule.key, ()))
    match = _matched(wait, properties)
    began = epoch_micros(occurred_at)
    said = wait.match is None or match is not None
    called_off, anew = _heard_of(work, rule.key, match) if said else (0, 0)
    if called_off > began:
        return NotStarted.CALLED_OFF
    if wait.of and said:
        for due, started, _, other, *_ in kept:
            if other == match and started > began:
                return from_epoch_micros(due)  # a later event has begun this silence already
        kept = [each for each in kept if each[3] != match]
    due = max(began, anew) + wait.length_micros
    kept_properties, kept_context = _needed(properties, wait.properties), _needed(context, wait.context)
    made = [due, began, event_type, match, kept_properties, kept_context, work.id.hex]
    if not _fits(work, rule.key, kept, made):
        return NotStarted.EXCEEDED
    kept.append(made)
    _keep(work, rule.key, kept)
    return from_epoch_micros(due)


def _fits(work: Work, rule_key: str, kept: list[list[Any]], made: list[Any]) -> bool:
    mine = work.play.get(MECHANIC, {})
    rules = work.program.rules
    others = 0
    most = _bytes_max(rules[rule_key])
    for key, entries in mine.items():
        most += len(entries) * _bytes_max(rules[key])
        if key != rule_key:
            others += len(entries)
    if len(kept) >= PER_RULE_MAX or others + len(kept) >= PER_MEMBER_MAX:
        return False
    if most <= WAITING_BYTES_MAX:
        return True  # and nothing need be measured
    waiting = [entries for key, entries in mine.items() if key != rule_key]
    return sum(state_size(each) for entries in (*waiting, [*kept, made]) for each in entries) <= WAITING_BYTES_MAX


def _bytes_max(rule: Rule) -> int:
    """What one waiting of a rule takes at most."""
    wait = rule.wait
    assert wait is not None
    named = len(wait.properties) + len(wait.context) + (wait.match is not None)
    return _ENTRY_BYTES_MAX + named * _NAMED_BYTES_MAX


def hear(work: Work, event_type: str, properties: Mapping[str, Any], occurred_at: datetime) -> None:
    """An event happened: silences that it ends begin anew, and what it calls off is forgotten."""
    moment = epoch_micros(occurred_at)
    mine = work.play.get(MECHANIC, {})
    for rule in work.program.waiting_for.get(event_type, ()):
        wait = rule.wait
        assert wait is not None
        _remember(work, rule.key, wait, event_type, properties, moment)
        kept = mine.get(rule.key)
        if kept:
            after = [_heard(wait, each, event_type, properties, moment) for each in kept]
            if after != kept:
                _keep(work, rule.key, [each for each in after if each is not None])


def _heard_of(work: Work, rule_key: str, match: Any) -> tuple[int, int]:
    """When waits of a rule were last called off, and last started anew, whether any was under way or not."""
    kept = work.play.get(HEARD, {}).get(rule_key)
    if kept:
        mark = _mark(match)
        for each, called_off, anew in kept:
            if each == mark:
                return called_off, anew
    return 0, 0


def _remember(
    work: Work, rule_key: str, wait: Wait, event_type: str, properties: Mapping[str, Any], moment: int
) -> None:
    match = _matched(wait, properties)
    if wait.match is not None and match is None:
        return  # what does not say of which it is, is of none
    called_off, anew = _heard_of(work, rule_key, match)
    if event_type in wait.unless:
        called_off = max(called_off, moment)
    if event_type in wait.of:
        anew = max(anew, moment)
    if wait.match is None:
        work.set_play(HEARD, rule_key, [[0, called_off, anew]])
        return
    horizon = epoch_micros(work.now) - work.program.late_seconds * 1_000_000
    mark = _mark(match)
    others = work.play.get(HEARD, {}).get(rule_key, ())
    kept = [each for each in others if each[0] != mark and max(each[1], each[2]) >= horizon]
    work.set_play(HEARD, rule_key, _newest([*kept, [mark, called_off, anew]]))


def _mark(match: Any) -> int:
    """Tells values of `match` apart in six bytes each; 0 where a rule has none."""
    return 0 if match is None else int.from_bytes(blake2b(repr(match).encode(), digest_size=6).digest())


def _newest(heard: list[list[Any]]) -> list[list[Any]]:
    return sorted(heard, key=lambda each: max(each[1], each[2]), reverse=True)[:PER_RULE_MAX]


def _heard(
    wait: Wait, each: list[Any], event_type: str, properties: Mapping[str, Any], moment: int
) -> list[Any] | None:
    """What becomes of one waiting; the very same where nothing does."""
    due, started, _, match, *_ = each
    if moment < started:
        return each
    if wait.match is not None and (match is None or properties.get(wait.match) != match):
        return each  # what does not say of which it is, is of none
    if event_type in wait.unless:
        return None
    later = moment + wait.length_micros
    return [later, *each[1:]] if later > due else each


def next_at(work: Work) -> datetime | None:
    """When the next waiting is over."""
    dues = [entries[0][0] for entries in work.play.get(MECHANIC, {}).values()]
    return from_epoch_micros(min(dues)) if dues else None


def take_due(work: Work) -> tuple[str, Waiting] | None:
    """The earliest waiting that is over by now, with its rule's key; it waits no more."""
    mine = work.play.get(MECHANIC)
    if not mine:
        return None
    rules = work.program.rules
    key = min(mine, key=lambda each: (mine[each][0][0], -rules[each].priority, rules[each].position))
    first = Waiting(*mine[key][0])
    if first.due_micros > epoch_micros(work.now):
        return None
    _keep(work, key, mine[key][1:])
    return key, first


def drop_removed(work: Work) -> None:
    """Forgets what waits of rules that the program no longer has, or that no longer wait."""
    for kept in (MECHANIC, HEARD):
        for key in work.play.get(kept, {}):
            rule = work.program.rules.get(key)
            if rule is None or rule.wait is None:
                work.set_play(kept, key, None)


def take_over(work: Work, play: Mapping[str, Mapping[str, Any]]) -> None:
    """What a member that becomes this one waited for and has heard, of rules that the program still has.

    What either has heard holds for both: an order under one name calls off what the cart under the other began.
    """
    rules = work.program.rules
    for key, other in play.get(HEARD, {}).items():
        work.set_play(HEARD, key, _merged_heard(work.play.get(HEARD, {}).get(key, []), other))
    for key, other in play.get(MECHANIC, {}).items():
        mine = work.play.get(MECHANIC, {}).get(key, [])
        work.set_play(MECHANIC, key, _merged(rules.get(key), mine, other))
    drop_removed(work)
    waiting = []
    for key, entries in work.play.get(MECHANIC, {}).items():
        heard = (_as_heard(work, rules[key], each) for each in entries)
        waiting += [(key, each) for each in heard if each is not None]
        work.set_play(MECHANIC, key, None)
    size = 0
    kept: dict[str, list[list[Any]]] = {}
    for key, each in sorted(waiting, key=lambda entry: _due(entry[1]))[:PER_MEMBER_MAX]:
        size += state_size(each)
        if size > WAITING_BYTES_MAX:
            break
        kept.setdefault(key, []).append(each)
    for key, entries in kept.items():
        work.set_play(MECHANIC, key, entries)


def _as_heard(work: Work, rule: Rule, each: list[Any]) -> list[Any] | None:
    """What becomes of one waiting by what was heard since it began."""
    wait = rule.wait
    assert wait is not None
    due, started, _, match, *_ = each
    if wait.match is not None and match is None:
        return each
    called_off, anew = _heard_of(work, rule.key, match)
    if called_off > started:
        return None
    return [max(due, anew + wait.length_micros), *each[1:]] if wait.of and anew > started else each


def _merged_heard(mine: list[list[Any]], other: list[list[Any]]) -> list[list[Any]]:
    """Of each value of `match` the later moments."""
    both = {each[0]: each for each in mine}
    for mark, called_off, anew in other:
        known = both.get(mark, [mark, 0, 0])
        both[mark] = [mark, max(known[1], called_off), max(known[2], anew)]
    return _newest(list(both.values()))


def _merged(rule: Rule | None, mine: list[Any], other: list[Any]) -> list[Any]:
    """What waits of one rule, of two members that become one: a silence once, from the later of its two beginnings."""
    both = [Waiting(*each) for each in (*mine, *other)]
    if rule is not None and rule.wait is not None and rule.wait.of:
        silences: dict[Any, Waiting] = {}
        for each in sorted(both, key=lambda each: each.started_micros):
            known = silences.get(each.match)
            due = each.due_micros if known is None else max(known.due_micros, each.due_micros)
            silences[each.match] = each._replace(due_micros=due)
        both = list(silences.values())
    return [list(each) for each in sorted(both, key=lambda each: each.due_micros)[:PER_RULE_MAX]]


def _matched(wait: Wait, properties: Mapping[str, Any]) -> Any:
    """The value of `match`, if it is one that can be told apart: a number or a short text."""
    if wait.match is None:
        return None
    value = properties.get(wait.match)
    return value if isinstance(value, str | int | float) and state_size(value) <= VALUE_BYTES_MAX else None


def _needed(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values and state_size(values[name]) <= VALUE_BYTES_MAX}


def _keep(work: Work, rule_key: str, entries: list[list[Any]]) -> None:
    if len(entries) > 1:
        entries = sorted(entries, key=_due)
    work.set_play(MECHANIC, rule_key, entries or None)


def _due(each: list[Any]) -> int:
    due: int = each[0]
    return due
