"""Which fields the expressions of a rule, a metric or a segment may name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.program.compiling.events import Catalogue
from rewards.domain.program.expressions.fields import (
    Field,
    Kind,
    at_field,
    balance_field,
    context_fields,
    event_field,
    member_field,
    metric_field,
)
from rewards.domain.program.expressions.scope import Engine, Scope
from rewards.domain.program.models.base import Part

MEMBER_FIELDS: Final = {"id": Kind.TEXT, "kind": Kind.TEXT, "locale": Kind.TEXT, "timezone": Kind.TEXT}
_PROPERTY: Final = re.compile(r"event\s*\.\s*\??\s*([A-Za-z_][A-Za-z0-9_]*)")
_NO_METRICS: Final = "a metric counts before metrics and balances are known; it may read event, context and member"
_NO_EVENT: Final = "this is about the member, without an event; it may read member, metrics, balances and at"


class Scopes:
    """Makes the scopes of a program. Metrics have an engine of their own: they are counted before anything is decided."""

    def __init__(self, catalogue: Catalogue, zone: ZoneInfo) -> None:
        self._catalogue = catalogue
        self._inputs = [
            at_field(),
            *context_fields(zone),
            *(member_field(key, kind) for key, kind in MEMBER_FIELDS.items()),
            *(member_field(key, each.kind) for key, each in catalogue.attribute_types.items()),
        ]
        self._late: list[Field] = []
        self.inputs_engine = Engine([*self._inputs, *self._every_property()])
        self.engine = self.inputs_engine

    def declare(self, metrics: Mapping[str, Kind], currencies: Iterable[str]) -> None:
        """What rules and segments may read besides, once metrics are compiled."""
        self._late = [
            member_field("segments", Kind.TEXTS),
            member_field("badges", Kind.TEXTS),
            *(member_field(key, kind) for key, kind in self._catalogue.member_fields.items()),
            *(metric_field(key, kind) for key, kind in metrics.items()),
            *(balance_field(currency) for currency in currencies),
        ]
        self.engine = Engine([*self._inputs, *self._late, *self._every_property()])

    def metric(self, events: Iterable[str] | None, metric: Part) -> Scope:
        """For `where`, `value` and `by`. `events` is None where they cannot be told, as in `rule`."""
        absent = {"metrics": _NO_METRICS, "balances": _NO_METRICS}
        if events is None:
            return _untold(self._inputs, metric, absent)
        return Scope(self.inputs_engine, _by_name([*self._inputs, *self._properties(events)]), absent)

    def rule(self, triggers: Iterable[str] | None, rule: Part) -> Scope:
        """For a rule with these triggers: the union of their properties.

        Where the triggers cannot be told, whatever property the rule names counts as declared, so that all that is wrong
        besides is found.
        """
        fields = [*self._inputs, *self._late]
        if triggers is None:
            return _untold(fields, rule, {})
        return Scope(self.engine, _by_name([*fields, *self._properties(triggers)]))

    def segment(self) -> Scope:
        """For the conditions of segments."""
        fields = [field for field in (*self._inputs, *self._late) if not field.name.startswith("context.")]
        return Scope(self.engine, _by_name(fields), {"event": _NO_EVENT, "context": _NO_EVENT})

    def _every_property(self) -> list[Field]:
        return [
            event_field(name, each.kind)
            for properties in self._catalogue.properties.values()
            for name, each in properties.items()
        ]

    def _properties(self, events: Iterable[str]) -> list[Field]:
        kinds: dict[str, dict[Kind, str]] = {}
        for event in events:
            for name, each in self._catalogue.properties.get(event, {}).items():
                kinds.setdefault(name, {}).setdefault(each.kind, event)
        return [event_field(name, next(iter(found)), _clash(name, found)) for name, found in kinds.items()]


def _untold(fields: Iterable[Field], part: Part, absent: Mapping[str, str]) -> Scope:
    fields = [*fields, *(event_field(name, Kind.ANY) for name in sorted(_properties_named(part.model_dump())))]
    return Scope(Engine(fields), _by_name(fields), absent)


def _properties_named(written: Any) -> set[str]:
    """The `x` of every `event.x` in the texts of a part."""
    if isinstance(written, str):
        return set(_PROPERTY.findall(written))
    inner = written.values() if isinstance(written, Mapping) else written if isinstance(written, list) else ()
    return {name for each in inner for name in _properties_named(each)}


def _clash(name: str, kinds: Mapping[Kind, str]) -> str | None:
    if len(kinds) == 1:
        return None
    where = " but ".join(f"{kind.value} in {event}" for kind, event in kinds.items())
    return f"event.{name} is {where}; write one rule for each"


def _by_name(fields: Iterable[Field]) -> dict[str, Field]:
    return {field.name: field for field in fields}
