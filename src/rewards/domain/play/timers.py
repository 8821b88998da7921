"""Rules that wait: started by an event, started anew or called off by others, and over at a moment of their own.

Each waiting is `[due, started, event type, match, properties, context, event id]` (moments in microseconds), kept in the
member's document under its rule, earliest first. What the rule's conditions and amounts need of the event is kept with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from rewards.domain.periods import epoch_micros, from_epoch_micros
from rewards.domain.program.compiled import Rule, Wait
from rewards.domain.work import Work

MECHANIC: Final = "timers"
PER_RULE_MAX: Final = 20
PER_MEMBER_MAX: Final = 100
_MICROSECOND: Final = timedelta(microseconds=1)
TEXT_MAX: Final = 1_000
"""Longer texts of the triggering event are not kept; what needs them later finds them missing."""


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


def waiting(work: Work, rule_key: str) -> list[Waiting]:
    """What waits of a rule, earliest first."""
    return [Waiting(*each) for each in work.play.get(MECHANIC, {}).get(rule_key, ())]


def start(
    work: Work,
    rule: Rule,
    *,
    event_type: str,
    properties: Mapping[str, Any],
    context: Mapping[str, Any],
    occurred_at: datetime,
) -> datetime | None:
    """Begins to wait; the moment when that is over, or None when too much waits already.

    Silence is waited for once per value of `match`; a delay for every event.
    """
    wait = rule.wait
    assert wait is not None
    kept = waiting(work, rule.key)
    match = _matched(wait, properties)
    if wait.of:
        kept = [each for each in kept if each.match != match]
    count = sum(map(len, work.play.get(MECHANIC, {}).values()))
    if len(kept) >= PER_RULE_MAX or count >= PER_MEMBER_MAX:
        return None
    began = epoch_micros(occurred_at)
    made = Waiting(
        began + wait.length // _MICROSECOND,
        began,
        event_type,
        match,
        _needed(properties, wait.properties),
        _needed(context, wait.context),
        work.id.hex,
    )
    _keep(work, rule.key, [*kept, made])
    return made.due_at


def hear(work: Work, event_type: str, properties: Mapping[str, Any], occurred_at: datetime) -> None:
    """An event happened: silences that it ends begin anew, and what it calls off is forgotten."""
    if MECHANIC not in work.play:
        return
    moment = epoch_micros(occurred_at)
    for rule in work.program.waiting_for.get(event_type, ()):
        wait = rule.wait
        assert wait is not None
        kept = waiting(work, rule.key)
        after = [_heard(wait, each, event_type, properties, moment) for each in kept]
        if after != kept:
            _keep(work, rule.key, [each for each in after if each is not None])


def _heard(wait: Wait, each: Waiting, event_type: str, properties: Mapping[str, Any], moment: int) -> Waiting | None:
    if moment < each.started_micros or (wait.match is not None and properties.get(wait.match) != each.match):
        return each
    if event_type in wait.unless:
        return None
    return each._replace(due_micros=max(each.due_micros, moment + wait.length // _MICROSECOND))


def next_at(work: Work) -> datetime | None:
    """When the next waiting is over."""
    dues = [entries[0][0] for entries in work.play.get(MECHANIC, {}).values()]
    return from_epoch_micros(min(dues)) if dues else None


def take_due(work: Work) -> tuple[str, Waiting] | None:
    """The earliest waiting that is over by now, with its rule's key; it waits no more."""
    mine = work.play.get(MECHANIC)
    if not mine:
        return None
    key = min(mine, key=lambda each: (mine[each][0][0], each))
    first = Waiting(*mine[key][0])
    if first.due_micros > epoch_micros(work.now):
        return None
    _keep(work, key, waiting(work, key)[1:])
    return key, first


def drop_removed(work: Work) -> None:
    """Forgets what waits of rules that the program no longer has, or that no longer wait."""
    for key in work.play.get(MECHANIC, {}):
        rule = work.program.rules.get(key)
        if rule is None or rule.wait is None:
            work.set_play(MECHANIC, key, None)


def merge(mine: list[Any], other: list[Any]) -> list[Any]:
    """What waits of one rule, of two members that become one."""
    return sorted([*mine, *other], key=lambda each: each[0])[:PER_RULE_MAX]


def _matched(wait: Wait, properties: Mapping[str, Any]) -> Any:
    return properties.get(wait.match) if wait.match is not None else None


def _needed(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: values[name]
        for name in names
        if name in values and not (isinstance(values[name], str) and len(values[name]) > TEXT_MAX)
    }


def _keep(work: Work, rule_key: str, entries: list[Waiting]) -> None:
    work.set_play(MECHANIC, rule_key, [list(each) for each in sorted(entries, key=lambda each: each[0])] or None)
