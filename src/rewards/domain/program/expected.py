"""Checks that a document's tests speak of things the document declares."""

from __future__ import annotations

from rewards.domain.program.compiling.context import Context
from rewards.domain.program.models.actions import ACTIONS
from rewards.domain.program.models.checks import Check, Expected
from rewards.domain.program.models.document import INTERNAL_EVENTS, LATER_ACTIONS
from rewards.domain.program.problems import nearest

STREAK_EFFECTS = (
    *("streak_frozen", "streak_broken", "streak_restored", "streak_at_risk"),
    *("streak_milestone", "streak_freezes", "streak_paused", "streak_resumed"),
)
QUEST_EFFECTS = ("quest_started", "quest_left", "quest_step", "quest_expired", "quest_revoked", "quest_step_revoked")
EFFECT_TYPES = (*ACTIONS, *INTERNAL_EVENTS, "tier", "taken_back", "not_reversed", *QUEST_EFFECTS, *STREAK_EFFECTS)

_OF_QUESTS = frozenset({"quest", *QUEST_EFFECTS})
_OF_BADGES = frozenset({"badge", "badge.awarded", "badge.revoked"})


def check_tests(context: Context) -> None:
    """Names of members, events, currencies, rules, segments and effects that tests use must exist."""
    seen: set[str] = set()
    for position, test in enumerate(context.document.tests):
        path = f"tests.{position}"
        if test.name in seen:
            context.problems.error(f"{path}.name", "duplicate-name", f"two tests are called {test.name!r}")
        seen.add(test.name)
        _given(context, test, path)
        known = {given.member for given in test.given}
        known |= {f"group:{group.removeprefix('group:')}" for given in test.given for group in given.groups}
        for member, expected in test.expect.items():
            if member not in known:
                context.problems.unknown(f"{path}.expect.{member}", "member", member, known)
            _expected(context, expected, f"{path}.expect.{member}")


def _given(context: Context, test: Check, path: str) -> None:
    document = context.document
    names = {name for key, event in document.events.items() for name in (key, *event.aka)}
    for position, given in enumerate(test.given):
        where = f"{path}.given.{position}"
        accepted = document.program.unknown_events == "accept" or any(b.startswith("events.") for b in context.broken)
        # An undeclared type may be the very point of a test: then it states what becomes of it.
        meant = given.member in test.expect and test.expect[given.member].statuses is not None
        if given.type not in names and not accepted and not meant:
            near = nearest(given.type, names)
            hint = f"; did you mean {near}?" if near else ""
            context.problems.warn(f"{where}.type", "unknown-event", f"unknown event {given.type!r}{hint}")
        for attribute in given.attributes:
            context.refers(f"{where}.attributes", "attribute", "attributes", attribute, document.attributes)


def _expected(context: Context, expected: Expected, path: str) -> None:
    document = context.document
    for currency in expected.balances:
        context.refers(f"{path}.balances", "currency", "currencies", currency, document.currencies)
    for segment in expected.segments or ():
        context.refers(f"{path}.segments", "segment", "segments", segment, document.segments)
    for attribute in expected.attributes:
        context.refers(f"{path}.attributes", "attribute", "attributes", attribute, document.attributes)
    for name in expected.none:
        _effect(context, f"{path}.none", name)
    rules = {rule.key for rule in document.rules}
    for list_name, effects in (("effects", expected.effects), ("exactly", expected.exactly or [])):
        for position, effect in enumerate(effects):
            where = f"{path}.{list_name}.{position}"
            if len(effect) != 1:
                context.problems.error(where, "value", "an expected effect is one type with its fields: {earn: {…}}")
            for kind, fields in effect.items():
                _effect(context, where, kind)
                _tier(context, f"{where}.{kind}", kind, fields.get("key"))
                rule = fields.get("rule")
                if isinstance(rule, str) and rule not in rules and not context.is_broken("rules", rule):
                    context.problems.unknown(f"{where}.{kind}.rule", "rule", rule, rules)
                named = "key" if kind in _OF_BADGES else "badge"
                if isinstance(fields.get(named), str):
                    context.refers(f"{where}.{kind}.{named}", "badge", "badges", fields[named], document.badges)
                named = "key" if kind in _OF_QUESTS else "quest"
                if isinstance(fields.get(named), str):
                    context.refers(f"{where}.{kind}.{named}", "quest", "quests", fields[named], document.quests)


def _effect(context: Context, path: str, name: str) -> None:
    if name in LATER_ACTIONS:
        context.problems.error(path, "not-available-yet", f"the effect {name} is not yet available")
    elif name not in EFFECT_TYPES:
        context.problems.unknown(path, "effect", name, EFFECT_TYPES)


def _tier(context: Context, path: str, kind: str, key: object) -> None:
    """A test names a tier that the document has; the empty text is none."""
    tiers = context.document.tiers
    if kind == "tier" and tiers is not None and isinstance(key, str) and key and key not in tiers.levels:
        context.problems.unknown(f"{path}.key", "tier", key, tiers.levels)
