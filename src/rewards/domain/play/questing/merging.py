"""One quest of two members that become one."""

from __future__ import annotations

from typing import Any

from rewards.domain.periods import epoch_micros
from rewards.domain.play.cells import clamp
from rewards.domain.play.questing.folding import COMPLETED, Happening, fold, reached, with_value
from rewards.domain.play.questing.keeping import as_defined, became, fold_anew, kept_of, terms_of
from rewards.domain.play.questing.standing import Attempt, Contributors, Kept, Standing, named
from rewards.domain.program.compiled import MetricKind
from rewards.domain.program.quest import Order, Quest
from rewards.domain.work import Work


def merge(work: Work, quest: Quest, other: Kept) -> None:
    """Takes over what the other member has: as if all events had been one member's, while all of them are kept; else
    the two attempts together. What either was paid counts as paid."""
    mine, other = kept_of(work, quest), as_defined(quest, other)
    paid = mine.paid + other.paid
    steps = _steps(mine, other, paid)
    kept = mine._replace(
        paid=paid,
        steps=steps,
        started=max(mine.started, other.started),
        told=min(mine.told, other.told),
        first=min((each.first for each in (mine, other) if each.first is not None), default=None),
    )
    if mine.base.attempt is None and other.base.attempt is None:
        tail = tuple(sorted((*mine.tail, *other.tail), key=lambda each: each[:3]))
        base = Standing(
            mine.base.completed + other.base.completed, _least(mine.base.first, other.base.first), _most(mine, other)
        )
        head, _ = fold(quest, base, tail, terms_of(work, quest))
        if head.completed >= paid:
            fold_anew(work, quest, kept._replace(settled=base.plain(), tail=tail))
            return
    _together(work, quest, kept, mine.head, other.head)


def _together(work: Work, quest: Quest, kept: Kept, one: Standing, other: Standing) -> None:
    now = epoch_micros(work.now)
    attempts = [
        each.attempt
        for each in (one, other)
        if each.attempt is not None and (each.attempt.ends is None or each.attempt.ends > now)
    ]
    attempt = attempts[0] if attempts else None
    if len(attempts) == 2:
        attempt = _both(quest, *attempts)
    if quest.times is not None and kept.paid >= quest.times:
        attempt = None
    lasts = [each.last for each in (one, other) if each.last is not None]
    standing = Standing(kept.paid, kept.first, max(lasts, default=None), attempt)
    happened = []
    if attempt is not None and (attempt.done == quest.all_done or (attempt.done and quest.order is Order.ANY)):
        first = now if standing.first is None else standing.first
        standing = Standing(kept.paid + 1, first, now, None)
        happened.append(Happening(COMPLETED, standing.completed, 0, now, named(attempt.by)))
    became(work, quest, kept._replace(settled=standing.plain(), head=standing, tail=()), happened)


def _both(quest: Quest, one: Attempt, other: Attempt) -> Attempt:
    counts: list[Any] = []
    done = one.done | other.done
    for index, step in enumerate(quest.steps):
        a, b = one.counts[index], other.counts[index]
        if step.kind is MetricKind.DISTINCT:
            for value in b:
                a = with_value(a, value)
            counts.append(a)
        elif step.kind is MetricKind.MAX:
            counts.append(max((each for each in (a, b) if each is not None), default=None))
        else:
            counts.append(clamp(a + b))
        in_turn = quest.order is not Order.SEQUENCE or done == (1 << index) - 1
        if in_turn and reached(step.kind, counts[-1], step.goal):
            done |= 1 << index
    ends = None if one.ends is None or other.ends is None else max(one.ends, other.ends)
    return Attempt(min(one.began, other.began), ends, counts, done, _of_both(one.by, other.by))


def _of_both(one: Contributors, other: Contributors) -> Contributors:
    counts = dict(one)
    for name, count in other:
        mine = counts.get(name, 0)
        counts[name] = abs(mine) + abs(count) if mine > 0 or count > 0 else mine + count
    return tuple(counts.items())


def _steps(mine: Kept, other: Kept, paid: int) -> tuple[tuple[int, int], ...]:
    """The steps that either was paid on the way to the next completion: they count as paid for the next of both."""
    bits = (mine.paid_steps(mine.completed + 1) or 0) | (other.paid_steps(other.completed + 1) or 0)
    return ((paid + 1, bits),) if bits else ()


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _most(mine: Kept, other: Kept) -> int | None:
    lasts = [kept.base.last for kept in (mine, other) if kept.base.last is not None]
    return max(lasts, default=None)
