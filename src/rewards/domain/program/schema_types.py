"""Compiles JSON Schema into checks that run per event: strict types, and every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, Final
from uuid import UUID

from cel_expr_python import cel

from rewards.domain.errors import SchemaViolation

NUMBER_MAX: Final = 2**53 - 1
ITEMS_MAX: Final = 100
ERRORS_MAX: Final = 50

Errors = list[dict[str, str]]
Check = Callable[[Any, str, Errors], Any]
"""Gives the value to keep; appends what is wrong with it, if anything."""

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_TEXTS: Final = cel.NewEnv(variables={"value": cel.Type.STRING})


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "date-time": _is_moment,
    "date": _is_date,
    "uuid": _is_uuid,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "uri": lambda text: _URI.fullmatch(text) is not None,
}


def pattern_mistake(pattern: str) -> str | None:
    """Why a pattern cannot be used, or None. RE2 syntax: it never backtracks."""
    try:
        result = _matcher("value.matches(" + _quoted(pattern) + ")")("")
    except RuntimeError as error:
        return str(error)
    return None if isinstance(result, bool) else str(result).partition(": ")[2]


def _matcher(expression: str) -> Callable[[str], Any]:
    program = _TEXTS.compile(expression)
    return lambda text: program.eval(_TEXTS.Activation({"value": text})).value()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def compile_properties(
    schemas: Mapping[str, Mapping[str, Any]],
    *,
    required: frozenset[str],
    keep_undeclared: bool,
    path: str = "properties",
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function from properties as sent to properties as kept. It raises `SchemaViolation` with all mistakes.

    An optional property that is null is absent. Undeclared ones are dropped unless they are to be kept.
    """
    plan = [(name, f"{path}.{name}", compile_check(schema), name in required) for name, schema in schemas.items()]
    declared = frozenset(schemas)

    def accept(properties: Mapping[str, Any]) -> dict[str, Any]:
        errors: Errors = []
        kept: dict[str, Any] = {}
        for name, where, check, needed in plan:
            value = properties.get(name)
            if value is not None:
                kept[name] = check(value, where, errors)
            elif needed:
                errors.append({"path": where, "message": "is required"})
        if errors:
            raise violation(errors)
        if keep_undeclared:
            kept.update((name, value) for name, value in properties.items() if name not in declared)
        return kept

    return accept


def compile_value_check(schema: Mapping[str, Any], path: str) -> Callable[[Any], Any]:
    """As `compile_properties`, for one value."""
    check = compile_check(schema)

    def accept(value: Any) -> Any:
        errors: Errors = []
        kept = check(value, path, errors)
        if errors:
            raise violation(errors)
        return kept

    return accept


def violation(errors: Errors) -> SchemaViolation:
    """The refusal for these mistakes."""
    first = errors[0]
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return SchemaViolation(
        f"{first['path']} {first['message']}{more}",
        path=first["path"],
        expected=first["message"],
        errors=errors[:ERRORS_MAX],
    )


def compile_check(schema: Mapping[str, Any]) -> Check:
    """The check that a resolved schema stands for."""
    checks: list[Check] = []
    if "type" in schema:
        named = schema["type"]
        types = named if isinstance(named, list) else [named]
        options = [_TYPED[each](schema) for each in types]
        checks.append(options[0] if len(options) == 1 else _any_of(options))
    if "enum" in schema or "const" in schema:
        checks.append(_one_of_values(schema["enum"] if "enum" in schema else [schema["const"]]))
    for keyword, combine in (("anyOf", _any_of), ("oneOf", _one_of), ("allOf", _all)):
        if keyword in schema:
            checks.append(combine([compile_check(part) for part in schema[keyword]]))
    return checks[0] if len(checks) == 1 else _all(checks)


def _all(checks: list[Check]) -> Check:
    def check(value: Any, path: str, errors: Errors) -> Any:
        for each in checks:
            value = each(value, path, errors)
        return value

    return check


def _any_of(checks: list[Check]) -> Check:
    def check(value: Any, path: str, errors: Errors) -> Any:
        found: Errors = []
        for each in checks:
            found = []
            kept = each(value, path, found)
            if not found:
                return kept
        errors.extend(found)
        return value

    return check


def _one_of(checks: list[Check]) -> Check:
    def check(value: Any, path: str, errors: Errors) -> Any:
        fitting = []
        for each in checks:
            found: Errors = []
            kept = each(value, path, found)
            if not found:
                fitting.append(kept)
        if len(fitting) != 1:
            errors.append(
                {"path": path, "message": f"must fit exactly one of {len(checks)} forms, fits {len(fitting)}"}
            )
            return value
        return fitting[0]

    return check


def _one_of_values(values: list[Any]) -> Check:
    def check(value: Any, path: str, errors: Errors) -> Any:
        if not any(_same(value, each) for each in values):
            listed = ", ".join(map(repr, values[:10]))
            errors.append({"path": path, "message": f"must be one of {listed}"})
        return value

    return check


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _text(schema: Mapping[str, Any]) -> Check:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    fits = FORMATS.get(schema.get("format", ""))
    form = schema.get("format")
    matches = _matcher("value.matches(" + _quoted(schema["pattern"]) + ")") if "pattern" in schema else None

    def check(value: Any, path: str, errors: Errors) -> Any:
        if type(value) is not str:
            errors.append({"path": path, "message": f"must be a string, not {_named(value)}"})
            return value
        if len(value) < shortest:
            errors.append({"path": path, "message": f"must have at least {shortest} characters"})
        if longest is not None and len(value) > longest:
            errors.append({"path": path, "message": f"must have at most {longest} characters"})
        if fits is not None and not fits(value):
            errors.append({"path": path, "message": f"must be a {form}"})
        if matches is not None and matches(value) is not True:
            errors.append({"path": path, "message": f"must match {schema['pattern']}"})
        return value

    return check


def _number(schema: Mapping[str, Any]) -> Check:
    low, high = schema.get("minimum", -NUMBER_MAX), schema.get("maximum", NUMBER_MAX)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    step = Decimal(repr(schema["multipleOf"])) if "multipleOf" in schema else None

    def check(value: Any, path: str, errors: Errors) -> Any:
        kind = type(value)
        if kind is not int and kind is not float:
            errors.append({"path": path, "message": f"must be a number, not {_named(value)}"})
            return value
        if not isfinite(value) if kind is float else False:
            errors.append({"path": path, "message": "must be a finite number"})
            return value
        if not low <= value <= high:
            errors.append(
                {"path": path, "message": f"must be at least {low}" if value < low else f"must be at most {high}"}
            )
        if above is not None and value <= above:
            errors.append({"path": path, "message": f"must be more than {above}"})
        if below is not None and value >= below:
            errors.append({"path": path, "message": f"must be less than {below}"})
        if step is not None and not errors and Decimal(repr(value)) % step:
            errors.append({"path": path, "message": f"must be a multiple of {step}"})
        return value

    return check


def _integer(schema: Mapping[str, Any]) -> Check:
    number = _number(schema)

    def check(value: Any, path: str, errors: Errors) -> Any:
        if type(value) is float and value.is_integer():
            value = int(value)
        elif type(value) is not int:
            errors.append({"path": path, "message": f"must be a whole number, not {_named(value)}"})
            return value
        return number(value, path, errors)

    return check


def _flag(_: Mapping[str, Any]) -> Check:
    def check(value: Any, path: str, errors: Errors) -> Any:
        if type(value) is not bool:
            errors.append({"path": path, "message": f"must be true or false, not {_named(value)}"})
        return value

    return check


def _null(_: Mapping[str, Any]) -> Check:
    def check(value: Any, path: str, errors: Errors) -> Any:
        if value is not None:
            errors.append({"path": path, "message": f"must be null, not {_named(value)}"})
        return value

    return check


def _list(schema: Mapping[str, Any]) -> Check:
    fewest, most = schema.get("minItems", 0), schema.get("maxItems", ITEMS_MAX)
    item = compile_check(schema["items"]) if schema.get("items") else None
    unique = schema.get("uniqueItems", False)

    def check(value: Any, path: str, errors: Errors) -> Any:
        if not isinstance(value, list):
            errors.append({"path": path, "message": f"must be a list, not {_named(value)}"})
            return value
        if not fewest <= len(value) <= most:
            errors.append({"path": path, "message": f"must have {fewest} to {most} items, has {len(value)}"})
            return value
        if unique and any(_same(one, other) for n, one in enumerate(value) for other in value[:n]):
            errors.append({"path": path, "message": "must not repeat an item"})
        return value if item is None else [item(each, f"{path}.{n}", errors) for n, each in enumerate(value)]

    return check


def _object(schema: Mapping[str, Any]) -> Check:
    inner = {name: compile_check(each) for name, each in schema.get("properties", {}).items()}
    required = schema.get("required", ())
    closed = schema.get("additionalProperties") is False

    def check(value: Any, path: str, errors: Errors) -> Any:
        if not isinstance(value, Mapping):
            errors.append({"path": path, "message": f"must be an object, not {_named(value)}"})
            return value
        kept = dict(value)
        for name, each in inner.items():
            if value.get(name) is not None:
                kept[name] = each(value[name], f"{path}.{name}", errors)
        errors.extend(
            {"path": f"{path}.{name}", "message": "is required"} for name in required if value.get(name) is None
        )
        if closed:
            errors.extend(
                {"path": f"{path}.{name}", "message": "is not declared"} for name in value if name not in inner
            )
        return kept

    return check


def _named(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}" if abs(value) <= NUMBER_MAX else "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


_TYPED: Final[dict[str, Callable[[Mapping[str, Any]], Check]]] = {
    "string": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _flag,
    "object": _object,
    "array": _list,
    "null": _null,
}
