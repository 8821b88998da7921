"""The functions that expressions may call. Arguments marked `n` are whole numbers to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rewards.domain.program.expressions.fields import Kind


@dataclass(frozen=True, slots=True)
class Function:
    """`whole` results become plain numbers again; `indexes` are argument positions that must be whole."""

    arities: frozenset[int]
    gives: Kind
    whole: bool = False
    indexes: frozenset[int] = frozenset()
    emit: str | None = None


def _f(
    arities: set[int], gives: Kind, *, whole: bool = False, indexes: tuple[int, ...] = (), emit: str | None = None
) -> Function:
    return Function(frozenset(arities), gives, whole, frozenset(indexes), emit)


GLOBAL: Final = {
    "size": _f({1}, Kind.NUMBER, whole=True),
    "int": _f({1}, Kind.NUMBER, whole=True),
    "double": _f({1}, Kind.NUMBER),
    "string": _f({1}, Kind.TEXT),
    "bool": _f({1}, Kind.FLAG),
    "timestamp": _f({1}, Kind.MOMENT),
    "duration": _f({1}, Kind.LENGTH),
    "min": _f(set(range(1, 9)), Kind.NUMBER, emit="math.least"),
    "max": _f(set(range(1, 9)), Kind.NUMBER, emit="math.greatest"),
    "abs": _f({1}, Kind.NUMBER, emit="math.abs"),
    "floor": _f({1}, Kind.NUMBER, emit="math.floor"),
    "ceil": _f({1}, Kind.NUMBER, emit="math.ceil"),
    "round": _f({1}, Kind.NUMBER, emit="math.round"),
}
# Not `replace`: a chain of them grows a text tenfold at each step, past any memory, and no limit of the engine stops it.
METHODS: Final = {
    "size": _f({0}, Kind.NUMBER, whole=True),
    "startsWith": _f({1}, Kind.FLAG),
    "endsWith": _f({1}, Kind.FLAG),
    "contains": _f({1}, Kind.FLAG),
    "matches": _f({1}, Kind.FLAG),
    "lowerAscii": _f({0}, Kind.TEXT),
    "upperAscii": _f({0}, Kind.TEXT),
    "trim": _f({0}, Kind.TEXT),
    "split": _f({1, 2}, Kind.TEXTS, indexes=(1,)),
    "join": _f({0, 1}, Kind.TEXT),
    "substring": _f({1, 2}, Kind.TEXT, indexes=(0, 1)),
    "charAt": _f({1}, Kind.TEXT, indexes=(0,)),
    "indexOf": _f({1, 2}, Kind.NUMBER, whole=True, indexes=(1,)),
    "lastIndexOf": _f({1, 2}, Kind.NUMBER, whole=True, indexes=(1,)),
    **{
        f"get{part}": _f({0, 1}, Kind.NUMBER, whole=True)
        for part in (
            "FullYear",
            "Month",
            "Date",
            "DayOfMonth",
            "DayOfWeek",
            "DayOfYear",
            "Hours",
            "Minutes",
            "Seconds",
            "Milliseconds",
        )
    },
}
MACROS: Final = {"exists": 2, "all": 2, "exists_one": 2, "filter": 2, "map": 2}
MACRO_GIVES: Final = {"filter": Kind.ITEMS, "map": Kind.ITEMS}
