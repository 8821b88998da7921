"""What people call what a member was awarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rewards.domain.program.compiled import Program
from rewards.domain.program.wording import worded
from rewards.features.news.queries import Awarded


class Named(NamedTuple):
    name: str
    image: str | None


def currency_name(program: Program, key: str, locale: str | None) -> str:
    """In the member's language, else the program's; its key, where the program has it no more."""
    currency = program.currencies.get(key)
    return (worded(currency.name, locale, program.locale) if currency is not None else None) or key


_Texts = tuple[Mapping[str, str] | None, Mapping[str, str] | None]
"""A name and an image, by locale."""


def named(program: Program, awarded: Awarded, locale: str | None) -> Named:
    """In the member's language, else the program's; by its key, where the program has it no more."""
    names, images = _texts(program, awarded)
    name = worded(names, locale, program.locale) if names else None
    return Named(name or awarded.subject, worded(images, locale, program.locale) if images else None)


def _texts(program: Program, awarded: Awarded) -> _Texts:
    match awarded.kind:
        case "points":
            currency = program.currencies.get(awarded.key)
            return (currency.name, None) if currency is not None else (None, None)
        case "badge":
            return _badge(program, awarded)
        case "quest" | "quest_step":
            return _quest(program, awarded)
        case "streak":
            return _streak(program, awarded)
        case "tier":
            levels = program.tiers.levels if program.tiers is not None else ()
            return next(((tier.name, tier.image) for tier in levels if tier.key == awarded.key), (None, None))
        case "prize":
            board = program.boards.by_key.get(awarded.subject) if program.boards is not None else None
            return (board.name, board.image) if board is not None else (None, None)
        case _:
            return None, None


def _badge(program: Program, awarded: Awarded) -> _Texts:
    badge = program.badges.by_key.get(awarded.key) if program.badges is not None else None
    if badge is None:
        return None, None
    level = next((level for level in badge.levels if level.number == awarded.level), None)
    if level is None:
        return badge.name, badge.image
    return level.name or badge.name, level.image or badge.image


def _quest(program: Program, awarded: Awarded) -> _Texts:
    """A step goes by its own name; `level` is its number, 0 for the quest."""
    quest = program.quests.quests.get(awarded.key)
    if quest is None:
        return None, None
    step = next((step for step in quest.steps if step.number == awarded.level), None)
    return (step.names if step is not None else None) or quest.names, quest.images


def _streak(program: Program, awarded: Awarded) -> _Texts:
    streak = program.streaks.get(awarded.key)
    if streak is None:
        return None, None
    milestone = next((each for each in streak.milestones if each.is_at(awarded.level or 0)), None)
    return (milestone.name if milestone is not None else None) or streak.name, streak.image
