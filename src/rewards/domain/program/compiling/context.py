"""What the parts of compiling share: the problems, what is declared, and how expressions are compiled in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from rewards.domain.program.expressions.nodes import ExpressionError
from rewards.domain.program.models.document import Document
from rewards.domain.program.problems import Position, Problems

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Context:
    """`broken` holds paths (`metrics.orders`) of parts that did not even parse: they count as declared, so that one
    mistake is not reported again by everything that refers to it."""

    document: Document
    problems: Problems
    broken: frozenset[str] = field(default_factory=frozenset)

    def known(self, section: str, declared: Iterable[str]) -> set[str]:
        """The names of a section, broken ones included."""
        prefix = f"{section}."
        return {*declared, *(path.removeprefix(prefix) for path in self.broken if path.startswith(prefix))}

    def is_broken(self, section: str, name: str) -> bool:
        return f"{section}.{name}" in self.broken

    def refers(self, path: str, what: str, section: str, name: str, declared: Iterable[str]) -> bool:
        """Whether a usable `name` is declared; reports it if it is not declared at all."""
        names = set(declared)
        if name in names:
            return True
        if not self.is_broken(section, name):
            self.problems.unknown(path, what, name, self.known(section, names))
        return False

    def expression(self, path: str, source: str, compiling: Callable[[], Result]) -> Result | None:
        """The compiled expression, or None after reporting why it is none."""
        try:
            return compiling()
        except ExpressionError as error:
            self.problems.error(
                path, error.code, error.message, position=position_in(source, error.offset), near=error.near
            )
            return None


def position_in(source: str, offset: int) -> Position:
    """Line and column of an offset, counted from 1."""
    before = source[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)
