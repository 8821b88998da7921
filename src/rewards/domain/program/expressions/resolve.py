"""Which field a path names, which function a call means, and what kind of value a node gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rewards.domain.program.expressions.fields import Field, Kind
from rewards.domain.program.expressions.functions import GLOBAL, MACRO_GIVES, MACROS, METHODS, Function
from rewards.domain.program.expressions.nodes import (
    Binary,
    Call,
    Choice,
    Entries,
    ExpressionError,
    Items,
    Name,
    Node,
    Number,
    Select,
    Text,
    Unary,
    Word,
)
from rewards.domain.program.expressions.scope import Scope
from rewards.domain.program.problems import nearest

ROOTS: Final = ("event", "context", "member", "metrics", "balances", "at")
_COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"})


class Resolver:
    """Names as seen from inside one expression, loop variables included."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._locals: list[str] = []
        self.used: dict[str, Field] = {}
        self.presence: dict[str, Field] = {}

    @contextmanager
    def local(self, variable: Name) -> Iterator[None]:
        """A loop variable, within its loop. It may not hide a root."""
        if variable.name in ROOTS or variable.name in self._locals:
            raise ExpressionError(f"{variable.name} is taken, name the item otherwise", variable.start, code="name")
        self._locals.append(variable.name)
        try:
            yield
        finally:
            self._locals.pop()

    def use(self, found: Field) -> None:
        """Note that the value of a field is read."""
        self.used[found.name] = found

    def ask_presence(self, found: Field) -> str:
        """The variable that says whether a field is there."""
        self.presence[found.name] = found
        return found.presence

    def field(self, node: Node) -> Field | None:
        """The declared field that exactly this path names; None for deeper paths and loop variables.

        Raises `ExpressionError` for a name that is not declared, with the nearest that is.
        """
        path = dotted(node)
        if path is None or path[0] in self._locals:
            return None
        name = ".".join(path)
        found = self._scope.fields.get(name)
        if found is not None:
            if found.clash:
                raise ExpressionError(found.clash, node.start, code="type-conflict")
            return found
        if self.root_field(node) is not None:
            return None
        raise self._undeclared(name, path, node)

    def root_field(self, node: Node) -> Field | None:
        """The declared field that a deeper path (`event.address.city`) starts from."""
        path = dotted(node)
        if path is None or path[0] in self._locals:
            return None
        for length in range(len(path) - 1, 0, -1):
            found = self._scope.fields.get(".".join(path[:length]))
            if found is not None:
                return found
        return None

    def _undeclared(self, name: str, path: tuple[str, ...], node: Node) -> ExpressionError:
        start = node.start
        if path[0] in self._scope.absent:
            return ExpressionError(self._scope.absent[path[0]], start, code="not-here")
        known = [*self._scope.fields, *self._locals]
        if name in ROOTS:
            return ExpressionError(f"{name} needs a field after it", start, code="unknown-field")
        if len(path) == 1:
            near = nearest(name, [*ROOTS, *self._locals]) or next((k for k in known if k.endswith(f".{name}")), None)
            quoted = f'; for the word itself write "{name}" in quotes' if near is None else ""
            return ExpressionError(f"{name} is not a field{quoted}", start, code="unknown-field", near=near)
        return ExpressionError(f"{name} is not declared", start, code="unknown-field", near=nearest(name, known))

    def function(self, node: Call) -> Function:
        """What a call means. Raises `ExpressionError` for an unknown function or a wrong number of arguments."""
        known = GLOBAL if node.target is None else METHODS
        function = known.get(node.function)
        if function is None:
            near = nearest(node.function, [*known, *(MACROS if node.target is not None else ("has",))])
            raise ExpressionError(
                f"there is no function {node.function}", node.start, code="unknown-function", near=near
            )
        if len(node.args) not in function.arities:
            counts = " or ".join(str(count) for count in sorted(function.arities)[:3])
            raise ExpressionError(
                f"{node.function} takes {counts} arguments, not {len(node.args)}", node.start, code="arguments"
            )
        return function

    def kind(self, node: Node) -> Kind:
        """What a node gives, as far as it is plain to see."""
        if isinstance(node, Number):
            return Kind.NUMBER
        if isinstance(node, Text):
            return Kind.TEXT
        if isinstance(node, Word):
            return Kind.ANY if node.name == "null" else Kind.FLAG
        if isinstance(node, Name | Select):
            found = self.field(node)
            return found.kind if found else Kind.ANY
        if isinstance(node, Unary):
            return Kind.FLAG if node.operator == "!" else self.kind(node.operand)
        if isinstance(node, Binary):
            return self._binary(node)
        if isinstance(node, Choice):
            return self.kind(node.yes)
        return self._composed(node)

    def _binary(self, node: Binary) -> Kind:
        if node.operator in _COMPARISONS:
            return Kind.FLAG
        left, right = self.kind(node.left), self.kind(node.right)
        if node.operator in {"*", "/", "%"} or Kind.NUMBER in {left, right}:
            return Kind.NUMBER
        return left

    def _composed(self, node: Node) -> Kind:
        if isinstance(node, Call):
            if node.function in MACROS and node.target is not None:
                return MACRO_GIVES.get(node.function, Kind.FLAG)
            function = (GLOBAL if node.target is None else METHODS).get(node.function)
            return function.gives if function else Kind.ANY
        if isinstance(node, Items):
            return Kind.ITEMS
        return Kind.OBJECT if isinstance(node, Entries) else Kind.ANY


def dotted(node: Node) -> tuple[str, ...] | None:
    """The path of a plain chain of names (`event.address.city`), or None."""
    parts: list[str] = []
    while isinstance(node, Select):
        if node.optional:
            return None
        parts.append(node.field)
        node = node.base
    if not isinstance(node, Name):
        return None
    return (node.name, *reversed(parts))
