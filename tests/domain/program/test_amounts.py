from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.program.given import SCOPE, Given, bound

from rewards.domain.ledger.entry import AmountOverflow
from rewards.domain.play.actions import points
from rewards.domain.program.amounts import always, compile_amount
from rewards.domain.program.compiled import EarnAction, Missing, Rounding
from rewards.domain.program.expressions.nodes import ExpressionError


def compute(source: str | int, event: dict[str, Any]) -> Decimal | Missing:
    amount = compile_amount(source, SCOPE)
    return amount.compute(bound(amount.needs, Given(event)))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (5, "5"),
        (0, "0"),
        ("event.total", "0.1"),
        ("event.total + 0.2", "0.3"),  # not 0.30000000000000004
        ("event.total * 3", "0.3"),
        ("event.a * 1.1", "110.0"),
        ("event.a - 1 - 2", "97"),
        ("event.a / 8", "12.5"),
        ("-event.a + 200", "100"),
        ("(event.a + 1) * 2", "202"),
        ("min(event.a, 20) + max(1, event.total)", "21"),
        ("event.gift ? 2 : 3", "2"),
        ("has(event.coupon) ? 2 : 3", "3"),
        ("size(event.items) * 5", "10"),
        ("metrics.orders + balances.points", "10"),
        ("2 * 3", "6"),
    ],
)
def test_amount(source: str | int, expected: str) -> None:
    event = {"total": 0.1, "a": 100, "gift": True, "items": [1, 2]}
    assert compute(source, event) == Decimal(expected)


@pytest.mark.parametrize(
    ("source", "value", "missing"),
    [
        ("event.a", None, Missing("event.a")),
        ("event.a", float("nan"), Missing("event.a", "not a finite number")),
        ("event.a", float("inf"), Missing("event.a", "not a finite number")),
        ("event.a", "7", Missing("event.a", "not a finite number")),
        ("event.a", True, Missing("event.a", "not a finite number")),
        ("event.a - 8", 7, Missing("event.a", "negative")),
        ("1 / (event.a - 7)", 7, Missing("event.a", "division by zero")),
        ("event.coupon == 'x' ? event.a : 1", 7, Missing("event.coupon")),
        ("1 / 0 + event.a", 7, Missing("event.a", "division by zero")),
    ],
)
def test_no_amount(source: str, value: Any, missing: Missing) -> None:
    assert compute(source, {"a": value}) == missing


@pytest.mark.parametrize(
    ("source", "offset"),
    [
        ("event.category", 6),
        ("'5'", 0),
        ("event.a > 3", 8),
        ("event.a % 3", 8),
        ("floor(event.a)", 0),
        ("event.items[0].price", 15),
        ("event.nope", 6),
        ("1 - 3", 0),
        ("1 / 0", 0),
        (-1, 0),
        (float("nan"), 0),
        ("event.category == 'x' ? 'a' : 1", 24),
    ],
)
def test_what_is_no_amount(source: Any, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_amount(source, SCOPE)
    assert caught.value.offset == offset


CENTS = st.integers(0, 10**12)


@settings(max_examples=200, deadline=None)
@given(one=CENTS, other=CENTS)
def test_money_is_added_exactly(one: int, other: int) -> None:
    """Decimal fractions that binary floating point cannot hold add up as on paper."""
    event = {"a": float(f"{one}e-2"), "b": float(f"{other}e-2")}
    assert compute("event.a + event.b", event) == Decimal(one + other).scaleb(-2)


def earning(source: str | int, rate: str, rounding: str, *, prepared: bool) -> EarnAction:
    amount = compile_amount(source, SCOPE)
    told = always(amount, Decimal(rate), Rounding(rounding)) if prepared else None
    return EarnAction("points", amount, Decimal(rate), Rounding(rounding), None, None, False, None, always=told)


@pytest.mark.parametrize(
    ("source", "rate", "rounding", "expected"),
    [
        (5, "1.0", "down", 5),
        (0, "1.0", "up", 0),
        (5, "0.5", "down", 2),
        (5, "0.5", "up", 3),
        (5, "0.5", "half_up", 3),
        (5, "0.5", "half_even", 2),
        ("2 * 3.5", "1", "down", 7),
        ("300 / 3 / 3 * 3", "1", "down", 100),  # thirds come together again before they are rounded
        (2**53 - 1, "1", "down", 2**53 - 1),
        ("event.a * 2", "1", "down", None),
        (2**53, "1", "down", None),
    ],
)
def test_a_constant_is_computed_once(source: str | int, rate: str, rounding: str, expected: int | None) -> None:
    prepared, computed = (earning(source, rate, rounding, prepared=each) for each in (True, False))
    assert prepared.always == expected
    facts = bound(compile_amount(source, SCOPE).needs, Given({"a": 4}))
    if expected is not None:
        assert points(prepared, facts) == points(computed, facts) == expected


def test_a_constant_too_large_to_be_paid_is_refused_when_it_fires() -> None:
    with pytest.raises(AmountOverflow):
        points(earning(2**53, "1", "down", prepared=True), bound(compile_amount(1, SCOPE).needs, Given({})))
