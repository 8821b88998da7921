"""The syntax tree of an expression. `start` is the offset of the token that an error points at."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias


class ExpressionError(ValueError):
    """An expression is wrong at `offset` (characters from its start)."""

    def __init__(self, message: str, offset: int, *, code: str = "expression", near: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.code = code
        self.near = near


@dataclass(frozen=True, slots=True)
class Number:
    start: int
    value: Decimal


@dataclass(frozen=True, slots=True)
class Text:
    """`raw` is the literal as written, quotes included."""

    start: int
    raw: str
    value: str


@dataclass(frozen=True, slots=True)
class Word:
    """`true`, `false` or `null`."""

    start: int
    name: str


@dataclass(frozen=True, slots=True)
class Name:
    start: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`base.field`; `optional` for `base.?field`."""

    start: int
    base: Node
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    start: int
    base: Node
    at: Node


@dataclass(frozen=True, slots=True)
class Call:
    """`function(args)` or `target.function(args)`."""

    start: int
    target: Node | None
    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    start: int
    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    start: int
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Choice:
    """`when ? yes : no`."""

    start: int
    when: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True)
class Items:
    start: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    start: int
    entries: tuple[tuple[Node, Node], ...]


Node: TypeAlias = Number | Text | Word | Name | Select | Index | Call | Unary | Binary | Choice | Items | Entries
