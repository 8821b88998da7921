"""Amounts: arithmetic in decimal over numbers and fields, never in binary floating point."""

from __future__ import annotations

from collections.abc import Callable
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import Any, Final

from rewards.domain.program.binding import BoundFacts, Needs, Plan
from rewards.domain.program.compiled import Bound, Missing, Rounding
from rewards.domain.program.conditions import CelCondition, compile_condition
from rewards.domain.program.expressions.fields import WHOLE_MAX, Field, Kind
from rewards.domain.program.expressions.nodes import (
    Binary,
    Call,
    Choice,
    ExpressionError,
    Name,
    Node,
    Number,
    Select,
    Unary,
)
from rewards.domain.program.expressions.resolve import Resolver
from rewards.domain.program.expressions.scope import Scope
from rewards.domain.program.expressions.syntax import parse

ARITHMETIC: Final = Context(
    prec=50, rounding=ROUND_HALF_EVEN, Emin=-999, Emax=999, traps=[DivisionByZero, InvalidOperation, Overflow]
)
_GUARDED: Final = Context(prec=28)
"""Fewer digits than amounts are computed with, so that a third of 300 taken three times is 300 before it is rounded."""
_ROUNDING: Final = {
    Rounding.DOWN: ROUND_DOWN,
    Rounding.UP: ROUND_CEILING,
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
}
_Compute = Callable[[BoundFacts], Decimal]


class _Undecided(Exception):
    def __init__(self, missing: Missing) -> None:
        super().__init__()
        self.missing = missing


class DecimalAmount:
    """Implements `compiled.Amount`.

    `compute` gives a finite Decimal >= 0, or `Missing` naming the field and why: absent, not a number, not finite,
    negative, or divided by zero. It never raises.
    """

    __slots__ = ("_compute", "constant", "fields", "needs", "source")

    def __init__(self, source: str, needs: Needs, compute: _Compute, constant: Decimal | None) -> None:
        self.source = source
        self.needs = needs
        self.fields = needs.names
        self.constant = constant
        self._compute = compute

    def compute(self, bound: Bound) -> Decimal | Missing:
        if self.constant is not None:
            return self.constant
        assert isinstance(bound, BoundFacts)
        first = self.fields[0] if self.fields else self.source
        try:
            value = self._compute(bound)
        except _Undecided as undecided:
            return undecided.missing
        except DivisionByZero:
            return Missing(first, "division by zero")
        except (InvalidOperation, Overflow):
            return Missing(first, "not a number that can be counted")
        if not value.is_finite():
            return Missing(first, "not a finite number")
        return Missing(first, "negative") if value < 0 else value


def rated(amount: Decimal, rate: Decimal) -> Decimal:
    """The amount at a rate, before it is rounded."""
    return _GUARDED.multiply(amount, rate)


def rounded(value: Decimal, rounding: Rounding) -> int:
    """The whole points of a finite amount."""
    return int(value.to_integral_value(_ROUNDING[rounding]))


def always(amount: DecimalAmount, rate: Decimal, rounding: Rounding) -> int | None:
    """The points of an amount that no facts change; None where they do, or where it is too large to be paid."""
    if amount.constant is None:
        return None
    value = rated(amount.constant, rate)
    return rounded(value, rounding) if 0 <= value <= WHOLE_MAX else None


def exact(value: Any) -> Decimal | None:
    """The decimal that a JSON number was written as, or None for what is not a number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal | int):
        return Decimal(value)
    return Decimal(repr(value)) if isinstance(value, float) else None


def compile_amount(source: str | float, scope: Scope) -> DecimalAmount:
    """Raises `ExpressionError` for what is not arithmetic."""
    if not isinstance(source, str):
        value = exact(source)
        if value is None or not value.is_finite() or value < 0:
            raise ExpressionError("an amount is a number >= 0", 0, code="amount")
        return DecimalAmount(str(source), Needs(), lambda _: value, value)
    builder = _Builder(source, scope)
    compute = builder.build(parse(source))
    needs = Needs(builder.reads, builder.asks)
    amount = DecimalAmount(source, needs, compute, None)
    if needs.names:
        return amount
    constant = amount.compute(BoundFacts("", {}, Plan(scope.engine, ())))
    if isinstance(constant, Missing):
        raise ExpressionError(f"this amount is {constant.why}", 0, code="amount")
    return DecimalAmount(source, needs, compute, constant)


class _Builder:
    def __init__(self, source: str, scope: Scope) -> None:
        self._source = source
        self._scope = scope
        self._names = Resolver(scope)
        self.reads: dict[str, Field] = {}
        self.asks: dict[str, Field] = {}

    def build(self, node: Node) -> _Compute:
        if isinstance(node, Number):
            value = node.value
            return lambda _: value
        if isinstance(node, Name | Select):
            return self._field(node)
        if isinstance(node, Unary) and node.operator == "-":
            operand = self.build(node.operand)
            return lambda bound: ARITHMETIC.minus(operand(bound))
        if isinstance(node, Binary) and node.operator in _OPERATIONS:
            left, right, operate = self.build(node.left), self.build(node.right), _OPERATIONS[node.operator]
            return lambda bound: operate(left(bound), right(bound))
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Choice):
            return self._choice(node)
        raise ExpressionError(
            "an amount is made of numbers, fields, + - * / ( ), min, max and `? :`", node.start, code="amount"
        )

    def _field(self, node: Name | Select) -> _Compute:
        found = self._names.field(node)
        if found is None or found.kind not in {Kind.NUMBER, Kind.ANY}:
            kind = found.kind if found else "part of an object"
            raise ExpressionError(f"an amount needs a number, this is {kind}", node.start, code="amount")
        self.reads[found.name] = found
        name, variable = found.name, found.variable

        def compute(bound: BoundFacts) -> Decimal:
            raw = bound.values.get(variable)
            if raw is None:
                raise _Undecided(Missing(name))
            value = exact(raw)
            if value is None or not value.is_finite():
                raise _Undecided(Missing(name, "not a finite number"))
            return value

        return compute

    def _call(self, node: Call) -> _Compute:
        if node.target is None and node.function == "size" and len(node.args) == 1:
            return self._size(node.args[0])
        choose = {"min": min, "max": max}.get(node.function) if node.target is None else None
        if choose is None or not node.args:
            raise ExpressionError("an amount may call min, max and size only", node.start, code="amount")
        parts = [self.build(argument) for argument in node.args]
        pick: Callable[[list[Decimal]], Decimal] = choose
        return lambda bound: pick([part(bound) for part in parts])

    def _size(self, node: Node) -> _Compute:
        found = self._names.field(node)
        if found is None or found.kind not in _SIZED:
            raise ExpressionError("size needs a list or a text here", node.start, code="amount")
        self.reads[found.name] = found
        name, variable = found.name, found.variable

        def compute(bound: BoundFacts) -> Decimal:
            value = bound.values.get(variable)
            if not isinstance(value, list | str | dict):
                raise _Undecided(Missing(name))
            return Decimal(len(value))

        return compute

    def _choice(self, node: Choice) -> _Compute:
        condition = self._condition(node.when)
        yes, no = self.build(node.yes), self.build(node.no)

        def compute(bound: BoundFacts) -> Decimal:
            chosen = condition.test(bound)
            if isinstance(chosen, Missing):
                raise _Undecided(chosen)
            return yes(bound) if chosen else no(bound)

        return compute

    def _condition(self, node: Node) -> CelCondition:
        condition = compile_condition(self._source, self._scope, node=node)
        self.reads.update(condition.needs.reads)
        self.asks.update(condition.needs.asks)
        return condition


_SIZED: Final = frozenset({Kind.TEXT, Kind.ITEMS, Kind.TEXTS, Kind.NUMBERS, Kind.OBJECT})
_OPERATIONS: Final[dict[str, Callable[[Decimal, Decimal], Decimal]]] = {
    "+": ARITHMETIC.add,
    "-": ARITHMETIC.subtract,
    "*": ARITHMETIC.multiply,
    "/": ARITHMETIC.divide,
}
