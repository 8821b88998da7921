"""What changed between two documents, by meaning: sections, keys and fields, whatever the layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from rewards.domain.program.models import Document
from rewards.domain.program.models.badges import Badge
from rewards.domain.program.models.leaderboards import Leaderboard
from rewards.domain.program.models.members import Metric

_KEYED: Final = (
    "currencies",
    "types",
    "events",
    "groups",
    "attributes",
    "metrics",
    "segments",
    "streaks",
    "badges",
    "quests",
    "leaderboards",
)
_SINGLE: Final = ("tiers",)
_LISTED: Final = {"rules": "key", "tests": "name"}
_FOR_PEOPLE: Final = frozenset({"name", "description", "unit", "image"})
_SCORING: Final = frozenset({"score", "order", "period"})
"""What of a leaderboard makes it another one when it changes."""
RESTARTS: Final = "counts from zero, since it counts something else"
BY_NUMBER: Final = (
    "levels that are not there any more pass to the next in number: who holds one holds it under its new threshold"
)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`before` or `after` is None where the field is not there."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {_told(self.before)} → {_told(self.after)}"


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is added, removed, changed or moved (a rule now decided earlier or later than others). `note`: what follows."""

    section: str
    key: str
    kind: str
    fields: tuple[FieldChange, ...] = ()
    note: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for the wire."""
        fields = [{"path": each.path, "before": each.before, "after": each.after} for each in self.fields]
        return {"section": self.section, "key": self.key, "kind": self.kind, "fields": fields, "note": self.note}

    def __str__(self) -> str:
        mark = {"added": "+", "removed": "-", "moved": "↕"}.get(self.kind, "~")
        head = f"{mark} {self.section}.{self.key}" + (f"  ({self.note})" if self.note else "")
        lines = [f"    {each}" for each in self.fields]
        return "\n".join([head, *lines])


def diff(before: Document, after: Document) -> list[Change]:
    """All changes, in the order of the grammar's sections. Equal documents give none."""
    changes = []
    header = tuple(_fields(_plain(before.program), _plain(after.program)))
    if header:
        changes.append(Change("program", after.program.key, "changed", header))
    for section in _KEYED:
        changes += _section(section, getattr(before, section), getattr(after, section))
    for section in _SINGLE:
        one, other = ({section: part} if (part := getattr(each, section)) else {} for each in (before, after))
        changes += _section(section, one, other)
    for section, name in _LISTED.items():
        one = {getattr(each, name): each for each in getattr(before, section)}
        other = {getattr(each, name): each for each in getattr(after, section)}
        changes += _section(section, one, other)
        if section == "rules":
            changes += _moved(list(one), list(other), {change.key for change in changes if change.section == "rules"})
    return changes


def _section(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key, each in after.items():
        if key not in before:
            yield Change(section, key, "added")
            continue
        fields = tuple(_fields(_plain(before[key]), _plain(each)))
        if fields:
            yield Change(section, key, "changed", fields, _note(before[key], each, fields))
    for key in before:
        if key not in after:
            yield Change(section, key, "removed")


def _note(before: Any, part: Any, fields: tuple[FieldChange, ...]) -> str | None:
    if isinstance(part, Badge) and isinstance(before, Badge):
        levels, earlier = ([level.at for level in each.levels or ()] for each in (part, before))
        return BY_NUMBER if set(earlier) - set(levels) else None
    if isinstance(part, Leaderboard):
        return RESTARTS if any(each.path.partition(".")[0] in _SCORING for each in fields) else None
    counted = any(each.path.partition(".")[0] not in _FOR_PEOPLE for each in fields)
    return RESTARTS if isinstance(part, Metric) and counted else None


def _moved(before: list[str], after: list[str], named: set[str]) -> Iterator[Change]:
    """Rules of one priority are decided in document order, so a changed order among those that stay is a change."""
    stay = [key for key in before if key in set(after)]
    now = [key for key in after if key in set(before)]
    for old, new in zip(stay, now, strict=True):
        if old != new and new not in named:
            yield Change("rules", new, "moved")


def _plain(part: Any) -> Any:
    """What holds, defaults written out and short forms undone."""
    if isinstance(part, BaseModel):
        return part.model_dump(by_alias=True, exclude_none=True)
    return list(part) if isinstance(part, tuple) else part


def _fields(before: Any, after: Any, path: str = "") -> Iterator[FieldChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            inner = f"{path}.{key}" if path else str(key)
            yield from _fields(before.get(key), after.get(key), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _fields(one, other, f"{path}.{position}" if path else str(position))
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield FieldChange(path or "value", before, after)


def _told(value: Any) -> str:
    return "nothing" if value is None else str(value)
