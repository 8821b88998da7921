"""Rewrites an expression for the engine: one kind of number, resolved fields, guarded division, presence tests.

The rewritten text keeps a map back to the author's text, so that the engine's remarks point at the right place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from rewards.domain.program.durations import parse_duration
from rewards.domain.program.expressions.fields import Field, Kind
from rewards.domain.program.expressions.functions import MACROS, Function
from rewards.domain.program.expressions.nodes import (
    Binary,
    Call,
    Choice,
    Entries,
    ExpressionError,
    Index,
    Items,
    Name,
    Node,
    Number,
    Select,
    Text,
    Unary,
    Word,
)
from rewards.domain.program.expressions.resolve import Resolver
from rewards.domain.program.expressions.scope import Scope

MACRO_DEPTH_MAX: Final = 2
EXPANDED_MAX: Final = 20_000
DIVISION_BY_ZERO: Final = "division by zero"
_LEVEL: Final = {"||": 1, "&&": 2, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
_ATOM: Final = 7

Inline = Callable[[str], Node | None]
"""The condition that stands for membership in a segment, if it is to be decided in place."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """`fields` are all that the author names, in order; `presence` those whose presence alone is asked."""

    text: str
    fields: Mapping[str, Field]
    presence: Mapping[str, Field]
    _written: list[int] = field(default_factory=list)
    _origin: list[int] = field(default_factory=list)

    def origin(self, column: int) -> int:
        """The offset in the author's text of a column (from 0) of the rewritten text."""
        found = bisect_right(self._written, column) - 1
        return self._origin[found] if found >= 0 else 0


def promote(node: Node, scope: Scope, inline: Inline | None = None) -> Promoted:
    """The text for the engine. Raises `ExpressionError` for unknown names and functions."""
    writer = _Writer(scope, inline)
    writer.write(node, 0)
    text = "".join(writer.parts)
    return Promoted(text, writer.names.used, writer.names.presence, writer.written, writer.origins)


class _Writer:
    def __init__(self, scope: Scope, inline: Inline | None) -> None:
        self.names = Resolver(scope)
        self.parts: list[str] = []
        self.written: list[int] = []
        self.origins: list[int] = []
        self._length = 0
        self._inline = inline
        self._anchor: int | None = None
        self._macros = 0

    def put(self, text: str, start: int) -> None:
        self.written.append(self._length)
        self.origins.append(start if self._anchor is None else self._anchor)
        self.parts.append(text)
        self._length += len(text)
        if self._length > EXPANDED_MAX:
            raise ExpressionError("too long once segments are written out", start, code="too-long")

    def write(self, node: Node, level: int) -> None:
        """Write `node`, in parentheses where the place binds tighter than it does."""
        own = self._level(node)
        if own < level:
            self.put("(", node.start)
        self._write(node, own)
        if own < level:
            self.put(")", node.start)

    def _level(self, node: Node) -> int:
        if isinstance(node, Choice):
            return 0
        if isinstance(node, Binary):
            if node.operator == "%":
                return _ATOM
            return _LEVEL.get(node.operator, 3)
        if isinstance(node, Unary) or (isinstance(node, Number) and node.value < 0):
            return 6
        return _ATOM

    def _write(self, node: Node, level: int) -> None:
        if isinstance(node, Number):
            self.put(number_text(node.value), node.start)
        elif isinstance(node, Text):
            self.put(node.raw, node.start)
        elif isinstance(node, Word):
            self.put(node.name, node.start)
        elif isinstance(node, Name | Select):
            self._path(node)
        elif isinstance(node, Index):
            self.write(node.base, _ATOM)
            self.put("[", node.start)
            self._whole(node.at)
            self.put("]", node.start)
        elif isinstance(node, Call):
            self._call(node)
        elif isinstance(node, Unary):
            self.put(node.operator, node.start)
            self.write(node.operand, 6)
        elif isinstance(node, Binary):
            self._binary(node, level)
        elif isinstance(node, Choice):
            self.write(node.when, 1)
            self.put(" ? ", node.start)
            self.write(node.yes, 1)
            self.put(" : ", node.start)
            self.write(node.no, 0)
        elif isinstance(node, Items):
            self._list("[", node.items, "]", node.start)
        else:
            self._entries(node)

    def _path(self, node: Name | Select) -> None:
        if isinstance(node, Select) and node.optional:
            raise ExpressionError("`.?` needs `.orValue(…)` after the field", node.start, code="syntax")
        found = self.names.field(node)
        if found is not None:
            self.names.use(found)
            self.put(found.variable, node.start)
        elif isinstance(node, Select):
            self.write(node.base, _ATOM)
            self.put(f".{node.field}", node.start)
        else:
            self.put(node.name, node.start)

    def _binary(self, node: Binary, level: int) -> None:
        if node.operator == "in" and self._segment(node):
            return
        if node.operator == "/":
            self._divide(node)
            return
        if node.operator == "%":
            self.put("double(", node.start)
            self._whole(node.left)
            self.put(" % ", node.start)
            self._whole(node.right)
            self.put(")", node.start)
            return
        # Comparisons are left-associative in CEL; the right side always binds tighter.
        self.write(node.left, level)
        self.put(f" {node.operator} ", node.start)
        self.write(node.right, level + 1)

    def _segment(self, node: Binary) -> bool:
        """`"gold" in member.segments` inside a segment: written out, so that one snapshot decides all."""
        if self._inline is None or not isinstance(node.left, Text):
            return False
        found = self.names.field(node.right) if isinstance(node.right, Name | Select) else None
        condition = self._inline(node.left.value) if found and found.name == "member.segments" else None
        if condition is None:
            return False
        outer, self._anchor = self._anchor, node.start if self._anchor is None else self._anchor
        self.put("(", node.start)
        self.write(condition, 0)
        self.put(")", node.start)
        self._anchor = outer
        return True

    def _divide(self, node: Binary) -> None:
        """Dividing by zero is an error with a name, as it is in decimal arithmetic, not an infinite number."""
        self.write(node.left, 5)
        self.put(" / ", node.start)
        if isinstance(node.right, Number) and node.right.value != 0:
            self.write(node.right, 6)
            return
        self.put("cel.bind(divisor_, ", node.start)
        self.write(node.right, 0)
        self.put(f', divisor_ == 0.0 ? double("{DIVISION_BY_ZERO}") : divisor_)', node.start)

    def _whole(self, node: Node) -> None:
        """An index, key or count: whole where it is a number."""
        if isinstance(node, Number):
            if node.value != node.value.to_integral_value():
                raise ExpressionError("must be a whole number here", node.start, code="type")
            self.put(str(int(node.value)), node.start)
        elif self.names.kind(node) is Kind.NUMBER:
            self.put("int(", node.start)
            self.write(node, 0)
            self.put(")", node.start)
        else:
            self.write(node, 0)

    def _call(self, node: Call) -> None:
        if node.target is None and node.function == "has":
            self._has(node)
        elif node.target is not None and node.function in {"orValue", "hasValue"}:
            self._optional(node)
        elif node.target is not None and node.function in MACROS:
            self._macro(node)
        elif isinstance(node.target, Name) and node.target.name == "math" and f"math.{node.function}" in _MATH:
            self._function(Call(node.start, None, _MATH[f"math.{node.function}"], node.args))
        else:
            self._function(node)

    def _function(self, node: Call) -> None:
        function = self.names.function(node)
        if function.whole:
            self.put("double(", node.start)
        if node.target is not None:
            self.write(node.target, _ATOM)
            self.put(".", node.start)
        self.put(f"{function.emit or node.function}(", node.start)
        for position, argument in enumerate(node.args):
            if position:
                self.put(", ", argument.start)
            self._argument(node, function, position, argument)
        self.put(")", node.start)
        if function.whole:
            self.put(")", node.start)

    def _argument(self, node: Call, function: Function, position: int, argument: Node) -> None:
        if position in function.indexes:
            self._whole(argument)
        elif node.function == "duration" and isinstance(argument, Text):
            self.put(f'"{_seconds(argument)}s"', argument.start)
        else:
            self.write(argument, 0)

    def _macro(self, node: Call) -> None:
        if len(node.args) != MACROS[node.function] or not isinstance(node.args[0], Name) or node.target is None:
            raise ExpressionError(
                f"{node.function} takes a name and an expression: list.{node.function}(item, …)",
                node.start,
                code="syntax",
            )
        self._macros += 1
        if self._macros > MACRO_DEPTH_MAX:
            raise ExpressionError(f"loops are nested more than {MACRO_DEPTH_MAX} deep", node.start, code="too-deep")
        self.write(node.target, _ATOM)
        variable = node.args[0]
        self.put(f".{node.function}({variable.name}, ", node.start)
        with self.names.local(variable):
            self.write(node.args[1], 0)
        self.put(")", node.start)
        self._macros -= 1

    def _has(self, node: Call) -> None:
        if len(node.args) != 1 or not isinstance(node.args[0], Select):
            raise ExpressionError("has takes one field: has(event.coupon)", node.start, code="syntax")
        argument = node.args[0]
        found = self.names.field(argument)
        if found is not None:
            self.put(self.names.ask_presence(found), argument.start)
            return
        root = self.names.root_field(argument)
        if root is not None:
            self.put(f"({self.names.ask_presence(root)} && ", argument.start)
        self.put("has(", node.start)
        self.write(argument, 0)
        self.put(")" if root is None else "))", node.start)

    def _optional(self, node: Call) -> None:
        target = node.target
        if not isinstance(target, Select) or not target.optional:
            raise ExpressionError(
                f"{node.function} follows an optional field: event.?coupon.{node.function}(…)",
                node.start,
                code="syntax",
            )
        field_ = Select(target.start, target.base, target.field)
        has = Call(node.start, None, "has", (field_,))
        if node.function == "hasValue":
            self._has(has)
            return
        if len(node.args) != 1:
            raise ExpressionError("orValue takes the value to use instead", node.start, code="syntax")
        self.put("(", node.start)
        self.write(Choice(node.start, has, field_, node.args[0]), 0)
        self.put(")", node.start)

    def _list(self, opening: str, items: tuple[Node, ...], closing: str, start: int) -> None:
        self.put(opening, start)
        for position, item in enumerate(items):
            if position:
                self.put(", ", item.start)
            self.write(item, 0)
        self.put(closing, start)

    def _entries(self, node: Entries) -> None:
        self.put("{", node.start)
        for position, (key, value) in enumerate(node.entries):
            if position:
                self.put(", ", key.start)
            self.write(key, 0)
            self.put(": ", key.start)
            self.write(value, 0)
        self.put("}", node.start)


_MATH: Final = {
    "math.least": "min",
    "math.greatest": "max",
    **{f"math.{name}": name for name in ("abs", "floor", "ceil", "round")},
}


def number_text(value: Decimal) -> str:
    """A literal that the engine reads as a double."""
    return repr(float(value))


def _seconds(text: Text) -> int:
    try:
        return int(parse_duration(text.value).total_seconds())
    except ValueError as error:
        raise ExpressionError(str(error), text.start, code="duration") from None
