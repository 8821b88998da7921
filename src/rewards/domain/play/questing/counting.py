"""One contribution counts, or does not: alike for members and for groups."""

from __future__ import annotations

from rewards.domain.play.questing.keeping import add
from rewards.domain.play.questing.standing import COUNTS, JOINS, Entry, Kept
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work


def why_never(quest: Quest, kept: Kept, micros: int) -> str | None:
    """Why nothing of that moment can matter; None if it may."""
    if _is_over(quest, kept, micros):
        return "completed_before"
    if quest.opt_in and not quest.joined_by_rule and not _was_joined(kept, micros):
        return "not_joined"
    return None


def is_locked(kept: Kept, sort: int, micros: int) -> bool:
    """Whether it may not begin an attempt, and there is none."""
    return sort == COUNTS and kept.open_attempt(micros) is None


def count(work: Work, quest: Quest, kept: Kept, entry: Entry) -> str:
    """Adds a contribution that may matter; says for the trace what became of it."""
    kept, news = add(work, quest, kept, entry)
    if news:
        return news[-1].what
    attempt = kept.head.attempt
    return "counted" if attempt is not None and attempt.began <= entry.micros else "not_available"


def _is_over(quest: Quest, kept: Kept, micros: int) -> bool:
    """Whether the quest is completed for good, and nothing at this moment can be part of how it was."""
    if quest.times is None or quest.revocable or kept.head.completed < quest.times:
        return False
    return kept.head.last is not None and micros > kept.head.last


def _was_joined(kept: Kept, micros: int) -> bool:
    attempt = kept.base.attempt
    return attempt is not None or any(plain[3] == JOINS and plain[0] <= micros for plain in kept.tail)
