"""What an event can set in motion through the events that its rules raise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rewards.domain.program.compiled import Action, EmitAction, Rule
from rewards.domain.program.models.document import INTERNAL_EVENTS


def reaching(rules: Iterable[Rule], actions: tuple[type, ...], events: Iterable[str]) -> frozenset[str]:
    """The event types whose rules, or those of events raised by them, may do one of `actions`."""
    rules = list(rules)
    direct = {trigger for rule in rules if _does(rule, actions) for trigger in rule.triggers}
    raises = _raises(rules)
    # Any event may move a member between segments, and so reach the rules about that.
    return frozenset(each for each in (*events, *INTERNAL_EVENTS) if reached_from(each, raises) & direct)


def reached_from(event: str, raises: Mapping[str, set[str]]) -> set[str]:
    """`event` and all that it can raise."""
    reached: set[str] = set()
    waiting = [event, *INTERNAL_EVENTS]
    while waiting:
        each = waiting.pop()
        if each not in reached:
            reached.add(each)
            waiting.extend(raises.get(each, ()))
    return reached


def may_loop(rules: Iterable[Rule]) -> Iterator[str]:
    """The rules whose raised events lead back to them."""
    rules = list(rules)
    raises = _raises(rules)
    for rule in rules:
        reached: set[str] = set()
        waiting = list(_emitted(rule))
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting.extend(raises.get(each, ()))
        if reached & rule.triggers:
            yield rule.key


def _raises(rules: Iterable[Rule]) -> dict[str, set[str]]:
    raises: dict[str, set[str]] = {}
    for rule in rules:
        for trigger in rule.triggers:
            raises.setdefault(trigger, set()).update(_emitted(rule))
    return raises


def _actions(rule: Rule) -> tuple[Action, ...]:
    return (*rule.then, *rule.otherwise)


def _emitted(rule: Rule) -> set[str]:
    return {action.type for action in _actions(rule) if isinstance(action, EmitAction)}


def _does(rule: Rule, actions: tuple[type, ...]) -> bool:
    return any(isinstance(action, actions) for action in _actions(rule))
