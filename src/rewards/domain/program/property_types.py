"""What a property's declaration means: shared types resolved, its kind in expressions, and whether it is personal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rewards.domain.program.expressions.fields import Kind
from rewards.domain.program.models.events import Property
from rewards.domain.program.problems import Problems
from rewards.domain.program.schema_types import FORMATS, ITEMS_MAX, NUMBER_MAX, pattern_mistake

BUILT_IN: Final[dict[str, dict[str, Any]]] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "array": {"type": "array"},
    "money": {"type": "number", "minimum": 0, "maximum": NUMBER_MAX},
    "date-time": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "uuid": {"type": "string", "format": "uuid"},
    "email": {"type": "string", "format": "email"},
    "uri": {"type": "string", "format": "uri"},
}
_PARTS: Final = ("anyOf", "oneOf", "allOf")
_NOT_SCHEMA: Final = frozenset({"use", "pii", "purpose", "name", "title", "description", "examples"})
_KINDS: Final = {
    "string": Kind.TEXT,
    "number": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.FLAG,
    "object": Kind.OBJECT,
    "array": Kind.ITEMS,
}
_OF_ITEMS: Final = {Kind.NUMBER: Kind.NUMBERS, Kind.TEXT: Kind.TEXTS}


@dataclass(frozen=True, slots=True)
class PropertyType:
    """A resolved JSON Schema. `pii` if any part of it is."""

    schema: Mapping[str, Any]
    kind: Kind
    pii: bool


ANYTHING: Final = PropertyType({}, Kind.ANY, pii=False)


class Types:
    """The shared types of a document, resolved on demand. Mistakes go to `problems`; a wrong type accepts anything."""

    def __init__(self, declared: Mapping[str, str | Property], problems: Problems, broken: frozenset[str]) -> None:
        self._declared = declared
        self._problems = problems
        self._broken = broken
        self._resolved: dict[str, PropertyType] = {}
        self._open: list[str] = []
        for name in declared:
            if name in BUILT_IN:
                problems.error(f"types.{name}", "reserved", f"{name} is built in and cannot be declared again")

    def resolve(self, spec: str | Property, path: str) -> PropertyType:
        """The meaning of a shorthand name or a full declaration at `path`."""
        return self._named(spec, path) if isinstance(spec, str) else self._full(spec, path)

    def _named(self, name: str, path: str) -> PropertyType:
        if name in BUILT_IN:
            schema = BUILT_IN[name]
            return PropertyType(schema, kind_of(schema), pii=False)
        if name in self._resolved:
            return self._resolved[name]
        if name not in self._declared:
            if f"types.{name}" not in self._broken:
                self._problems.unknown(path, "type", name, [*BUILT_IN, *self._declared])
            return ANYTHING
        if name in self._open:
            self._problems.error(f"types.{name}", "cycle", f"type {name} is made of itself")
            return ANYTHING
        self._open.append(name)
        self._resolved[name] = self.resolve(self._declared[name], f"types.{name}")
        self._open.pop()
        return self._resolved[name]

    def _full(self, spec: Property, path: str) -> PropertyType:
        schema: dict[str, Any] = {}
        pii = spec.pii
        if spec.use is not None:
            used = self._named(spec.use, f"{path}.use")
            schema |= used.schema
            pii = pii or used.pii
        written = spec.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
        schema |= {key: value for key, value in written.items() if key not in _NOT_SCHEMA}
        if spec.items is not None:
            item = self.resolve(spec.items, f"{path}.items")
            schema["items"] = item.schema
            pii = pii or item.pii
        if spec.properties is not None:
            inner = {name: self.resolve(each, f"{path}.properties.{name}") for name, each in spec.properties.items()}
            schema["properties"] = {name: each.schema for name, each in inner.items()}
            pii = pii or any(each.pii for each in inner.values())
        for keyword, parts in zip(_PARTS, (spec.any_of, spec.one_of, spec.all_of), strict=True):
            if parts is not None:
                each_part = [self.resolve(part, f"{path}.{keyword}.{n}") for n, part in enumerate(parts)]
                schema[keyword] = [each.schema for each in each_part]
                pii = pii or any(each.pii for each in each_part)
        self._check(schema, path)
        if schema.get("type") == "array":
            schema.setdefault("maxItems", ITEMS_MAX)
        return PropertyType(schema, kind_of(schema), pii)

    def _check(self, schema: Mapping[str, Any], path: str) -> None:
        if not schema.keys() & {"type", "enum", "const", *_PARTS}:
            self._problems.error(path, "type", "say what it is: type, use, enum or const")
        form = schema.get("format")
        if form is not None and form not in FORMATS:
            self._problems.unknown(f"{path}.format", "format", form, FORMATS)
        mistake = pattern_mistake(schema["pattern"]) if "pattern" in schema else None
        if mistake is not None:
            self._problems.error(f"{path}.pattern", "pattern", mistake)


def kind_of(schema: Mapping[str, Any]) -> Kind:
    """The kind of value that a schema lets through; `ANY` where it may be several."""
    if "type" not in schema:
        choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
        kinds = {_kind_of_value(choice) for choice in choices if choice is not None}
        return kinds.pop() if len(kinds) == 1 else Kind.ANY
    named = schema["type"]
    types = [each for each in (named if isinstance(named, list) else [named]) if each != "null"]
    kinds = {_KINDS[each] for each in types}
    if len(kinds) != 1:
        return Kind.ANY
    kind = kinds.pop()
    if kind is Kind.TEXT and schema.get("format") == "date-time":
        return Kind.MOMENT
    if kind is Kind.ITEMS and "items" in schema:
        return _OF_ITEMS.get(kind_of(schema["items"]), Kind.ITEMS)
    return kind


def _kind_of_value(value: Any) -> Kind:
    if isinstance(value, bool):
        return Kind.FLAG
    if isinstance(value, int | float):
        return Kind.NUMBER
    return Kind.TEXT if isinstance(value, str) else Kind.ANY
