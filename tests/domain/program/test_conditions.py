from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.program.given import SCOPE, Given, bound

from rewards.domain.program.compiled import Missing
from rewards.domain.program.conditions import compile_condition
from rewards.domain.program.expressions.nodes import ExpressionError
from rewards.domain.program.values import compile_value

EVENT = {
    "total": 50,  # JSON without a decimal point, in a number field
    "dwell_seconds": 42.5,
    "category": "audio",
    "gift": True,
    "started_at": "2026-11-20T12:00:00Z",
    "items": [{"sku": "a", "price": 3}, {"sku": "b", "price": 50.5}],
    "sizes": [1, 2.5],
    "address": {"city": "Bath", "floor": 2},
}


def test_of(source: str, event: dict[str, Any]) -> bool | Missing:
    condition = compile_condition(source, SCOPE)
    return condition.test(bound(condition.needs, Given(event)))


test_of.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("event.dwell_seconds > 30", True),
        ("event.total > 30", True),
        ("event.total * 10 == 500", True),
        ("event.total * 1.5 == 75", True),
        ("1.5 * event.total + 1 - 2 == 74", True),
        ("event.total / 3 > 16.6", True),
        ("7 / 2 == 3.5", True),
        ("event.total % 7 == 1", True),
        ("-event.total < -49", True),
        ("!(event.total < 30)", True),
        ("event.total - -1 == 51", True),
        ("event.total == 50", True),
        ("event.total in [1, 50]", True),
        ("size(event.items) > 2", False),
        ("size(event.items) == 2 && event.items.size() * 1.5 == 3", True),
        ("event.items[1].price > 50", True),
        ("event.items[0].price * 1.5 == 4.5", True),
        ("event.items.exists(item, item.price > 50)", True),
        ("event.items.all(item, item.price > 50)", False),
        ("event.items.filter(item, item.price > 3).size() == 1", True),
        ("event.items.map(item, item.price * 2).exists(price, price == 6)", True),
        ("event.items.exists_one(item, item.sku == 'a')", True),
        ("2.5 in event.sizes && event.sizes[0] == 1", True),
        ("event.sizes.all(size, size < 3)", True),
        ('event.address.city == "Bath" && event.address.floor + 1 == 3', True),
        ("has(event.address.city) && !has(event.address.street)", True),
        ("has(event.total) && !has(event.coupon)", True),
        ('event.?coupon.orValue("none") == "none"', True),
        ('event.?category.orValue("none") == "audio"', True),
        ("event.?coupon.hasValue()", False),
        ('"gold" in member.segments', True),
        ('!("silver" in member.segments)', True),
        ("metrics.orders >= 3 && balances.points == 7", True),
        ("event.gift ? event.total > 40 : event.total > 60", True),
        ('event.category.startsWith("au") && event.category.matches("^a.*o$")', True),
        ('event.category.substring(0, 2) == "au" && event.category.indexOf("d") == 2', True),
        ('event.category + "!" == "audio!"', True),
        ('string(event.total) == "50"', True),
        ("max(event.total, 60) == 60 && min(1, event.total) == 1", True),
        ("math.floor(event.dwell_seconds) == 42 && round(event.dwell_seconds) == 43", True),
        ('at - event.started_at == duration("1d") && at - event.started_at < duration("7d")', True),
        ('at > timestamp("2026-11-21T11:00:00Z")', True),
        ('at.getHours("Europe/Berlin") + 1 == 14', True),
        ('context.hour == 13 && context.weekday == "saturday" && context.local_time == "13:00"', True),
        ('context.date == "2026-11-21"', True),
        ("true || event.coupon == 'x'", True),  # decided without the missing field
        ("event.coupon == 'x' || true", True),
        ("event.coupon == 'x' && false", False),
        ("// a remark\n event.total > 30 // another", True),
        ("0x10 == 16 && 1e1 == 10 && .5 == 0.5", True),
        ("{'a': 1}.a == 1", True),
        (r'''"it\'s \u00e9\x21" == "it's é!"''', True),
        (r'r"\d" == "\\d" && event.category.matches(r"^\w+$")', True),
    ],
)
def test_condition(source: str, expected: bool) -> None:
    assert test_of(source, EVENT) is expected


@pytest.mark.parametrize(
    ("source", "field", "why"),
    [
        ("event.coupon == 'x'", "event.coupon", "missing"),
        ("event.gift && event.coupon == 'x'", "event.coupon", "missing"),
        ("!(event.coupon == 'x')", "event.coupon", "missing"),
        ("member.tier == 'gold'", "member.tier", "missing"),
        ("metrics.favorite == 'x'", "metrics.favorite", "missing"),
        ("context.device == 'ios'", "context.device", "missing"),
        ("event.address.street == 'x'", "event.address", 'Key not found in map : "street"'),
        ("event.total / (event.total - 50) > 1", "event.total", "division by zero"),
        ("event.items[7].price > 1", "event.items", "Index error: index=7 size=2"),
    ],
)
def test_undecided(source: str, field: str, why: str) -> None:
    assert test_of(source, EVENT) == Missing(field, why)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (50, True),
        (50.0, True),
        ("50", Missing("event.total", "of another type than declared")),
        ([50], Missing("event.total", "of another type than declared")),
        (None, Missing("event.total", "missing")),
    ],
)
def test_a_value_that_no_schema_has_seen(value: Any, expected: bool | Missing) -> None:
    assert test_of("event.total > 30", {"total": value}) == expected


@pytest.mark.parametrize(
    ("source", "offset", "code", "near"),
    [
        ("event.catgory == 'x'", 6, "unknown-field", "event.category"),
        ("category == 'x'", 0, "unknown-field", "event.category"),
        ("evnt.total > 3", 5, "unknown-field", "event.total"),
        ("metrics.order > 3", 8, "unknown-field", "metrics.orders"),
        ("event > 3", 0, "unknown-field", None),
        ("event.torn > 3", 6, "type-conflict", None),
        ("sizee(event.items) > 2", 0, "unknown-function", "size"),
        ("event.items.exist(i, true)", 12, "unknown-function", "exists"),
        ("size(event.items, 1) > 2", 0, "arguments", None),
        ("event.total > 'x'", 12, "type", None),
        ("event.total == null", 12, "type", None),
        ("event.gift + 1 > 2", 11, "type", None),
        ("event.total", 0, "type", None),
        ("event.total = 3", 12, "syntax", "=="),
        ("event.total > 3 and event.gift", 16, "syntax", "&&"),
        ("event.total >", 13, "syntax", None),
        ("size(event.items", 16, "syntax", None),
        ("event.category == 'x", 18, "syntax", None),
        ("event.?coupon == 'x'", 7, "syntax", None),
        (r"event.category == 'a\*b'", 20, "syntax", None),
        (r"event.category == '\ud800'", 18, "syntax", None),
        ("event.category.replace('a', 'aaaa') == ''", 15, "unknown-function", None),
        ("  ", 0, "empty", None),
        ("event.category.matches('(a')", 23, "pattern", None),
        ("at - event.started_at > duration('7 days')", 33, "duration", None),
        ("event.items.exists(event, true)", 19, "name", None),
        ("event.items[0.5].price > 3", 12, "type", None),
        ("event.total > 1e999", 14, "too-large", None),
        ("event.items.exists(a, event.items.exists(b, event.items.exists(c, true)))", 56, "too-deep", None),
        ("(" * 40 + "true" + ")" * 40, 25, "too-deep", None),
        ("!" * 100 + "true", 25, "too-deep", None),
        ("1" + " + 1" * 60 + " > 3", 0, "too-deep", None),
        ("event.total in [" + "1, " * 200 + "1]", 317, "too-long", None),
        ("event.total > 1 || " * 200 + "true", 2000, "too-long", None),
    ],
)
def test_mistake(source: str, offset: int, code: str, near: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(source, SCOPE)
    assert (caught.value.offset, caught.value.code, caught.value.near) == (offset, code, near)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("balances.points.available > 1", "this is a number, which has no fields"),
        ("event.category.name == 'x'", "this is a text, which has no fields"),
        ("event.items.price > 1", "this is a list, which has no fields"),
        ("at.hour > 1", "this is a timestamp, which has no fields"),
        ("event.total > 'x'", "> does not work between number and text"),
    ],
)
def test_mistakes_are_told_in_the_words_of_authors(source: str, told: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(source, SCOPE)
    assert caught.value.message == told


def test_a_long_chain_of_alternatives_is_no_nesting() -> None:
    assert test_of(" || ".join(f"event.total == {n}" for n in range(1, 80)), EVENT) is True


def test_what_a_condition_saw() -> None:
    condition = compile_condition(
        'event.total > 30 && event.coupon == "x" && at < timestamp("2027-01-01T00:00:00Z")', SCOPE
    )
    assert condition.fields == ("event.total", "event.coupon", "at")
    seen = condition.seen(bound(condition.needs, Given(EVENT)))
    assert seen == {"event.total": 50, "at": "2026-11-21T12:00:00+00:00"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("event.total", 50),
        ("event.dwell_seconds", 42.5),
        ("event.total * 2", 100),
        ('"order:" + event.category', "order:audio"),
        ("event.sizes", [1, 2.5]),
        ("event.started_at", "2026-11-20T12:00:00+00:00"),
        ("event.total > 30", True),
        ("event.coupon", Missing("event.coupon")),
        ("event.coupon + '!'", Missing("event.coupon")),
    ],
)
def test_value(source: str, expected: Any) -> None:
    value = compile_value(source, SCOPE)
    assert value.read(bound(value.needs, Given(EVENT))) == expected


NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1000, 1000, allow_nan=False).map(lambda x: round(x, 3)))
TERMS = st.recursive(
    st.one_of(
        st.sampled_from(["event.a", "event.b", "event.c"]),
        st.integers(0, 100).map(str),
        st.floats(0, 100).map(lambda x: repr(round(x, 2))),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
        inner.map(lambda part: f"-{part}" if not part.startswith("-") else part),
        st.tuples(inner, inner).map(lambda parts: f"max({parts[0]}, {parts[1]})"),
    ),
    max_leaves=12,
)


class Event:
    def __init__(self, **values: float) -> None:
        self.__dict__.update(values)


@settings(max_examples=300, deadline=None)
@given(
    left=TERMS,
    right=TERMS,
    operator=st.sampled_from(["<", "<=", "==", "!=", ">", ">="]),
    values=st.tuples(NUMBERS, NUMBERS, NUMBERS),
)
def test_arithmetic_agrees_with_python(
    left: str, right: str, operator: str, values: tuple[float, float, float]
) -> None:
    """Whatever mix of whole and broken numbers the author and the event write, what is checked is what is computed."""
    source = f"{left} {operator} {right}"
    event = dict(zip("abc", values, strict=True))
    expected = eval(source, {"max": max, "event": Event(**{key: float(value) for key, value in event.items()})})  # noqa: S307
    assert test_of(source, event) is expected
