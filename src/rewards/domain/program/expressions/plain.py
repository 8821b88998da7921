"""Conditions simple enough to be decided in Python, several times faster than handing them to the CEL runtime.

What is decided here gives exactly the engine's answer. An expression that is not all simple is left to the engine
(`plain_test` gives None), and so is a value that is not what the field declares (`Unusual`): the engine knows what to say.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from rewards.domain.program.compiled import Missing
from rewards.domain.program.expressions.fields import WHOLE_MAX, Field, Kind
from rewards.domain.program.expressions.nodes import (
    Binary,
    Call,
    Choice,
    Items,
    Name,
    Node,
    Number,
    Select,
    Text,
    Unary,
    Word,
)
from rewards.domain.program.expressions.promote import Inline
from rewards.domain.program.expressions.resolve import Resolver
from rewards.domain.program.expressions.scope import Scope

Values = Mapping[str, Any]
"""One snapshot, by the engine's names of the fields; absent fields stay out."""
Test = Callable[[Values], "bool | Missing"]
_Evaluate = Callable[[Values], Any]


class Unusual(Exception):
    """A value that only the engine answers for: of another type than declared, or not exact as a double."""


def plain_test(node: Node, scope: Scope, inline: Inline | None = None) -> Test | None:
    """Decides `node`, which the engine has already checked for `scope`; None where that takes the engine.

    The test gives the first absent field, as `Missing`, where that leaves it open, and may raise `Unusual`.
    """
    part = _Builder(scope, inline).build(node)
    return part.evaluate if part is not None and part.kind is Kind.FLAG else None


@dataclass(frozen=True, slots=True)
class _Part:
    """`field`: the part is that field and no more. `constant`: it is this, always."""

    kind: Kind
    evaluate: _Evaluate
    field: Field | None = None
    constant: Any = None


class _Builder:
    def __init__(self, scope: Scope, inline: Inline | None) -> None:
        self._names = Resolver(scope)
        self._inline = inline

    def build(self, node: Node) -> _Part | None:
        if isinstance(node, Number):
            return _constant(Kind.NUMBER, float(node.value))
        if isinstance(node, Text):
            return _constant(Kind.TEXT, node.value) if _is_sound(node.value) else None
        if isinstance(node, Word):
            return _constant(Kind.FLAG, node.name == "true") if node.name != "null" else None
        if isinstance(node, Name | Select):
            return self._field(node)
        if isinstance(node, Unary):
            return self._unary(node)
        if isinstance(node, Binary):
            return self._binary(node)
        if isinstance(node, Choice):
            return self._choice(node.when, node.yes, node.no)
        return self._call(node) if isinstance(node, Call) else None

    def _field(self, node: Name | Select) -> _Part | None:
        if isinstance(node, Select) and node.optional:
            return None
        found = self._names.field(node)
        if found is None or found.kind not in _READ:
            return None
        return _Part(found.kind, _read(found, _READ[found.kind]), field=found)

    def _unary(self, node: Unary) -> _Part | None:
        operand = self.build(node.operand)
        if operand is None:
            return None
        return _Part(operand.kind, _applied(operand, operator.not_ if node.operator == "!" else operator.neg))

    def _binary(self, node: Binary) -> _Part | None:
        if node.operator in {"&&", "||"}:
            return self._joined(node)
        if node.operator == "in":
            return self._membership(node)
        left, right = self.build(node.left), self.build(node.right)
        if left is None or right is None or left.kind is not right.kind or left.kind is Kind.TEXTS:
            return None
        if node.operator in _COMPARE:
            return _Part(Kind.FLAG, _compared(node.operator, left, right))
        if node.operator in _COMPUTE and left.kind is Kind.NUMBER:
            return _Part(Kind.NUMBER, _combined(left, right, _COMPUTE[node.operator]))
        return None

    def _joined(self, node: Binary) -> _Part | None:
        parts = [self.build(each) for each in _chain(node, node.operator)]
        tests = [part.evaluate for part in parts if part is not None]
        if len(tests) < len(parts):
            return None
        return _Part(Kind.FLAG, _decided(tests, by=node.operator == "||"))

    def _membership(self, node: Binary) -> _Part | None:
        if isinstance(node.right, Items):
            return self._listed(node.left, node.right)
        group = self.build(node.right)
        if group is None or group.field is None or group.kind is not Kind.TEXTS:
            return None
        if self._inline is not None and isinstance(node.left, Text) and group.field.name == "member.segments":
            condition = self._inline(node.left.value)
            if condition is not None:
                return self.build(condition)
        item = self.build(node.left)
        if item is None or item.kind is not Kind.TEXT:
            return None
        return _Part(Kind.FLAG, _combined(item, group, _is_among))

    def _listed(self, item: Node, items: Items) -> _Part | None:
        part = self.build(item)
        if part is None or part.kind not in {Kind.NUMBER, Kind.TEXT}:
            return None
        options = [self.build(each) for each in items.items]
        listed = [each.constant for each in options if each is not None and each.kind is part.kind]
        if len(listed) < len(options) or None in listed:
            return None
        return _Part(Kind.FLAG, _applied(part, frozenset(listed).__contains__))

    def _choice(self, when: Node, yes: Node, no: Node) -> _Part | None:
        test, one, other = self.build(when), self.build(yes), self.build(no)
        if test is None or one is None or other is None or one.kind is not other.kind or one.kind is Kind.TEXTS:
            return None
        return _Part(one.kind, _chosen(test.evaluate, one.evaluate, other.evaluate))

    def _call(self, node: Call) -> _Part | None:
        target = node.target
        if target is None:
            return self._presence(node.args[0]) if node.function == "has" else None
        if isinstance(target, Select) and target.optional and node.function in {"hasValue", "orValue"}:
            field = Select(target.start, target.base, target.field)
            if node.function == "hasValue":
                return self._presence(field)
            return self._choice(Call(node.start, None, "has", (field,)), field, node.args[0])
        if node.function not in _METHODS:
            return None
        text, argument = self.build(target), self.build(node.args[0])
        if text is None or argument is None or text.kind is not Kind.TEXT or argument.kind is not Kind.TEXT:
            return None
        return _Part(Kind.FLAG, _combined(text, argument, _METHODS[node.function]))

    def _presence(self, node: Node) -> _Part | None:
        found = self._names.field(node)
        return None if found is None else _Part(Kind.FLAG, _present(found.presence))


def _chain(node: Node, joint: str) -> list[Node]:
    """The parts of `a && b && c`, however they are bracketed."""
    parts: list[Node] = []
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Binary) and each.operator == joint:
            waiting += (each.right, each.left)
        else:
            parts.append(each)
    return parts


def _is_sound(text: str) -> bool:
    """Whether the engine sees all of a text: it stops at a NUL and refuses half characters."""
    if text.isprintable():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _is_among(item: str, group: list[str]) -> bool:
    return item in group


def _constant(kind: Kind, value: Any) -> _Part:
    return _Part(kind, lambda _: value, constant=value)


def _number(field: Field, take: Callable[[Any], Any]) -> _Evaluate:
    """What `take` makes of a number. All numbers are doubles to the engine: whole ones beyond those are its business."""
    variable, missing = field.variable, Missing(field.name)

    def evaluate(values: Values) -> Any:
        value = values.get(variable)
        kind = type(value)
        if kind is float or (kind is int and -WHOLE_MAX <= value <= WHOLE_MAX):  # type: ignore[operator]
            return take(value)
        if value is None:
            return missing
        raise Unusual

    return evaluate


def _text(field: Field, take: Callable[[Any], Any]) -> _Evaluate:
    variable, missing = field.variable, Missing(field.name)

    def evaluate(values: Values) -> Any:
        value = values.get(variable)
        if type(value) is str and (value.isprintable() or _is_sound(value)):
            return take(value)
        if value is None:
            return missing
        raise Unusual

    return evaluate


def _flag(field: Field, take: Callable[[Any], Any]) -> _Evaluate:
    variable, missing = field.variable, Missing(field.name)

    def evaluate(values: Values) -> Any:
        value = values.get(variable)
        if value is True or value is False:
            return take(value)
        if value is None:
            return missing
        raise Unusual

    return evaluate


def _texts(field: Field, take: Callable[[Any], Any]) -> _Evaluate:
    variable, missing = field.variable, Missing(field.name)

    def evaluate(values: Values) -> Any:
        value = values.get(variable)
        if value is None:
            return missing
        try:
            joined = "".join(value) if type(value) is list else "\0"
        except TypeError:  # not all of them are texts
            raise Unusual from None
        if _is_sound(joined):
            return take(value)
        raise Unusual

    return evaluate


def _read(field: Field, take: Callable[[Any], Any]) -> _Evaluate:
    return _READERS[field.kind](field, take)


def _present(variable: str) -> _Evaluate:
    def evaluate(values: Values) -> Any:
        found = values.get(variable)
        if found is None:
            raise Unusual
        return found

    return evaluate


def _applied(part: _Part, take: Callable[[Any], Any]) -> _Evaluate:
    """`take` of a part; of a field in one step."""
    if part.field is not None:
        return _read(part.field, take)
    inner = part.evaluate

    def evaluate(values: Values) -> Any:
        value = inner(values)
        return value if type(value) is Missing else take(value)

    return evaluate


def _compared(comparison: str, left: _Part, right: _Part) -> _Evaluate:
    """A field beside a constant, as most conditions are, takes one look and one comparison."""
    if right.constant is not None:
        return _applied(left, partial(_COMPARE[_MIRRORED[comparison]], right.constant))
    if left.constant is not None:
        return _applied(right, partial(_COMPARE[comparison], left.constant))
    return _combined(left, right, _COMPARE[comparison])


def _combined(left: _Part, right: _Part, combine: Callable[[Any, Any], Any]) -> _Evaluate:
    one, two = left.evaluate, right.evaluate

    def evaluate(values: Values) -> Any:
        first, second = one(values), two(values)  # both: what is unusual about the second counts all the same
        if type(first) is Missing:
            return first
        return second if type(second) is Missing else combine(first, second)

    return evaluate


def _decided(tests: list[_Evaluate], *, by: bool) -> _Evaluate:
    """The first test that gives `by` decides, even after one that could not be told."""
    all_tests, otherwise = tuple(tests), not by

    def evaluate(values: Values) -> Any:
        verdict: Any = otherwise
        for test in all_tests:
            found = test(values)
            if found is by:
                return by
            if found is not otherwise and verdict is otherwise:
                verdict = found
        return verdict

    return evaluate


def _chosen(when: _Evaluate, yes: _Evaluate, no: _Evaluate) -> _Evaluate:
    def evaluate(values: Values) -> Any:
        found = when(values)
        if found is True:
            return yes(values)
        return no(values) if found is False else found

    return evaluate


def _same(value: Any) -> Any:
    return value


_READERS: Final[Mapping[Kind, Callable[[Field, Callable[[Any], Any]], _Evaluate]]] = {
    Kind.NUMBER: _number,
    Kind.TEXT: _text,
    Kind.FLAG: _flag,
    Kind.TEXTS: _texts,
}
_READ: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.NUMBER: float,  # so that what is computed from it is computed in doubles
    Kind.TEXT: _same,
    Kind.FLAG: _same,
    Kind.TEXTS: _same,
}
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMPUTE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_METHODS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}
