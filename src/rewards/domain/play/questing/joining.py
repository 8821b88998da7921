"""Joining a quest, and leaving it: by the member, by an app, or by a rule."""

from __future__ import annotations

from datetime import datetime

from rewards.domain.errors import Refusal
from rewards.domain.periods import epoch_micros, from_epoch_micros, rfc3339
from rewards.domain.play.groups import GROUP
from rewards.domain.play.questing.folding import STARTED, available_from, is_open
from rewards.domain.play.questing.gates import is_admitted, missing, without_secrets
from rewards.domain.play.questing.keeping import add, kept_of
from rewards.domain.play.questing.standing import JOINS, LEAVES, Entry, Kept
from rewards.domain.program.problems import meant
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work


class UnknownQuest(Refusal):
    """The program has no quest of that key."""

    code = "unknown-quest"


class QuestActive(Refusal):
    """The member is on this quest already. `details["began_at"]` says since when."""

    code = "quest-active"


class QuestCompleted(Refusal):
    """The member has completed the quest as often as it can be."""

    code = "quest-completed"


class QuestLocked(Refusal):
    """Something else comes first. `details["missing"]` lists what; where the member itself asks, without the keys of what is
    secret."""

    code = "quest-locked"


class QuestUnavailable(Refusal):
    """The quest has not begun, is over, or was completed too recently. `details["available_at"]` says from when on."""

    code = "quest-unavailable"


class QuestNotActive(Refusal):
    """There is nothing to leave: the member is not on this quest."""

    code = "quest-not-active"


class QuestOfTeam(Refusal):
    """It is a quest of groups: a group can join or leave it, a single member cannot."""

    code = "team-quest"


def quest_of(work: Work, key: str) -> Quest:
    """Raises `UnknownQuest`, and `QuestOfTeam` where only a group can be on it."""
    quest = work.program.quests.quests.get(key)
    if quest is None:
        shown = (each.key for each in work.program.quests.quests.values() if not each.secret)
        raise UnknownQuest(f"the program has no quest {key!r}{meant(key, shown)}", quest=key)
    if quest.team and work.state.kind != GROUP:
        raise QuestOfTeam("a team quest is joined and left by groups", quest=key)
    return quest


def begin(work: Work, quest: Quest, at: datetime, joining: Entry | None = None) -> bool:
    """Begins an attempt as of `at`, or of the place of `joining`; False if there is one already, or none may begin."""
    if quest.team and work.state.kind != GROUP:
        return False
    kept = kept_of(work, quest)
    if quest.times is not None and kept.completed >= quest.times:
        return False
    if not is_admitted(work, quest, at):
        return False
    _, news = add(work, quest, kept, joining or Entry.made(epoch_micros(at), work.id, JOINS))
    return any(each.what is STARTED for each in news)


def join(work: Work, quest: Quest, *, by_member: bool) -> None:
    """Begins an attempt now, asked `by_member` or for it. Raises `QuestActive`, `QuestCompleted`, `QuestLocked` or `QuestUnavailable`."""
    _check_open(work, quest, kept_of(work, quest))
    lacks = missing(work, quest, work.now)
    if lacks:
        raise QuestLocked("something else comes first", missing=without_secrets(work, lacks) if by_member else lacks)
    begin(work, quest, work.now)
    work.effects.append({"type": "quest_started", "key": quest.key})


def leave(work: Work, quest: Quest) -> None:
    """Gives the attempt up, with all that was counted for it. Raises `QuestNotActive`."""
    kept = kept_of(work, quest)
    now = epoch_micros(work.now)
    if kept.open_attempt(now) is None:
        raise QuestNotActive("the member is not on this quest", quest=quest.key)
    add(work, quest, kept, Entry.made(now, work.id, LEAVES))
    work.effects.append({"type": "quest_left", "key": quest.key})


def available_at(work: Work, quest: Quest, kept: Kept) -> datetime | None:
    """From when on the quest can begin, where that is not now; raises `QuestCompleted` if it never can."""
    if quest.times is not None and kept.completed >= quest.times:
        raise QuestCompleted("it was completed as often as it can be", quest=quest.key)
    now = epoch_micros(work.now)
    if not is_open(quest, now) and quest.ends is not None and work.now > quest.ends:
        raise QuestUnavailable("the quest is over", ended_at=rfc3339(quest.ends))
    moments = [work.now] if quest.starts is None else [work.now, quest.starts]
    if kept.head.last is not None:
        moments.append(from_epoch_micros(available_from(quest, kept.head.last, work.zone)))
    return max(moments) if max(moments) > work.now else None


def _check_open(work: Work, quest: Quest, kept: Kept) -> None:
    attempt = kept.open_attempt(epoch_micros(work.now))
    from_when = available_at(work, quest, kept)
    if attempt is not None:
        began = rfc3339(from_epoch_micros(attempt.began))
        raise QuestActive("the member is on this quest already", quest=quest.key, began_at=began)
    if from_when is not None:
        message = f"the quest can begin from {rfc3339(from_when)} on"
        raise QuestUnavailable(message, available_at=rfc3339(from_when))
