"""Values: what an action or a metric takes from the facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel

from rewards.domain.program.binding import BoundFacts, Needs
from rewards.domain.program.compiled import Bound, Missing
from rewards.domain.program.expressions.engine import Compiled, compile_expression, failure
from rewards.domain.program.expressions.fields import Field, Kind, plain
from rewards.domain.program.expressions.resolve import dotted
from rewards.domain.program.expressions.scope import Scope
from rewards.domain.program.expressions.syntax import parse

_ERROR = cel.Type.ERROR


class Constant:
    """The same value always."""

    __slots__ = ("_value", "fields", "kind", "needs", "source")

    def __init__(self, value: Any, kind: Kind) -> None:
        self._value = value
        self.source = str(value)
        self.kind = kind
        self.needs = Needs()
        self.fields: tuple[str, ...] = ()

    def read(self, bound: Bound) -> Any:  # noqa: ARG002 - implements compiled.Value
        return self._value


class FieldValue:
    """One field, read without the engine."""

    __slots__ = ("_missing", "_variable", "fields", "kind", "needs", "source")

    def __init__(self, source: str, field: Field) -> None:
        self.source = source
        self.fields = (field.name,)
        self.kind = field.kind
        self.needs = Needs({field.name: field})
        self._variable = field.variable
        self._missing = Missing(field.name)

    def read(self, bound: Bound) -> Any:
        assert isinstance(bound, BoundFacts)
        value = bound.values.get(self._variable)
        return self._missing if value is None else plain(value)


class CelValue:
    """Any other expression."""

    __slots__ = ("_eval", "fields", "kind", "needs", "source")

    def __init__(self, compiled: Compiled) -> None:
        self.source = compiled.source
        self.needs = Needs(compiled.promoted.fields, compiled.promoted.presence)
        self.fields = self.needs.names
        self.kind = compiled.gives
        self._eval = compiled.program.eval

    def read(self, bound: Bound) -> Any:
        assert isinstance(bound, BoundFacts)
        try:
            result = self._eval(bound.activation)
            value = result.plain_value()
        except RuntimeError as error:  # text that is not valid Unicode
            return Missing(self.fields[0] if self.fields else "", str(error))
        if result.type() == _ERROR:
            return Missing(*failure(str(value), self.fields))
        return plain(value)


class Weights:
    """A number by event type, for behavioural scores."""

    __slots__ = ("_weights", "fields", "kind", "needs", "source")

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
        self.source = ", ".join(f"{event}: {weight}" for event, weight in weights.items())
        self.kind = Kind.NUMBER
        self.needs = Needs()
        self.fields: tuple[str, ...] = ()

    def read(self, bound: Bound) -> Any:
        assert isinstance(bound, BoundFacts)
        return self._weights.get(bound.trigger, 0)


def compile_value(source: str, scope: Scope) -> FieldValue | CelValue:
    """Raises `ExpressionError`."""
    path = dotted(parse(source))
    field = scope.fields.get(".".join(path)) if path else None
    if field is not None and not field.clash:
        return FieldValue(source, field)
    return CelValue(compile_expression(source, scope))
