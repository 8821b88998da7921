"""Event types, groups and attributes: what may happen, and what is known of members."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from rewards.domain.program.compiled import Attribute, EventType
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.expressions.fields import Kind
from rewards.domain.program.models import events as written
from rewards.domain.program.models.document import INTERNAL_EVENTS, LATER_INTERNAL_EVENTS, NUMBERS_OF_EVENTS
from rewards.domain.program.problems import nearest
from rewards.domain.program.property_types import PropertyType, Types
from rewards.domain.program.schema_types import compile_properties, compile_value_check

_TEXT: Final = PropertyType({"type": "string"}, Kind.TEXT, pii=False)
_NUMBER: Final = PropertyType({"type": "integer"}, Kind.NUMBER, pii=False)


@dataclass(slots=True)
class Catalogue:
    """All that is declared about events and attributes. `properties` maps event type → property → type."""

    events: dict[str, EventType] = field(default_factory=dict)
    properties: dict[str, dict[str, PropertyType]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    attribute_types: dict[str, PropertyType] = field(default_factory=dict)
    member_fields: dict[str, Kind] = field(default_factory=dict)
    """What every member has because of what else is declared; known once events have been counted."""


def build_catalogue(context: Context) -> Catalogue:
    """Events first, then the groups of them, then attributes."""
    types = Types(context.document.types, context.problems, context.broken)
    for name in context.document.types:
        types.resolve(name, f"types.{name}")
    catalogue = Catalogue()
    for key, event in context.document.events.items():
        _event(context, catalogue, types, key, event)
    for event_key, properties in INTERNAL_EVENTS.items():
        catalogue.properties[event_key] = {name: _NUMBER if name in NUMBERS_OF_EVENTS else _TEXT for name in properties}
    for group in context.document.groups:
        _group(context, catalogue, group)
    if context.document.tiers is not None or any(path.startswith("tiers") for path in context.broken):
        catalogue.member_fields["tier"] = Kind.TEXT
    for key, attribute in context.document.attributes.items():
        _attribute(context, catalogue, types, key, attribute)
    return catalogue


def _event(context: Context, catalogue: Catalogue, types: Types, key: str, event: written.EventType) -> None:
    path = f"events.{key}"
    resolved = {name: types.resolve(spec, f"{path}.properties.{name}") for name, spec in event.properties.items()}
    catalogue.properties[key] = resolved
    for name in (key, *event.aka):
        taken = catalogue.names.setdefault(name, key)
        if taken != key or (name != key and name in context.document.events):
            context.problems.error(f"{path}.aka", "duplicate-name", f"{name!r} already names {taken}")
    catalogue.events[key] = EventType(
        key=key,
        client=event.client,
        accept=compile_properties(
            {name: each.schema for name, each in resolved.items()},
            required=frozenset(event.required),
            keep_undeclared=event.undeclared == "keep",
        ),
        pii=frozenset(name for name, each in resolved.items() if each.pii),
        kept=None if event.undeclared == "keep" else frozenset(resolved),
    )


def _group(context: Context, catalogue: Catalogue, group: str) -> None:
    if group in context.document.events:
        context.problems.error(f"groups.{group}", "duplicate-name", f"{group} is an event type as well")
    catalogue.groups[group] = _members(context, group, (group,))


def _members(context: Context, group: str, trail: tuple[str, ...]) -> tuple[str, ...]:
    members: dict[str, None] = {}
    for position, name in enumerate(context.document.groups[group]):
        path = f"groups.{group}.{position}"
        if name in trail:
            context.problems.error(path, "cycle", f"group {name} is made of itself")
        elif name in context.document.groups:
            members.update(dict.fromkeys(_members(context, name, (*trail, name))))
        elif context.refers(path, "event", "events", name, context.document.events):
            members[name] = None
    return tuple(members)


def _attribute(context: Context, catalogue: Catalogue, types: Types, key: str, spec: str | written.Attribute) -> None:
    path = f"attributes.{key}"
    if key in {"id", "kind", "locale", "timezone", "segments", "badges"} or key in catalogue.member_fields:
        context.problems.error(path, "reserved", f"every member has {key}; it is not declared")
    resolved = types.resolve(spec, path)
    catalogue.attribute_types[key] = resolved
    catalogue.attributes[key] = Attribute(
        key=key,
        purpose=spec.purpose if isinstance(spec, written.Attribute) else None,
        pii=resolved.pii,
        accept=compile_value_check(resolved.schema, path),
    )


def resolve_events(context: Context, catalogue: Catalogue, names: Iterable[str], path: str) -> tuple[str, ...] | None:
    """The event types that names of types, groups and internal events stand for.

    None if one of them is unknown (reported) or broken, so that what they carry cannot be told.
    """
    found: dict[str, None] = {}
    whole = True
    declared = context.document.events
    for name in names:
        if name in declared or name in INTERNAL_EVENTS:
            found[name] = None
        elif name in catalogue.groups:
            found.update(dict.fromkeys(catalogue.groups[name]))
        elif name in LATER_INTERNAL_EVENTS:
            context.problems.error(path, "not-available-yet", f"{name} is not yet available")
            whole = False
        else:
            whole = False
            if not context.is_broken("events", name) and not context.is_broken("groups", name):
                declarations = context.known("events", declared) | context.known("groups", catalogue.groups)
                known = [*sorted(declarations), *INTERNAL_EVENTS]
                context.problems.error(path, "unknown-event", f"unknown event {name!r}", near=nearest(name, known))
    return tuple(found) if whole else None
