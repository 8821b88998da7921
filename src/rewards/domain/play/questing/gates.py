"""What stands before a quest: other quests, badges, a condition over the member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def without_secrets(work: Work, lacks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is `missing` as the member itself may hear it: no key of what is secret, and no expression, which may name such."""
    badges = work.program.badges.by_key if work.program.badges is not None else {}
    told: list[dict[str, Any]] = []
    for each in lacks:
        if "condition" in each:
            told.append({"condition": None})
        elif "quest" in each:
            told.append({"quest": None if work.program.quests.quests[each["quest"]].secret else each["quest"]})
        else:
            badge = badges.get(each["badge"])
            told.append({"badge": None if badge is not None and badge.secret else each["badge"]})
    return told


def _badges_missing(work: Work, quest: Quest) -> list[str]:
    return [key for key in quest.badges if not held(work.play, key).level]


def _condition_holds(work: Work, quest: Quest, at: datetime) -> bool:
    if quest.when is None:
        return True
    return quest.when.test(work.program.bind_member(MemberFacts(work, at=at))) is True
