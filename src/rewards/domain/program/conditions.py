"""Conditions: checked CEL of type bool. An absent field makes one undecided (`Missing`), never false.

All are checked by the engine; simple ones are then decided without it.
"""

from __future__ import annotations

from typing import Any, Final

from cel_expr_python import cel

from rewards.domain.program.binding import BoundFacts, Needs
from rewards.domain.program.compiled import Bound, Missing
from rewards.domain.program.expressions.engine import Compiled, compile_expression, failure
from rewards.domain.program.expressions.fields import Kind, plain
from rewards.domain.program.expressions.nodes import ExpressionError, Node
from rewards.domain.program.expressions.plain import Test, Unusual, plain_test
from rewards.domain.program.expressions.promote import Inline
from rewards.domain.program.expressions.scope import Scope

_ERROR = cel.Type.ERROR
_JSON: Final = frozenset({str, int, bool})


class CelCondition:
    """Implements `compiled.Condition` by evaluation in the engine."""

    __slots__ = ("_eval", "_seen", "fields", "needs", "source")

    def __init__(self, compiled: Compiled) -> None:
        self.source = compiled.source
        self.needs = Needs(compiled.promoted.fields, compiled.promoted.presence)
        self.fields = self.needs.names
        self._eval = compiled.program.eval
        self._seen = [(field.name, field.variable) for field in {**self.needs.reads, **self.needs.asks}.values()]

    def test(self, bound: Bound) -> bool | Missing:
        """True, false, or the field for want of which it cannot be said."""
        assert isinstance(bound, BoundFacts)
        first = self.fields[0] if self.fields else ""
        try:
            result = self._eval(bound.activation)
            value = result.value()
        except RuntimeError as error:  # text that is not valid Unicode
            return Missing(first, str(error))
        if value is True or value is False:
            return bool(value)
        if result.type() == _ERROR:
            return Missing(*failure(str(value), self.fields))
        return Missing(first, "the condition gave neither true nor false")

    def seen(self, bound: Bound) -> dict[str, Any]:
        """The present values of the fields, as plain JSON."""
        assert isinstance(bound, BoundFacts)
        values = bound.values
        seen: dict[str, Any] = {}
        for name, variable in self._seen:
            value = values.get(variable)
            if value is not None:
                seen[name] = value if type(value) in _JSON else plain(value)
        return seen


class PlainCondition(CelCondition):
    """One that Python decides with the same answer; the engine is asked only about values that are not as declared."""

    __slots__ = ("_test",)

    def __init__(self, compiled: Compiled, test: Test) -> None:
        super().__init__(compiled)
        self._test = test

    def test(self, bound: Bound) -> bool | Missing:
        assert isinstance(bound, BoundFacts)
        try:
            return self._test(bound.values)
        except Unusual:
            return super().test(bound)


def compile_condition(
    source: str, scope: Scope, *, inline: Inline | None = None, node: Node | None = None
) -> CelCondition:
    """Raises `ExpressionError`; also for an expression that is not true or false. `node` is the part of `source`."""
    compiled = compile_expression(source, scope, inline, node)
    if compiled.gives not in {Kind.FLAG, Kind.ANY}:
        raise ExpressionError(f"a condition must be true or false, this is a {compiled.gives.value}", 0, code="type")
    test = plain_test(compiled.node, scope, inline)
    return CelCondition(compiled) if test is None else PlainCondition(compiled, test)
