"""The usual contributions: one that comes in order, belongs to the attempt under way, and reaches nothing; and the first of all.

Little follows from them, so what is kept is changed as it is written down. What comes of them is what `keeping.add` would make
of them; where that may be more, `continued` and `begun` leave it to that.
"""

from __future__ import annotations

from typing import Any

from rewards.domain.periods import epoch_micros
from rewards.domain.play.questing.folding import Terms, advance, count_of, reached
from rewards.domain.play.questing.standing import NOTHING, TAIL_MIN, Entry, Standing
from rewards.domain.program.quest import Order, Quest
from rewards.domain.work import Work


def continued(work: Work, quest: Quest, plain: list[Any], entry: Entry) -> list[Any] | None:
    """What is kept of the quest with one contribution more; None where something may follow from it."""
    definition, settled, head, tail, *others = plain
    if not tail or definition != quest.definition or quest.opt_in or head[3] is None:
        return None
    began, ends, before, done, *by = head[3]
    last = tail[-1]
    if by or (last[0], last[1], last[2]) > entry.place or (ends is not None and ends <= epoch_micros(work.now)):
        return None
    if len(tail) >= TAIL_MIN or (not quest.revocable and _settles(work, tail[0][0], began)):
        return None
    counts = before.copy()
    current = done.bit_count()
    for index, payload in entry.parts:
        if quest.order is Order.SEQUENCE and index != current:
            continue
        step = quest.steps[index]
        counts[index] = count_of(step.kind, counts[index], payload)
        if not done >> index & 1 and reached(step.kind, counts[index], step.goal):
            return None
    standing = [head[0], head[1], head[2], [began, ends, counts, done]]
    return [definition, settled, standing, [*tail, entry.plain()], *others]


def begun(work: Work, quest: Quest, entry: Entry) -> list[Any] | None:
    """What is kept of a quest of which nothing was, where the contribution begins it and nothing else."""
    if quest.opt_in or quest.quests:
        return None
    head, happened = advance(quest, Standing(), entry, Terms(work.zone))
    if len(happened) != 1:
        return None
    return [quest.definition, NOTHING, head.plain(), [entry.plain()], 0, [], entry.micros, 0, None]


def _settles(work: Work, oldest: int, began: int) -> bool:
    """Whether the oldest contribution can no longer be reordered nor be missed by the attempt."""
    return oldest < began and oldest < epoch_micros(work.now) - work.program.late_seconds * 1_000_000
