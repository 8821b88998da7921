"""Says in an author's words what does not fit the grammar, and sets such parts aside so that the rest can be checked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rewards.domain.program.models.actions import ACTIONS, Action
from rewards.domain.program.models.badges import Badge, BadgeLevel
from rewards.domain.program.models.base import KEY_PATTERN, LOCALE_PATTERN
from rewards.domain.program.models.checks import Buckets, Check, Expected, Given
from rewards.domain.program.models.document import Document
from rewards.domain.program.models.events import Attribute, EventType, Property
from rewards.domain.program.models.header import MONEY_PATTERN, Currency, Expires, Header
from rewards.domain.program.models.leaderboards import By, Every, Leaderboard, Prize, Visibility
from rewards.domain.program.models.leaderboards import Score as BoardScore
from rewards.domain.program.models.members import Metric, Segment
from rewards.domain.program.models.quests import Quest, QuestStep, Repeat, Requires
from rewards.domain.program.models.rules import Budget, Limit, Rule
from rewards.domain.program.models.streaks import Freezes, Milestone, Pause, Price, Streak
from rewards.domain.program.models.tiers import Qualify, TierLevel, Tiers
from rewards.domain.program.problems import Problems, nearest

_SECTIONS: Final = (
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
_LISTS: Final = ("rules", "tests")
_NEEDED: Final = frozenset({"key", "on"})
_CHECKED_ALONE: Final = frozenset({*_NEEDED, "when", "then", "otherwise"})
_MODEL_NAMES: Final = frozenset(
    {"Document", "Header", "Currency", "Expires", "EventType", "Attribute", "Property", "Metric", "Segment", "Rule"}
    | {
        "Limit",
        "Budget",
        "Action",
        "Check",
        "Given",
        "Expected",
        "Buckets",
        "Badge",
        "BadgeLevel",
        "Quest",
        "QuestStep",
        "Repeat",
        "Requires",
        "Leaderboard",
        "Every",
        "By",
        "Visibility",
        "NameAttribute",
        "Prize",
        "Tiers",
        "TierLevel",
        "Qualify",
        *("Streak", "Freezes", "Price", "Pause", "Milestone"),
        *(model.__name__ for model in ACTIONS.values()),
    }
)
_PARENTS: Final[dict[str, type[BaseModel]]] = {
    "program": Header, "currencies": Currency, "events": EventType, "attributes": Attribute, "types": Property,
    "metrics": Metric, "segments": Segment, "rules": Rule, "tests": Check, "badges": Badge, "quests": Quest,
    "leaderboards": Leaderboard, "tiers": Tiers,
    "streaks": Streak,
}  # fmt: skip
_INNER: Final[dict[str, type[BaseModel]]] = {
    "qualify": Qualify,
    "expires": Expires, "limit": Limit, "budget": Budget, "then": Action, "otherwise": Action, "given": Given,
    "expect": Expected, "balances": Buckets, "levels": BadgeLevel,
    "steps": QuestStep, "repeat": Repeat, "requires": Requires, "rewards": Action,
    "freezes": Freezes, "price": Price, "pause": Pause, "milestones": Milestone, **ACTIONS,
}  # fmt: skip
_OWN_INNER: Final[dict[tuple[str, str], type[BaseModel]]] = {
    ("leaderboards", "score"): BoardScore, ("leaderboards", "period"): Every, ("leaderboards", "by"): By,
    ("leaderboards", "visibility"): Visibility, ("leaderboards", "prizes"): Prize,
}  # fmt: skip
"""Of one section only: elsewhere the same key means something else."""
_TYPE_WORDS: Final = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "missing": "is required",
}
_LIMIT_WORDS: Final = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "too_short": "must have {min_length} or more of these",
    "too_long": "must have {max_length} of these or fewer",
    "string_too_short": "must be a text of {min_length} or more characters",
    "string_too_long": "must be a text of {max_length} characters or fewer",
}
_PATTERN_WORDS: Final = {
    KEY_PATTERN: "is no key: small letters, digits and _ after a first letter",
    LOCALE_PATTERN: "is no language such as en or pt-BR",
    MONEY_PATTERN: "is no currency code such as EUR",
}

_BRANCH: Final = frozenset({*_TYPE_WORDS, "literal_error"}) - {"missing"}


def shape_problems(mistakes: Iterable[ErrorDetails], data: Mapping[str, Any], problems: Problems) -> None:
    """Report each mistake once, under the path that an author sees."""
    grouped: dict[str, list[tuple[Sequence[Any], ErrorDetails]]] = {}
    located = [(_location(mistake["loc"], data), mistake) for mistake in mistakes]
    for location, mistake in located:
        if _is_other_branch(location, mistake, located):
            continue
        path = named_path(location, data)
        grouped.setdefault(path, []).append((location, mistake))
    for path, each in grouped.items():
        _report(path, each, problems)


def _is_other_branch(
    location: Sequence[Any], mistake: ErrorDetails, located: Sequence[tuple[Sequence[Any], ErrorDetails]]
) -> bool:
    """Whether this only says that an object is not a text, while what is wrong inside the object is known."""
    if not isinstance(mistake["input"], Mapping | list) or mistake["type"] not in _BRANCH:
        return False
    return any(len(other) > len(location) and other[: len(location)] == location for other, _ in located)


def _report(path: str, mistakes: list[tuple[Sequence[Any], ErrorDetails]], problems: Problems) -> None:
    location, first = mistakes[0]
    kind = first["type"]
    if kind == "extra_forbidden":
        key = str(location[-1])
        model = model_at(location[:-1])
        names = [field.alias or name for name, field in model.model_fields.items()] if model else []
        problems.error(path, "unknown-key", f"unknown key {key!r}", near=nearest(key, names))
        return
    messages = list(dict.fromkeys(_message(mistake) for _, mistake in mistakes))
    near = None
    if kind == "literal_error" and isinstance(first.get("input"), str):
        expected = str(first.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        near = nearest(str(first["input"]), expected)
    code = "missing" if kind == "missing" else "value"
    problems.error(path, code, _either(messages), near=near)


def _either(messages: list[str]) -> str:
    """What each branch of a union asks for, in one sentence."""
    if "must be a number" in messages and "must be a whole number" in messages:
        messages = [each for each in messages if each != "must be a whole number"]
    first, *rest = messages
    same = all(each.startswith("must be ") for each in messages)
    return " or ".join([first, *(each.removeprefix("must be ") if same else each for each in rest)])


def _message(mistake: ErrorDetails) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", mistake["msg"]))
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return f"{mistake['input']!r} {_PATTERN_WORDS.get(pattern, f'does not match {pattern}')}"
    if kind in _LIMIT_WORDS:
        return _LIMIT_WORDS[kind].format_map(context)
    if kind == "literal_error":
        return f"must be {context.get('expected')}, not {mistake['input']!r}"
    word = _TYPE_WORDS.get(kind)
    if word is not None:
        return word
    message = mistake["msg"]
    return message[:1].lower() + message[1:]


def _location(location: Sequence[Any], data: Any) -> tuple[Any, ...]:
    """Without the parts that only name a branch of a union: those lead nowhere in the data."""
    kept: list[Any] = []
    node = data
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if (isinstance(node, Mapping) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]
        elif isinstance(node, Mapping) and last and isinstance(part, str) and "[" not in part and "-" not in part:
            if part not in {"str", "int", "float", "bool"} and part not in _MODEL_NAMES:
                kept.append(part)  # a key that is missing
            continue
        else:
            continue
        kept.append(part)
    return tuple(kept)


def named_path(location: Sequence[Any], data: Mapping[str, Any]) -> str:
    """`("rules", 0, "when")` as `rules.audio_interest.when`."""
    parts = [str(part) for part in location]
    if len(location) > 1 and location[0] == "rules" and isinstance(location[1], int):
        rule = data["rules"][location[1]]
        if isinstance(rule, Mapping) and isinstance(rule.get("key"), str):
            parts[1] = rule["key"]
    return ".".join(parts)


def model_at(location: Sequence[Any]) -> type[BaseModel] | None:
    """The model that a place in the document belongs to, for the names of its keys."""
    if not location:
        return Document
    model = _PARENTS.get(str(location[0]))
    for position, part in enumerate(location[1:], start=1):
        if model in {EventType, Property, Attribute} and location[position - 1] in {"properties", "items"}:
            model = Property
        elif location[0] == "tiers" and part == "levels":
            model = TierLevel
        elif position == 2 and (str(location[0]), str(part)) in _OWN_INNER:
            model = _OWN_INNER[str(location[0]), str(part)]
        elif part in _INNER and not (location[0] == "tests" and part in {"earn", "spend"}):
            model = _INNER[part]
    return model


def repaired(data: Mapping[str, Any], mistakes: Iterable[ErrorDetails]) -> tuple[dict[str, Any], frozenset[str]]:
    """The document without the parts that hold mistakes, and the paths (`metrics.orders`) of those parts.

    Of a rule what is right stays: its condition may be wrong as well.
    """
    rest = copy.copy(dict(data))
    broken: set[str] = set()
    drop: dict[str, set[Any]] = {}
    reduced: dict[Any, set[Any]] = {}
    for mistake in mistakes:
        location = mistake["loc"]
        section = location[0] if location else None
        if section in _SECTIONS and len(location) > 1 and isinstance(rest.get(section), Mapping):
            broken.add(f"{section}.{location[1]}")
            drop.setdefault(str(section), set()).add(location[1])
        elif section in _LISTS and len(location) > 1 and isinstance(rest.get(section), list):
            if section == "rules":
                reduced.setdefault(location[1], set()).update(location[2:3])
            else:
                drop.setdefault(str(section), set()).add(location[1])
            broken.add(".".join(named_path(location[:2], data).split(".")[:2]))
        elif section == "program" and isinstance(rest.get("program"), Mapping) and len(location) > 1:
            drop.setdefault("program", set()).add(location[1])
        elif section in rest:
            del rest[section]
            broken.update(_names(data, str(section)))
    for section, keys in drop.items():
        value = rest.get(section)
        if isinstance(value, list):
            rest[section] = [each for position, each in enumerate(value) if position not in keys]
        elif isinstance(value, Mapping):
            rest[section] = {key: each for key, each in value.items() if key not in keys}
    if isinstance(rest.get("rules"), list):
        parts = [_rest_of(each, reduced.get(position)) for position, each in enumerate(rest["rules"])]
        rest["rules"] = [each for each in parts if each is not None]
    rest.setdefault("rewards", 1)
    program = rest.get("program")
    rest["program"] = {"key": "unnamed", **program} if isinstance(program, Mapping) else {"key": "unnamed"}
    return rest, frozenset(broken)


def _rest_of(rule: Any, wrong: set[Any] | None) -> Any:
    """The parts of a rule that can be checked without those that are wrong; None where it cannot be told what it is for."""
    if wrong is None:
        return rule
    if not isinstance(rule, Mapping) or wrong & _NEEDED or not rule.keys() >= _NEEDED:
        return None
    return {"then": [], **{key: value for key, value in rule.items() if key in _CHECKED_ALONE and key not in wrong}}


def _names(data: Mapping[str, Any], section: str) -> set[str]:
    value = data.get(section)
    return {f"{section}.{key}" for key in value} if isinstance(value, Mapping) else set()
