"""One quest of two members that become one."""

from __future__ import annotations

from typing import Any

from rewards.domain.periods import epoch_micros
from rewards.domain.play.cells import clamp
from rewards.domain.play.questing.folding import COMPLETED, Happening, fold, reached, with_value
from rewards.domain.play.questing.keeping import as_defined, became, fold_anew, kept_of, terms_of
from rewards.domain.play.questing.paid_as import OWN, PaidAs
from rewards.domain.play.questing.sending import name_of
from rewards.domain.play.questing.standing import Attempt, Contributors, Kept, Standing, named
from rewards.domain.program.compiled import MetricKind
from rewards.domain.program.quest import Order, Quest
from rewards.domain.work import Work


def merge(work: Work, quest: Quest, other: Kept) -> None:
    """Takes over what the other member has: as if all events had been one member's, while all of them are kept; else
    the two attempts together. What either was paid counts as paid."""
    mine, other = kept_of(work, quest), as_defined(quest, other)
    paid = mine.paid + other.paid
    # Whoever comes is the newest of those absorbed.
    paid_as = _paid_as(mine, other, name_of(work.absorbed[0]))
    kept = mine._replace(
        paid=paid,
        steps=_steps(mine, other, paid),
        paid_as=paid_as,
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
    steps = tuple(each for each in kept.steps if each[0] > kept.paid)
    became(work, quest, kept._replace(settled=standing.plain(), head=standing, tail=(), steps=steps), happened)


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
    """The steps that either was paid on the way to the next completion count as paid for the next of both.

    Those of completions that may still be lost are all paid: they are others than was known for a completion of that number.
    """
    bits = (mine.paid_steps(mine.paid + 1) or 0) | (other.paid_steps(other.paid + 1) or 0)
    before = [number for number, _ in mine.steps if number <= mine.paid]
    before += [mine.paid + number for number, _ in other.steps if number <= other.paid]
    return (*((number, -1) for number in sorted(before)), *(((paid + 1, bits),) if bits else ()))


def _paid_as(mine: Kept, other: Kept, name: str) -> tuple[PaidAs, ...]:
    """What completions and steps of both were paid as: those of the other, who is called `name`, come after mine."""
    found = [each for each in mine.paid_as if each.first <= mine.paid]
    found += [
        each._replace(first=mine.paid + each.first, member=each.member or name)
        for each in other.paid_as
        if each.first <= other.paid
    ]
    own = 1
    for each in (*sorted(each for each in other.paid_as if each.length), PaidAs(other.paid + 1, 0, name, 0)):
        if own < each.first:
            found.append(PaidAs(mine.paid + own, each.first - own, name, own))
        own = each.first + each.length
    following = mine.paid + other.paid + 1
    for kept, whose in ((mine, OWN), (other, name)):
        number = kept.completed + 1
        if kept.paid_steps(number):
            before = [(each.member, each.number) for each in kept.paid_as if each.first == number and not each.length]
            found += [PaidAs(following, 0, member or whose, each) for member, each in (*before, (OWN, number))]
    return tuple(dict.fromkeys(found))


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _most(mine: Kept, other: Kept) -> int | None:
    lasts = [kept.base.last for kept in (mine, other) if kept.base.last is not None]
    return max(lasts, default=None)
