"""Tiers, told to people."""

from __future__ import annotations

from typing import Final

from rewards.domain.program.flowchart import told_action
from rewards.domain.program.markdown import code, say, table
from rewards.domain.program.models import Document
from rewards.domain.program.models.tiers import Tiers

_CALENDAR: Final = frozenset({"day", "week", "month", "year"})
_DOWNGRADE: Final = {
    "one_level": "a tier that is not earned again falls by one level",
    "to_qualified": "a tier that is not earned again falls to the one that is",
    "never": "a tier is never lost",
}


def tiers(document: Document, locale: str) -> list[str]:
    """The section of tiers."""
    ladder = document.tiers
    if ladder is None:
        return []
    rows = [
        (
            say(level.name, locale) or key,
            code(key),
            level.at or "everybody",
            f"× {level.earn_rate}",
            "; ".join(map(told_action, level.rewards)),
            "; ".join(f"{name.replace('_', ' ')}: {say(text, locale)}" for name, text in level.benefits.items()),
            say(level.description, locale),
        )
        for key, level in ladder.rising
    ]
    head = ("tier", "key", "reached at", "rules earn", "gives at first", "benefits", "about")
    return ["## Tiers", "", *_terms(document, ladder), "", *table(head, rows)]


def _terms(document: Document, ladder: Tiers) -> list[str]:
    what = f"`{ladder.qualify.metric}`" if ladder.qualify.metric else f"`{ladder.qualify.earned}` earned"
    if ladder.per in _CALENDAR:
        lasts = f"A tier lasts until the end of the {ladder.per} after the one in which it was earned"
    elif ladder.per == "lifetime":
        lasts = "A tier lasts for good"
    else:
        lasts = "A tier lasts as long as that stays high enough"
    grace = f", and {ladder.grace} longer" if ladder.grace and ladder.per != "lifetime" else ""
    multiplied = ladder.multiplies
    if multiplied is None:
        multiplied = [key for key, each in document.currencies.items() if each.spendable]
    return [
        f"What counts is {what} per {ladder.per}. {lasts}{grace}; {_DOWNGRADE[ladder.downgrade]}.",
        f"Rules earn {', '.join(map(code, multiplied)) or 'nothing'} at the rate of the tier held.",
    ]
