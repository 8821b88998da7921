"""Quests that begin because another one was completed: by its rewards, or by a rule on `quest.completed`.

They begin when that was, in the order of (occurred at, id), and not when it became known; and where a late event moves the
completion, the beginning moves with it.
"""

from __future__ import annotations

from typing import NamedTuple

from rewards.domain.periods import epoch_micros
from rewards.domain.play.actions import Firing
from rewards.domain.play.questing.folding import STARTED, fold
from rewards.domain.play.questing.keeping import kept_of, link, terms_of
from rewards.domain.play.questing.shares import Shares
from rewards.domain.play.questing.standing import JOINS, Entry
from rewards.domain.program.compiled import Missing
from rewards.domain.program.quest import BeginQuest
from rewards.domain.work import Work


class Completion(NamedTuple):
    """The `instance`-th completion of a quest, or with `step` (from 1) a step on the way to it."""

    quest: str
    instance: int
    step: int = 0


def completion_behind(firing: Firing, action: BeginQuest) -> Completion | None:
    """What of this very command the action follows from; None where that is no completion, or one of long ago."""
    found = _of_rewards(firing) or _of_event(firing, action)
    if found is None:
        return None
    kind = "quest_step" if found.step else "quest"
    known = firing.work.achievements.get((kind, found.quest, found.step, found.instance))
    return found if known is not None and known.revoked_at is None else None


def _of_rewards(firing: Firing) -> Completion | None:
    if firing.cause.kind != "quest" or firing.reference is None:
        return None
    quest = firing.work.program.quests.quests[firing.cause.key]
    rest = firing.reference.removeprefix(f"quest:{quest.key}:")
    if not quest.team:
        return Completion(quest.key, *map(int, rest.split(":")))
    group, number, *step = rest.split(":")
    share = Shares(firing.work, quest.key).of(group, int(number))
    return Completion(quest.key, share.own, *map(int, step))


def _of_event(firing: Firing, action: BeginQuest) -> Completion | None:
    if action.after is None:
        return None
    quest, instance = (value.read(firing.bound) for value in action.after)
    if isinstance(quest, Missing) or isinstance(instance, Missing):
        return None
    return Completion(quest, int(instance))


def joining(work: Work, completion: Completion) -> Entry:
    """A joining at the place of a completion, from now on tied to it."""
    quest = work.program.quests.quests[completion.quest]
    kept = kept_of(work, quest)
    _, happened = fold(quest, kept.base, kept.tail, terms_of(work, quest))
    tie = link(*completion)
    for each in happened:
        if each.what is not STARTED and each[1:3] == completion[1:]:
            return Entry(each.micros, each.high, each.low, JOINS, (), tie)
    kind = "quest_step" if completion.step else "quest"
    reached = work.achievements[kind, completion.quest, completion.step, completion.instance].achieved_at
    return Entry.made(epoch_micros(reached), work.id, JOINS, by=tie)
