"""How far a member is in the quests of the program, as told to the member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from rewards.domain.ids import Ids
from rewards.domain.periods import epoch_micros, from_epoch_micros
from rewards.domain.play.cells import unscaled
from rewards.domain.play.groups import GROUP
from rewards.domain.play.questing.gates import missing
from rewards.domain.play.questing.joining import QuestCompleted, QuestUnavailable, available_at
from rewards.domain.play.questing.keeping import kept_of
from rewards.domain.play.questing.standing import Attempt, Kept
from rewards.domain.program.compiled import MetricKind, Program
from rewards.domain.program.quest import Quest, Step
from rewards.domain.state import MemberState
from rewards.domain.work import Work

_NOBODY: Final = bytes(16)


class State(StrEnum):
    """`locked`: something else comes first. `available`: it can begin, perhaps only at a later moment. `over`: no more."""

    LOCKED = "locked"
    AVAILABLE = "available"
    ACTIVE = "active"
    COMPLETED = "completed"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class StepProgress:
    """One step of the attempt under way; of a quest that is completed all that was needed."""

    step: Step
    value: int | float
    done: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a member stands in one quest. `missing` says what a locked one waits for.

    `group` is the id of the group that stands there, in a team quest.
    """

    quest: Quest
    state: State
    steps: tuple[StepProgress, ...]
    completed: int
    completed_at: datetime | None
    began_at: datetime | None
    ends_at: datetime | None
    available_at: datetime | None
    missing: tuple[dict[str, Any], ...]
    group: str | None = None


def progress_of(
    program: Program, state: MemberState, *, now: datetime, groups: Mapping[str, MemberState] | None = None
) -> list[Progress]:
    """All quests by key; a secret one is left out until it has begun for the member.

    A team quest is told for each of the member's `groups` (by their ids), and is locked for a member who has none.
    """
    mine = _work(program, state, now)
    teams = {group: _work(program, each, now) for group, each in (groups or {}).items()}
    told = []
    for quest in program.quests.quests.values():
        if not quest.team:
            told.append(_progress(mine, quest))
        elif state.kind == GROUP:
            told.append(replace(_progress(mine, quest), group=state.external_id))
        elif teams:
            told += [replace(_progress(work, quest), group=group) for group, work in teams.items()]
        else:
            told.append(_without_group(_progress(mine, quest)))
    return [each for each in told if not each.quest.secret or each.completed or each.state is State.ACTIVE]


def _work(program: Program, state: MemberState, now: datetime) -> Work:
    ids = Ids(_NOBODY, bucket=state.bucket, unix_ms=0, seq=0)
    return Work(program, state, now=now, ids=ids, counters={}, actor="")


def _without_group(each: Progress) -> Progress:
    if each.state is State.OVER:
        return each
    return replace(each, state=State.LOCKED, missing=({"group": None}, *each.missing))


def _progress(work: Work, quest: Quest) -> Progress:
    kept = kept_of(work, quest)
    attempt = kept.open_attempt(epoch_micros(work.now))
    from_when = None
    lacks: tuple[dict[str, Any], ...] = ()
    try:
        from_when = available_at(work, quest, kept)
    except QuestCompleted:
        attempt, standing = None, State.COMPLETED
    except QuestUnavailable:
        attempt, standing = None, State.OVER
    else:
        if attempt is not None:
            from_when, standing = None, State.ACTIVE
        elif lacking := missing(work, quest, work.now):
            lacks, standing = tuple(lacking), State.LOCKED
        else:
            standing = State.COMPLETED if kept.completed and from_when is not None else State.AVAILABLE
    return Progress(
        quest=quest,
        state=standing,
        steps=tuple(_step(step, kept, attempt, standing) for step in quest.steps),
        completed=kept.completed,
        completed_at=None if kept.head.last is None else from_epoch_micros(kept.head.last),
        began_at=None if attempt is None else from_epoch_micros(attempt.began),
        ends_at=None if attempt is None or attempt.ends is None else from_epoch_micros(attempt.ends),
        available_at=from_when,
        missing=lacks,
    )


def _step(step: Step, kept: Kept, attempt: Attempt | None, standing: State) -> StepProgress:
    if attempt is None:
        if standing is not State.COMPLETED:
            return StepProgress(step, 0, done=False)
        bits = kept.paid_steps(kept.completed)
        done = bool(bits >> step.number - 1 & 1) if bits else True
        return StepProgress(step, step.target if done else 0, done=done)
    value = _value(step, attempt.counts[step.number - 1])
    return StepProgress(step, value, done=bool(attempt.done >> step.number - 1 & 1))


def _value(step: Step, count: Any) -> int | float:
    if step.kind is MetricKind.DISTINCT:
        return len(count)
    if step.kind is MetricKind.SUM:
        return unscaled(count)
    value: int | float = 0 if count is None else count
    return value
