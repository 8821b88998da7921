"""Badges, told to people."""

from __future__ import annotations

from rewards.domain.program.flowchart import told_action
from rewards.domain.program.markdown import code, say, table, titled
from rewards.domain.program.models import Document
from rewards.domain.program.models.badges import Badge, BadgeLevel


def badges(document: Document, locale: str) -> list[str]:
    """The section of badges."""
    rows = [
        (
            say(each.name, locale) or key,
            code(key),
            _levels(each, locale),
            _rewards(each, locale),
            ", ".join(_terms(each)),
            say(each.description, locale),
        )
        for key, each in document.badges.items()
    ]
    return titled("Badges", table(("badge", "key", "earned at", "gives", "besides", "about"), rows))


def _levels(badge: Badge, locale: str) -> str:
    levels = [_level(each, position, locale) for position, each in enumerate(badge.levels or [], start=1)]
    if badge.metric is None:
        return "given by a rule" + (f": {', '.join(levels)}" if levels else "")
    return f"{code(badge.metric)} of {', '.join(levels)}"


def _level(level: BadgeLevel, position: int, locale: str) -> str:
    name = say(level.name, locale)
    if level.at is None:
        return name or f"level {position}"
    return f"{level.at} ({name})" if name else str(level.at)


def _rewards(badge: Badge, locale: str) -> str:
    own = "; ".join(map(told_action, badge.rewards))
    each = [
        f"{_level(level, position, locale)}: {'; '.join(map(told_action, level.rewards)) or 'nothing'}"
        for position, level in enumerate(badge.levels or [], start=1)
        if level.rewards is not None
    ]
    return "; ".join(filter(None, [own, *each]))


def _terms(badge: Badge) -> list[str]:
    terms = [("secret", badge.secret), ("revocable", badge.revocable), ("not announced", not badge.announce)]
    return [name for name, holds in terms if holds]
