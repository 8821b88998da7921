"""Streaks, told to people."""

from __future__ import annotations

from rewards.domain.periods import Calendar
from rewards.domain.program.durations import in_words, parse_duration
from rewards.domain.program.flowchart import told_action
from rewards.domain.program.markdown import code, say, table, titled
from rewards.domain.program.models import Document
from rewards.domain.program.models.actions import Action
from rewards.domain.program.models.base import duration
from rewards.domain.program.models.streaks import Freezes, Milestone, Pause, Streak
from rewards.domain.program.streak import PauseTerms


def streaks(document: Document, locale: str) -> list[str]:
    """A section with a part for each streak; nothing without any."""
    lines: list[str] = []
    for key, each in document.streaks.items():
        lines += [f"### {say(each.name, locale) or key.replace('_', ' ')}", ""]
        if each.description:
            lines += [say(each.description, locale), ""]
        lines += table((code(key), ""), _terms(each))
        rows = [(_length(one), say(one.name, locale), _rewards(one.rewards) or "nothing") for one in each.milestones]
        lines += table((f"{each.per}s in a row", "name", "gives"), rows)
    return titled("Streaks", lines)


def _terms(each: Streak) -> list[tuple[str, str]]:
    events = ", ".join(map(code, each.on))
    counted = f"{each.target} × {events}" if each.value is None else f"{each.target} of {code(each.value)} in {events}"
    where = f" where {code(each.where)}" if each.where else ""
    rows = [(f"kept by, each {each.per}", f"{counted}{where}")]
    if each.freezes is not None:
        rows.append(("bridged by freezes", _freezes(each.freezes)))
    if each.pause is not None:
        rows.append(("can be paused", _pauses(each.pause, Calendar(each.per))))
    if each.warn_before:
        rows.append(("warns", f"{each.warn_before} before it breaks"))
    if each.rewards:
        rows.append((f"gives, each {each.per}", _rewards(each.rewards)))
    return rows


def _freezes(freezes: Freezes) -> str:
    told = [f"at most {freezes.most}", f"{freezes.start} at first"]
    if freezes.earn_every is not None:
        told.append(f"one for every {freezes.earn_every} kept")
    if freezes.price is not None:
        told.append(f"{freezes.price.amount} {freezes.price.currency} each")
    return ", ".join(told)


def _pauses(pause: Pause, per: Calendar) -> str:
    terms = PauseTerms.of(per, parse_duration(pause.longest), duration(pause.per_year))
    return f"up to {pause.longest} each time, {in_words(terms.per_year_seconds)} a calendar year"


def _length(milestone: Milestone) -> str:
    return str(milestone.at) if milestone.at is not None else f"every {milestone.every}"


def _rewards(rewards: list[Action]) -> str:
    return "; ".join(map(told_action, rewards))
