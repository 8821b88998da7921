from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rewards.domain.errors import SchemaViolation
from rewards.domain.program.schema_types import compile_properties, compile_value_check, pattern_mistake

STRING = {"type": "string"}
LIST = {"type": "array", "items": {"type": "integer"}, "maxItems": 3, "uniqueItems": True}
PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "value", "kept"),
    [
        (STRING, "x", "x"),
        ({"type": "number"}, 9, 9),
        ({"type": "number"}, 9.5, 9.5),
        ({"type": "integer"}, 9.0, 9),
        ({"type": "boolean"}, False, False),
        ({"type": "string", "format": "date-time"}, "2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ({"enum": ["a", 1]}, 1, 1),
        (LIST, [1, 2.0], [1, 2]),
        ({"type": ["string", "integer"]}, 3, 3),
        ({"anyOf": [STRING, {"type": "boolean"}]}, True, True),
        ({"type": "number", "multipleOf": 0.1}, 0.3, 0.3),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "ABC", "ABC"),
    ],
)
def test_accepted(schema: dict[str, Any], value: Any, kept: Any) -> None:
    found = compile_value_check(schema, "it")(value)
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "number"}, "9", "must be a number, not a string"),
        ({"type": "integer"}, True, "must be a whole number, not true"),
        ({"type": "integer"}, 9.5, "must be a whole number, not the number 9.5"),
        ({"type": "number"}, True, "must be a number, not true"),
        ({"type": "number"}, float("nan"), "must be a finite number"),
        ({"type": "number"}, 2**53, f"must be at most {2**53 - 1}"),
        ({"type": "number"}, 10**400, f"must be at most {2**53 - 1}"),
        ({"type": "number", "minimum": 0}, -0.01, "must be at least 0"),
        ({"type": "number", "exclusiveMaximum": 5}, 5, "must be less than 5"),
        ({"type": "number", "multipleOf": 0.1}, 0.35, "must be a multiple of 0.1"),
        ({"type": "string", "maxLength": 2}, "abc", "must have at most 2 characters"),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "abc", "must match ^[A-Z]{3}$"),
        ({"type": "string", "format": "date-time"}, "2026-11-21T10:00:00", "must be a date-time"),
        ({"type": "string", "format": "date"}, "2026-02-30", "must be a date"),
        ({"type": "string", "format": "email"}, "nobody", "must be a email"),
        ({"type": "boolean"}, 1, "must be true or false, not the number 1"),
        ({"enum": [1]}, True, "must be one of 1"),
        ({"const": False}, 0, "must be one of False"),
        (LIST, [1, 2, 3, 4], "must have 0 to 3 items, has 4"),
        (LIST, [1, 1], "must not repeat an item"),
        ({"oneOf": [STRING, {"type": "string", "maxLength": 3}]}, "abc", "must fit exactly one of 2 forms, fits 2"),
    ],
)
def test_refused(schema: dict[str, Any], value: Any, message: str) -> None:
    with pytest.raises(SchemaViolation) as caught:
        compile_value_check(schema, "it")(value)
    assert caught.value.details["errors"] == [{"path": "it", "message": message}]


def test_all_mistakes_at_once() -> None:
    accept = compile_properties(
        {"id": STRING, "list": LIST, "who": PERSON, "n": {"type": "integer"}},
        required=frozenset({"id"}),
        keep_undeclared=False,
    )
    with pytest.raises(SchemaViolation) as caught:
        accept({"list": [1, "2"], "who": {"age": "9", "x": 1}, "n": None})
    assert [error["path"] for error in caught.value.details["errors"]] == [
        "properties.id",
        "properties.list.1",
        "properties.who.age",
        "properties.who.name",
        "properties.who.x",
    ]


@pytest.mark.parametrize(("keep", "kept"), [(False, {"id": "x"}), (True, {"id": "x", "more": [1]})])
def test_undeclared(keep: bool, kept: dict[str, Any]) -> None:
    accept = compile_properties({"id": STRING, "no": STRING}, required=frozenset(), keep_undeclared=keep)
    assert accept({"id": "x", "more": [1], "no": None}) == kept


@pytest.mark.parametrize(("pattern", "ok"), [("^a+$", True), ("(a", False), ("(?=a)", False), ('"\\d"', True)])
def test_pattern(pattern: str, ok: bool) -> None:
    assert (pattern_mistake(pattern) is None) is ok


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-100, 100), st.floats(-100, 100), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "name", "age"]), inner, max_size=3)
    ),
    max_leaves=8,
)
SCHEMAS = st.sampled_from(
    [
        {"type": "string", "minLength": 2},
        {"type": "integer", "minimum": 3},
        {"type": ["number", "null"], "exclusiveMinimum": 0},
        {"type": "boolean"},
        LIST,
        PERSON | {"additionalProperties": True},
        {"anyOf": [{"type": "integer"}, {"type": "array", "minItems": 1}]},
        {"allOf": [{"type": "number"}, {"type": "integer", "maximum": 50}]},
        {"enum": ["a", 1, None, False]},
    ]
)


@settings(max_examples=400, deadline=None)
@given(schema=SCHEMAS, value=VALUES)
def test_agrees_with_the_reference_validator(schema: dict[str, Any], value: Any) -> None:
    """But for absence: to us a null inside an object is an absent field."""
    if isinstance(value, dict) and None in value.values():
        return
    try:
        compile_value_check(schema, "it")(value)
        accepted = True
    except SchemaViolation:
        accepted = False
    assert accepted == Draft202012Validator(schema).is_valid(value)
