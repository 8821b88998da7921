"""Names the parts of the grammar that this version does not carry out yet, apart from what is simply unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewards.domain.program.models.document import (
    LATER_ACTIONS,
    LATER_RULE_KEYS,
    LATER_SECTIONS,
    LATER_TEST_KEYS,
)
from rewards.domain.program.problems import Problems

CODE = "not-available-yet"


def drop_later(data: dict[str, Any], problems: Problems) -> tuple[dict[str, Any], frozenset[str]]:
    """`data` without what is not available yet, each named once in `problems`; and the paths of the rules that lost
    something, about which remarks would mislead."""
    kept = {key: value for key, value in data.items() if key not in LATER_SECTIONS}
    for section in data:
        if section in LATER_SECTIONS:
            problems.error(str(section), CODE, f"the section {section} is not yet available")
    if isinstance(kept.get("leaderboards"), Mapping):
        kept["leaderboards"] = {
            key: _board(board, f"leaderboards.{key}", problems) for key, board in kept["leaderboards"].items()
        }
    if isinstance(kept.get("rules"), list):
        kept["rules"] = [_rule(rule, position, problems) for position, rule in enumerate(kept["rules"])]
    if isinstance(kept.get("tests"), list):
        kept["tests"] = [
            _without(test, LATER_TEST_KEYS, f"tests.{position}", problems)
            for position, test in enumerate(kept["tests"])
        ]
    return kept, frozenset(".".join(problem.path.split(".")[:2]) for problem in problems.errors)


def _rule(rule: Any, position: int, problems: Problems) -> Any:
    if not isinstance(rule, Mapping):
        return rule
    key = rule.get("key")
    path = f"rules.{key if isinstance(key, str) else position}"
    kept = _without(rule, LATER_RULE_KEYS, path, problems)
    for list_key in ("then", "otherwise"):
        if isinstance(kept.get(list_key), list):
            kept[list_key] = _actions(kept[list_key], f"{path}.{list_key}", problems)
    return kept


def _board(board: Any, path: str, problems: Problems) -> Any:
    """Without later actions in prizes, and without prizes of which nothing is left."""
    if not isinstance(board, Mapping) or not isinstance(board.get("prizes"), list):
        return board
    prizes = []
    for position, prize in enumerate(board["prizes"]):
        kept = prize
        if isinstance(prize, Mapping) and isinstance(prize.get("then"), list):
            kept = {**prize, "then": _actions(prize["then"], f"{path}.prizes.{position}.then", problems)}
        if kept is prize or kept["then"] or not prize["then"]:
            prizes.append(kept)
    return {**board, "prizes": prizes}


def _without(part: Any, later: frozenset[str], path: str, problems: Problems) -> Any:
    if not isinstance(part, Mapping):
        return part
    for key in part:
        if key in later:
            problems.error(f"{path}.{key}", CODE, f"{key} is not yet available")
    return {key: value for key, value in part.items() if key not in later}


def _actions(actions: list[Any], path: str, problems: Problems) -> list[Any]:
    kept = []
    for position, action in enumerate(actions):
        names = [name for name in action if name in LATER_ACTIONS] if isinstance(action, Mapping) else []
        for name in names:
            problems.error(f"{path}.{position}.{name}", CODE, f"the action {name} is not yet available")
        if not names:
            kept.append(action)
    return kept
