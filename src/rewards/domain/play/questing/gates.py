"""What stands before a quest: other quests, badges, a condition over the member."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rewards.domain.play.facts import MemberFacts
from rewards.domain.play.groups import GROUP
from rewards.domain.play.held_badges import held
from rewards.domain.play.questing.keeping import first_completed
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work


def is_admitted(work: Work, quest: Quest, at: datetime) -> bool:
    """Whether the member holds the badges and fulfils the condition that an attempt needs to begin, as of now.

    Of a team quest they are asked of those who contribute, never of the group.
    """
    if quest.team and work.state.kind == GROUP:
        return True
    if not quest.badges and quest.when is None:
        return True
    return not _badges_missing(work, quest) and _condition_holds(work, quest, at)


def missing(work: Work, quest: Quest, at: datetime) -> list[dict[str, Any]]:
    """What the member lacks for the quest to begin: `{"quest": key}`, `{"badge": key}` or `{"condition": expression}`."""
    lacks: list[dict[str, Any]] = [{"quest": key} for key in quest.quests if first_completed(work, key) is None]
    if quest.team:
        return lacks
    lacks += [{"badge": key} for key in _badges_missing(work, quest)]
    if quest.when is not None and not _condition_holds(work, quest, at):
        lacks.append({"condition": quest.when.source})
    return lacks


def _badges_missing(work: Work, quest: Quest) -> list[str]:
    return [key for key in quest.badges if not held(work.play, key).level]


def _condition_holds(work: Work, quest: Quest, at: datetime) -> bool:
    if quest.when is None:
        return True
    return quest.when.test(work.program.bind_member(MemberFacts(work, at=at))) is True
