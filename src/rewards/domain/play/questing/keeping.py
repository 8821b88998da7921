"""What is kept of a member's quests, and what follows from a contribution more, or one less.

A contribution that comes in order only moves the head; one that comes late, or is taken back, has the tail folded anew.
What that newly grounds is told and paid, as of the moment at which it was reached; what was paid before stays.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from rewards.domain.outcome import Achievement
from rewards.domain.periods import epoch_micros, from_epoch_micros
from rewards.domain.play.questing.folding import STARTED, STEP, Happening, Terms, advance, fold
from rewards.domain.play.questing.paid_as import after
from rewards.domain.play.questing.sending import reward_all
from rewards.domain.play.questing.standing import (
    NOTHING,
    TAIL_MAX,
    TAIL_MIN,
    TAILS_MAX,
    Entry,
    Kept,
    Standing,
    with_joins_at,
)
from rewards.domain.play.rewards import give
from rewards.domain.program.compiled import Cause
from rewards.domain.program.quest import Quest
from rewards.domain.work import Work

MECHANIC: Final = "quests"


def kept_of(work: Work, quest: Quest) -> Kept:
    """What is kept of a quest; nothing yet, if it never began."""
    plain = work.play.get(MECHANIC, {}).get(quest.key)
    return Kept(quest.definition) if plain is None else Kept.of(plain)


def keep(work: Work, quest: Quest, kept: Kept) -> None:
    """Remembers it; nothing where there is nothing to remember."""
    empty = not kept.tail and not kept.paid and kept.settled == NOTHING and not kept.steps
    work.set_play(MECHANIC, quest.key, None if empty else kept.plain())


def as_defined(quest: Quest, kept: Kept) -> Kept:
    """What is kept, of other steps than the quest has now only what was completed: progress starts over."""
    if kept.definition == quest.definition:
        return kept
    completed = Standing(kept.completed, kept.head.first, kept.head.last)
    fresh = Kept(quest.definition, completed.plain(), completed, paid=kept.completed, first=kept.first)
    return fresh._replace(started=kept.started, told=kept.told, paid_as=kept.paid_as)


def first_completed(work: Work, key: str) -> int | None:
    """When the member first completed the quest of that key, in microseconds."""
    plain = work.play.get(MECHANIC, {}).get(key)
    return None if plain is None else Kept.of(plain).first


def terms_of(work: Work, quest: Quest) -> Terms:
    """What decides besides contributions, as of now."""
    if not quest.quests:
        return Terms(work.zone)
    moments = [first_completed(work, key) for key in quest.quests]
    known = [moment for moment in moments if moment is not None]
    return Terms(work.zone, max(known) if len(known) == len(moments) else None)


def add(work: Work, quest: Quest, kept: Kept, entry: Entry) -> tuple[Kept, list[Happening]]:
    """One contribution more: where the quest stands now, and what came of it newly."""
    terms = terms_of(work, quest)
    tail = kept.tail
    if not tail or _place(tail[-1]) <= entry.place:
        head, happened = advance(quest, kept.head, entry, terms)
        tail = (*tail, entry.plain())
    else:
        at = bisect_right(tail, entry.place, key=_place)
        tail = (*tail[:at], entry.plain(), *tail[at:])
        head, happened = fold(quest, kept.base, tail, terms)
    return became(work, quest, kept._replace(head=head, tail=tail), happened)


def fold_anew(work: Work, quest: Quest, kept: Kept, behind: tuple[str, ...] = ()) -> tuple[Kept, list[Happening]]:
    """After the tail, the base or the terms have changed, because the quests `behind` have."""
    head, happened = fold(quest, kept.base, kept.tail, terms_of(work, quest))
    return became(work, quest, kept._replace(head=head), happened, behind)


def became(
    work: Work, quest: Quest, kept: Kept, happened: Sequence[Happening], behind: tuple[str, ...] = ()
) -> tuple[Kept, list[Happening]]:
    """Remembers where a quest stands now, tells and pays what is new of `happened`, and returns both."""
    before = kept.first
    kept, news = _news(kept, happened)
    first = kept.head.first
    if first is not None and (before is None or first < before):
        kept = kept._replace(first=first)
    kept = _settled(work, quest, kept)
    keep(work, quest, kept)
    for each in news:
        _tell(work, quest, kept, each)
    if kept.first != before:
        for waiting in work.program.quests.unlocked_by.get(quest.key, ()):
            held = kept_of(work, waiting)
            if held.tail:
                fold_anew(work, waiting, held, (*behind, quest.key))
    if happened and work.program.quests.joined:
        _move_joined(work, happened, (*behind, quest.key))
    return kept, news


def link(quest: str, instance: int, step: int) -> str:
    """What a joining carries that follows from a completion, or with `step` (from 1) from a step on the way to it."""
    return f"{quest}:{instance}:{step}"


def _move_joined(work: Work, happened: Sequence[Happening], behind: tuple[str, ...]) -> None:
    """What follows from completions of the last quest of `behind` begins where these are now."""
    key = behind[-1]
    places = {
        link(key, each.instance, each.step): (each.micros, each.high, each.low)
        for each in happened
        if each.what is not STARTED
    }
    for follower in work.program.quests.joined if places else ():
        plain = work.play.get(MECHANIC, {}).get(follower.key)
        tail = None if plain is None or follower.key in behind else with_joins_at(plain[3], places)
        if tail is not None:
            fold_anew(work, follower, kept_of(work, follower)._replace(tail=tail), behind)


def _place(plain: list[Any]) -> tuple[int, int, int]:
    return plain[0], plain[1], plain[2]


def _news(kept: Kept, happened: Sequence[Happening]) -> tuple[Kept, list[Happening]]:
    """What was neither told nor paid before, and what is kept once it is."""
    news = []
    for each in happened:
        if each.what is STARTED:
            if each.micros <= kept.started:
                continue
            kept = kept._replace(started=each.micros)
        elif each.what is STEP:
            bits = kept.paid_steps(each.instance)
            bit = 1 << each.step - 1
            if bits is None:
                bits = -1 if each.instance <= kept.paid else 0  # who was paid for the whole was paid for its steps
            if bits & bit:
                continue
            kept = kept.with_steps(each.instance, bits | bit)
        elif each.instance <= kept.paid:
            continue
        else:
            kept = kept._replace(paid=each.instance)
        news.append(each)
    return kept, news


def _settled(work: Work, quest: Quest, kept: Kept) -> Kept:
    """The tail without what can no longer be reordered nor be missed by the attempt under way, and within its bounds."""
    tail = kept.tail
    count = 0
    if not quest.revocable:
        now = epoch_micros(work.now)
        horizon = now - work.program.late_seconds * 1_000_000
        attempt = kept.open_attempt(now)
        if attempt is not None and attempt.began < horizon:
            horizon = attempt.began
        while count < len(tail) and tail[count][0] < horizon:
            count += 1
    if len(tail) - count > TAIL_MIN:
        mine = work.play.get(MECHANIC, {})
        others = sum(len(plain[3]) for key, plain in mine.items() if key != quest.key)
        count = max(count, len(tail) - min(TAIL_MAX, max(TAIL_MIN, TAILS_MAX - others)))
    if not count:
        return kept if tail else _without_ended(kept, epoch_micros(work.now))
    base = kept.head
    if count < len(tail):
        base, _ = fold(quest, kept.base, tail[:count], terms_of(work, quest))
    steps = tuple(each for each in kept.steps if each[0] > base.completed)
    paid_as = after(kept.paid_as, base.completed)
    kept = kept._replace(settled=base.plain(), tail=tail[count:], steps=steps, paid_as=paid_as)
    return _without_ended(kept, epoch_micros(work.now))


def _without_ended(kept: Kept, now: int) -> Kept:
    """An attempt that has ended, and that nothing can change any more, takes no room."""
    if kept.tail or kept.head.attempt is None or kept.open_attempt(now) is not None:
        return kept
    base = kept.head._replace(attempt=None)
    return kept._replace(settled=base.plain(), head=base)


def reference(quest: Quest, which: int | str, step: int = 0) -> str:
    """What the ledger entries of a completion carry, or with `step` (from 1) those of a step.

    `which` is the number of the completion, or of a team quest `Share.name`.
    """
    return f"quest:{quest.key}:{which}:{step}" if step else f"quest:{quest.key}:{which}"


def _tell(work: Work, quest: Quest, kept: Kept, each: Happening) -> None:
    if quest.team:
        _tell_team(work, quest, kept, each)
    elif each.what is STARTED:
        work.emitted.append(("quest.started", {"quest": quest.key}))
    else:
        carries = reference(quest, each.instance, each.step)
        tell(work, quest, each.instance, each.step, each.micros, carries=carries)


def _tell_team(work: Work, quest: Quest, kept: Kept, each: Happening) -> None:
    """What a group reaches is told of it; what follows from that happens to those who contributed."""
    if each.what is not STARTED:
        _record(work, quest, each.instance, each.step, each.micros)
        reward_all(work, quest, each, settled=kept.settled[0])


def tell(work: Work, quest: Quest, instance: int, step: int, micros: int, *, carries: str) -> None:
    """A completion, or with `step` (from 1) a step on the way to one, with all that follows for the member.

    `carries` is the `reference` under which it is rewarded.
    """
    _record(work, quest, instance, step, micros)
    if step:
        work.emitted.append(("quest.step", {"quest": quest.key, "step": step}))
        rewards = quest.steps[step - 1].rewards
    else:
        work.emitted.append(("quest.completed", {"quest": quest.key, "instance": instance}))
        rewards = quest.rewards
    moment = from_epoch_micros(micros)
    give(work, Cause("quest", quest.key), rewards, at=moment, reference=carries)


def _record(work: Work, quest: Quest, instance: int, step: int, micros: int) -> None:
    kind = "quest_step" if step else "quest"
    named = {"step": step} if step else {}
    work.effects.append({"type": kind, "key": quest.key, **named, "instance": instance})
    work.achieve(Achievement(kind, quest.key, step, instance, from_epoch_micros(micros), event=work.cause))
