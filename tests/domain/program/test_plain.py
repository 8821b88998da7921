"""Conditions that Python decides: which they are, and that they answer exactly as the engine does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.domain.program.given import FIELDS, SCOPE, Given
from tests.properties import explored

from rewards.domain.program.binding import BoundFacts, Plan
from rewards.domain.program.compiled import Missing
from rewards.domain.program.conditions import CelCondition, PlainCondition, compile_condition
from rewards.domain.program.expressions.engine import compile_expression
from rewards.domain.program.expressions.scope import Engine
from rewards.domain.program.expressions.syntax import parse


@pytest.mark.parametrize(
    "source",
    [
        "event.total > 30",
        "30 < event.total",
        "event.total == event.dwell_seconds",
        "-event.total < -49.5",
        "event.a + event.b * 2 - 1 > event.c",
        "event.total in [1, -2, 50.5]",
        "event.a + 1 in []",
        'event.category == "audio"',
        'event.category < event.coupon && event.category >= "b"',
        'event.category in ["audio", "books"]',
        'event.category.startsWith("au") || event.coupon.endsWith(event.category)',
        '!event.category.contains("é")',
        "event.gift",
        "event.gift == true && event.gift != (event.a > 1)",
        '"gold" in member.segments',
        "member.tier in member.segments",
        "has(event.coupon) && !has(member.tier) && has(event.items)",
        "event.?coupon.hasValue()",
        'event.?coupon.orValue("none") == "none"',
        "event.?a.orValue(1) + 1 > 2",
        "event.gift ? event.a > 1 : event.b > 1",
        "metrics.orders >= 3 || balances.points == 7 || context.hour > 8",
        'context.weekday in ["saturday", "sunday"] && context.local_time < "13:00"',
        "true || 1 > 2 // nothing to read",
        " || ".join(f"event.total == {number}" for number in range(80)),
    ],
)
def test_decided_in_python(source: str) -> None:
    assert isinstance(compile_condition(source, SCOPE), PlainCondition)


@pytest.mark.parametrize(
    "source",
    [
        "event.total / 2 > 1",
        "event.total % 7 == 1",
        "max(event.a, event.b) > 1",
        "size(event.items) > 2",
        "event.items[0].price > 1",
        "event.items.exists(item, item.price > 3)",
        "2.5 in event.sizes",
        "event.a in [event.b]",
        "event.gift in [true]",
        'event.address.city == "Bath"',
        "has(event.address.city)",
        'event.address.?city.orValue("") == ""',
        'event.category.matches("^a")',
        'event.category + "!" == "audio!"',
        'event.category.lowerAscii() == "audio"',
        'at > timestamp("2026-11-21T11:00:00Z")',
        "event.started_at == at",
        'member.segments == ["gold"]',
        "event.items == event.items",
        "[1] == [1]",
        "event.gift && event.total / 2 > 1",  # one part that takes the engine takes it for all
    ],
)
def test_left_to_the_engine(source: str) -> None:
    assert type(compile_condition(source, SCOPE)) is CelCondition


NUMBERS = ["event.a", "event.b", "event.c", "metrics.orders"]
TEXTS = ["event.category", "event.coupon", "member.tier"]
FLAGS = ["event.gift", "member.segments"]
LITERALS = ["0", "1", "-1", "2.5", "0.0", "-0.0", "9007199254740992", "9007199254740993", "1e300"]
QUOTED = ["''", "'a'", "'A'", "'é'", "'\\u00e9\\n'", "'\\uffff'", "'\\U00010000'", "'gold'"]

number = st.recursive(
    st.one_of(
        st.sampled_from(NUMBERS),
        st.sampled_from(LITERALS),
        st.builds("event.?{}.orValue({})".format, st.sampled_from("abc"), st.sampled_from(LITERALS)),
    ),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner), st.builds("-({})".format, inner)
    ),
    max_leaves=4,
)
text = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(QUOTED),
    st.builds("event.?coupon.orValue({})".format, st.sampled_from(QUOTED)),
)
comparison = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


def listed(items: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(items), max_size=3).map(lambda chosen: f"[{', '.join(chosen)}]")


flag = st.recursive(
    st.one_of(
        st.sampled_from(["true", "false", "event.gift", "event.?gift.orValue(false)", "event.?a.hasValue()"]),
        st.sampled_from([*NUMBERS, *TEXTS, *FLAGS]).map("has({})".format),
        st.builds("({} {} {})".format, number, comparison, number),
        st.builds("({} {} {})".format, text, comparison, text),
        st.builds("({} in {})".format, number, listed(LITERALS)),
        st.builds("({} in {})".format, text, listed(QUOTED)),
        st.builds("({} in member.segments)".format, text),
        st.builds("{}.{}({})".format, text, st.sampled_from(["startsWith", "endsWith", "contains"]), text),
    ),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
        st.builds("({} {} {})".format, inner, comparison, inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=8,
)

a_number = st.sampled_from(
    [
        *(0, 1, -1, 2, 2.5, -0.0, 1.0),
        *(2**53, 2**53 + 1, -(2**53) - 1, 2**70, 10**400),
        *(math.nan, math.inf, 1e308, 5e-324),
    ]
)
a_text = st.sampled_from(
    ["", "a", "A", "é", "é\n", "\uffff", "\U00010000", "gold", "gold\0", "\0", "\ud800", "a\udfff"]
)
anything = st.one_of(a_number, a_text, st.sampled_from([True, False, [], ["a"], {}, {"a": 1}]))


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """As declared, absent, or now and then of another type."""
    return st.one_of(usual, usual, usual, st.none(), st.none(), anything)


facts = st.fixed_dictionaries(
    {
        **dict.fromkeys(NUMBERS, mostly(a_number)),
        **dict.fromkeys(TEXTS, mostly(a_text)),
        "event.gift": mostly(st.booleans()),
        "member.segments": mostly(st.lists(st.one_of(a_text, a_text, a_text, anything), max_size=3)),
    }
)


@explored(given(source=flag, facts=facts), few=150, at_length=1_000)
@example(source="(event.a == event.b)", facts={"event.a": 2**53, "event.b": 2**53 + 1})  # one double
@example(source="(event.category == 'gold')", facts={"event.category": "gold\0"})  # the engine stops at the NUL
@example(source="(event.coupon == event.category)", facts={"event.category": "\ud800"})
@example(source="((event.a > 1) && (event.b > 1)) || (event.coupon == 'a')", facts={"event.coupon": "b"})
@example(source="(event.a > 1) && (event.b > 1) && (event.gift)", facts={"event.gift": False})
@example(source="(event.a > 1) || event.gift", facts={"event.a": True, "event.gift": 1})
def test_the_answer_is_the_engines(source: str, facts: Mapping[str, Any]) -> None:
    def of(root: str) -> dict[str, Any]:
        return {name.partition(".")[2]: value for name, value in facts.items() if name.startswith(root)}

    condition = compile_condition(source, SCOPE)
    assert isinstance(condition, PlainCondition)
    plan = Plan(SCOPE.engine, [condition.needs])
    values = plan.snapshot(Given(of("event"), member=of("member"), metrics=of("metrics")))
    engine = CelCondition(compile_expression(source, SCOPE))
    expected = engine.test(BoundFacts("event", values, plan))
    assert condition.test(BoundFacts("event", values, plan)) == expected


def test_a_segment_that_is_written_out() -> None:
    inline = {"rich": parse("event.total > 30"), "big": parse("size(event.items) > 1")}.get
    plain = compile_condition('"rich" in member.segments && "gold" in member.segments', SCOPE, inline=inline)
    assert isinstance(plain, PlainCondition)
    assert decide(plain, {"total": 50}) is True
    assert decide(plain, {"total": 3}) is False
    assert decide(plain, {}) == Missing("event.total")
    assert type(compile_condition('"big" in member.segments', SCOPE, inline=inline)) is CelCondition


class _Activated(Exception):
    pass


class _Idle(Engine):
    def activation(self, values: Mapping[str, Any]) -> NoReturn:  # noqa: ARG002 - the engine's signature
        raise _Activated


IDLE = _Idle(FIELDS)


def decide(condition: CelCondition, event: dict[str, Any]) -> bool | Missing:
    """By a snapshot that the engine never gets to see."""
    plan = Plan(IDLE, [condition.needs])
    return condition.test(BoundFacts("event", plan.snapshot(Given(event)), plan))


@pytest.mark.parametrize(
    ("source", "event", "expected"),
    [
        ("event.total > 30 && event.category == 'é'", {"total": 50, "category": "é"}, True),
        ("event.total > 30 && event.category == 'a'", {"total": 50}, Missing("event.category")),
        ("event.total > 30 || '\\n' == event.category", {"total": 2.5, "category": "\n"}, True),
        ("'gold' in member.segments", {}, True),
    ],
)
def test_usual_values_never_reach_the_engine(source: str, event: dict[str, Any], expected: bool | Missing) -> None:
    assert decide(compile_condition(source, SCOPE), event) == expected


@pytest.mark.parametrize(
    "event", [{"total": "50"}, {"total": 2**53}, {"total": 10**400}, {"total": True}, {"category": "a\0"}]
)
def test_unusual_values_do(event: dict[str, Any]) -> None:
    with pytest.raises(_Activated):
        decide(compile_condition("event.total > 30 || event.category == 'a'", SCOPE), event)
