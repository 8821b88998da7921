"""Commands about quests: a member joins one, or leaves it."""

from __future__ import annotations

from rewards.domain.commands import JoinQuest, LeaveQuest
from rewards.domain.outcome import Outcome, Status
from rewards.domain.periods import epoch_micros, from_epoch_micros, rfc3339
from rewards.domain.play.deciding import follow_emitted
from rewards.domain.play.questing.joining import join, leave, quest_of
from rewards.domain.play.questing.keeping import kept_of
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work, balances


def decide_join(work: Work, command: JoinQuest) -> Outcome:
    """Raises `UnknownQuest`, `QuestOfTeam`, `QuestActive`, `QuestCompleted`, `QuestLocked`, `QuestUnavailable`; nothing is changed then."""
    quest = quest_of(work, command.quest)
    join(work, quest, by_member=command.by_member)
    return _finish(work, quest)


def decide_leave(work: Work, command: LeaveQuest) -> Outcome:
    """Raises `UnknownQuest`, `QuestOfTeam`, `QuestNotActive`; nothing is changed then."""
    quest = quest_of(work, command.quest)
    leave(work, quest)
    return _finish(work, quest)


def _finish(work: Work, quest: Quest) -> Outcome:
    follow_emitted(work, work.now)
    outcome = work.finish(Status.PROCESSED)
    attempt = kept_of(work, quest).open_attempt(epoch_micros(work.now))
    ends = attempt.ends if attempt is not None else None
    outcome.answer = {
        "quest": quest.key,
        "active": attempt is not None,
        "began_at": None if attempt is None else rfc3339(from_epoch_micros(attempt.began)),
        "ends_at": None if ends is None else rfc3339(from_epoch_micros(ends)),
        "effects": outcome.effects,
        "balances": balances(outcome.state, work.program),
    }
    return outcome
