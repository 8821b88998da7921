"""What is wrong with a document, as values: where, what, and what is near."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

PROBLEMS_MAX: Final = 200
KNOWN_SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Position:
    """Counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` names the place by keys (`rules.audio_interest.when`), `position` is inside the expression there (if it is
    one), `place` in the file. `near` is the nearest known name."""

    path: str
    code: str
    message: str
    position: Position | None = None
    near: str | None = None
    place: Position | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for the wire."""
        return {
            "path": self.path,
            "code": self.code,
            "message": self.message,
            "position": _position_json(self.position),
            "near": self.near,
            "place": _position_json(self.place),
        }

    def __str__(self) -> str:
        place = f"{self.place.line}:{self.place.column}: " if self.place else ""
        inside = f" (at {self.position.line}:{self.position.column} of the expression)" if self.position else ""
        near = f"; did you mean {self.near}?" if self.near else ""
        return f"{place}{self.path or 'document'}: {self.message}{inside}{near} [{self.code}]"


def _position_json(position: Position | None) -> dict[str, int] | None:
    return {"line": position.line, "column": position.column} if position else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a typo most likely meant."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def meant(name: str, known: Iterable[str]) -> str:
    """What a refusal of an unknown name ends in: the known one that was most likely meant, else those that there are."""
    keys = sorted(known)
    near = nearest(name, keys)
    if near is not None:
        return f"; did you mean {near}?"
    more = ", …" if len(keys) > KNOWN_SHOWN_MAX else ""
    return f"; it has {', '.join(keys[:KNOWN_SHOWN_MAX]) or 'none'}{more}"


@dataclass(slots=True)
class Problems:
    """Collects errors and warnings while a document is read and compiled; bounded, so that a bad file cannot flood."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(
        self, path: str, code: str, message: str, *, position: Position | None = None, near: str | None = None
    ) -> None:
        """Keep one mistake that forbids publishing."""
        if len(self.errors) < PROBLEMS_MAX:
            self.errors.append(Problem(path, code, message, position, near))

    def warn(self, path: str, code: str, message: str) -> None:
        """Keep one remark: the document works, but probably not as meant."""
        if len(self.warnings) < PROBLEMS_MAX:
            self.warnings.append(Problem(path, code, message))

    def unknown(self, path: str, what: str, name: str, known: Iterable[str]) -> None:
        """A reference to something that is not declared."""
        self.error(path, f"unknown-{what}", f"unknown {what} {name!r}", near=nearest(name, known))
