"""Badges: a level is reached once the badge's metric has read its threshold, or when an action gives it.

Levels are held by number, and paid by threshold: one that a new version inserts below those that are held is awarded, and they
move up without being paid again.

A level stands whatever the metric reads later. Only a `revocable` badge loses levels, and only when an event that was part of
the reading by which they were reached counts no longer, and no other reading reaches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from rewards.domain.effects import EFFECTS_MAX
from rewards.domain.errors import Refusal
from rewards.domain.ledger.reverse import asked
from rewards.domain.outcome import Achievement
from rewards.domain.play.actions import Firing, performs
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.held_badges import MECHANIC, PAID_FOR, Held, held, level_held, together, unpacked
from rewards.domain.play.mechanic import Mechanic
from rewards.domain.play.peaks import grounds, peak, reached_by, readings_of
from rewards.domain.play.recounting import counted_since
from rewards.domain.play.reversing import take_back
from rewards.domain.play.rewards import give
from rewards.domain.play.windows import slotless
from rewards.domain.program.badge import AWARDED, KIND, REVOKED, Badge, BadgeAction, Level
from rewards.domain.program.board import ScoreAction
from rewards.domain.program.compiled import Action, Cause, EarnAction, Metric
from rewards.domain.program.streak import FreezesAction
from rewards.domain.work import Work


class Badges(Mechanic):
    """Sees after each event which levels it reaches, and after events were taken back which are lost."""

    name: ClassVar[str] = MECHANIC

    def follow(self, work: Work, event_type: str, facts: EventFacts) -> None:
        assert work.program.badges is not None
        for badge in work.program.badges.by_event.get(event_type, ()):
            _rise(work, badge, since=facts.at, at=facts.at)

    def reassess(self, work: Work, at: datetime) -> None:
        assert work.program.badges is not None
        for badge in work.program.badges.by_key.values():
            if badge.metric is not None and badge.metric.id in work.metrics:
                _rise(work, badge, since=None, at=at)
            if badge.revocable:
                _fall(work, badge, _gone(work, badge.metric))

    def merge(self, work: Work, other: Mapping[str, Any]) -> None:
        """The higher level of the two; what was given for it was given to one of them already."""
        for key, kept in other.items():
            work.set_play(MECHANIC, key, together(held(work.play, key), unpacked(kept)).packed())


@performs(BadgeAction)
def _give(firing: Firing, action: BadgeAction) -> None:
    badges = firing.work.program.badges
    assert badges is not None
    badge = badges.by_key[action.key]
    while level_held(firing.work.play, badge.key) < action.level:
        if not _award(firing.work, badge, firing.occurred_at, cause=firing.cause):
            return


def _rise(work: Work, badge: Badge, *, since: datetime | None, at: datetime) -> None:
    """Awards what the metric has reached at any moment since an event (None: ever), the lowest level first.

    A level that is reached by events which came before a late one, and occurred after it, is reached with them.
    """
    kept = work.play.get(MECHANIC, {}).get(badge.key)
    already = 0 if kept is None else len(kept[0])
    metric = badge.metric
    assert metric is not None
    if already >= len(badge.levels):
        return
    if kept is not None and len(kept) > PAID_FOR and any(each.at in kept[PAID_FOR] for each in badge.levels[already:]):
        already = _move_up(work, badge)
    state = work.metrics.get(metric.id)
    until = max(at, work.now)
    highest = peak(metric, state, since=since, until=until, zone=work.zone)
    for level in badge.levels[already:]:
        assert level.at is not None
        if highest is None or highest < level.at:
            return
        if _move_up(work, badge) >= level.number:
            continue
        by = reached_by(metric, state, level.at, since=since, until=until, zone=work.zone)
        if not _award(work, badge, by or at):
            return


def _award(work: Work, badge: Badge, at: datetime, *, cause: Cause | None = None) -> bool:
    """The next level, with its rewards; False when the event has had too many effects already."""
    if work.room() <= 0:
        work.trace.append({KIND: badge.key, "result": "effects_exceeded", "most": EFFECTS_MAX})
        return False
    mine = _known(work, badge).with_next(at)
    _reached(work, badge, mine, badge.levels[mine.level - 1], at, cause=cause)
    return True


def _move_up(work: Work, badge: Badge) -> int:
    """Awards levels that were inserted since, below such as were paid already; returns the level held then."""
    mine = _known(work, badge)
    while work.room() > 0 and (inserted := _inserted(badge, mine)) is not None:
        mine = mine.with_inserted(inserted.number)
        top = mine.level
        work.achieve(replace(_achievement(work, badge, mine, top, mine.reached_at(top)), announced=False))
        work.trace.append({KIND: badge.key, "level": top, "result": "moved_up"})
        _reached(work, badge, mine, inserted, mine.reached_at(inserted.number))
        mine = held(work.play, badge.key)
    return mine.level


def _inserted(badge: Badge, mine: Held) -> Level | None:
    """The level to be awarded before one that stands paid can have its own number again."""
    standing = [
        each.number
        for each in badge.levels
        if each.at in mine.thresholds and mine.payment_of(each.at, each.number) not in mine.lost
    ]
    if not standing or standing[-1] <= mine.level:
        return None
    # The highest of those that can be: what is below it may be held under a threshold that has changed.
    return next((each for each in reversed(badge.levels[: mine.level]) if each.at not in mine.thresholds), None)


def _known(work: Work, badge: Badge) -> Held:
    """What is held, with what it was paid for. Where that was not kept yet, levels were paid for what they need now."""
    mine = held(work.play, badge.key)
    if mine.thresholds or badge.metric is None:
        return mine
    numbers = range(1, len(mine.times) + 1)
    thresholds = tuple(badge.threshold(number) for number in numbers)
    return replace(mine, thresholds=thresholds, lost=tuple(number for number in numbers if number > mine.level))


def _reached(work: Work, badge: Badge, mine: Held, level: Level, at: datetime, *, cause: Cause | None = None) -> None:
    """Tells and rewards a level that is new in `mine`."""
    payment, first, paid = level.number, mine.instance(level.number) == 1, False
    if level.at is not None:
        first, before = level.at not in mine.thresholds, mine.lost
        mine, payment = mine.paying(level.at)
        paid = not first and payment not in before
    work.set_play(MECHANIC, badge.key, mine.packed())
    work.achieve(_achievement(work, badge, mine, level.number, at))
    effect: dict[str, Any] = {"type": KIND, "key": badge.key, "level": level.number}
    if cause is not None:
        effect[cause.kind] = cause.key
    work.effects.append(effect)
    work.trace.append({KIND: badge.key, "level": level.number, "result": "awarded"})
    work.emitted.append((AWARDED, {"badge": badge.key, "level": level.number}))
    rewards = level.rewards if first else () if paid else _again(work, badge, level, kept=payment in mine.paid)
    give(work, badge.cause, rewards, at=at, reference=badge.reference(payment))


def _again(work: Work, badge: Badge, level: Level, *, kept: bool) -> tuple[Action, ...]:
    """What is given for a level that was lost and is reached again: nothing that the member still has of the first time.

    That is what nobody takes back (freezes, scores, points under a reference of their own), and the points of which some
    were spent where the currency's clawback leaves it at that.
    """
    left_out = (FreezesAction, ScoreAction, EarnAction) if kept else (FreezesAction, ScoreAction)
    rewards = tuple(
        action
        for action in level.rewards
        if not isinstance(action, left_out) and not (isinstance(action, EarnAction) and action.reference is not None)
    )
    if len(rewards) < len(level.rewards):
        left = len(level.rewards) - len(rewards)
        work.trace.append({KIND: badge.key, "level": level.number, "result": "kept_from_before", "rewards": left})
    return rewards


def _achievement(work: Work, badge: Badge, mine: Held, level: int, at: datetime) -> Achievement:
    return Achievement(KIND, badge.key, level, mine.instance(level), at, announced=badge.announce, event=work.cause)


class Ground:
    """The readings by which the levels of a badge still stand, once some events count no longer."""

    def __init__(self, work: Work, badge: Badge, metric: Metric) -> None:
        self._work = work
        self._badge = badge
        self._metric = metric
        self._state = work.metrics.get(metric.id)
        self._highest = peak(metric, self._state, until=work.now, zone=work.zone)

    def of(self, threshold: float | None) -> tuple[bool, datetime | None]:
        """Whether there is a reading that reaches it, and if that can be told, when there was one."""
        work, metric = self._work, self._metric
        if threshold is None:
            return True, None
        if self._highest is not None and self._highest >= threshold:
            return True, reached_by(metric, self._state, threshold, until=work.now, zone=work.zone)
        if slotless(metric):
            return False, None
        # Of the past a window keeps no more than late events need; the recorded events tell the rest.
        found = counted_since(work, metric, None)
        if found is None:
            work.trace.append({KIND: self._badge.key, "result": "ground_unknown"})
            return True, None
        reached = (moment for moment, reading in readings_of(metric, found, work.zone) if reading >= threshold)
        moment = next(reached, None)
        return moment is not None, moment


def _gone(work: Work, metric: Metric | None) -> list[datetime]:
    """When those events occurred that count for the metric no longer."""
    if metric is None:
        return []
    events = [work.state.recorded[each] for each in work.taken_back if each in work.state.recorded]
    return [
        event.occurred_at
        for event in events
        if event.type in metric.events or any(name == metric.id for name, *_ in event.contributions)
    ]


def _fall(work: Work, badge: Badge, gone: list[datetime]) -> None:
    """Takes away, the highest first, what was reached by events of these moments, which count no longer, and by no others.

    A level that is reached all the same was reached by another reading: from now on that one is its ground.
    """
    metric = badge.metric
    if metric is None or not gone:
        return
    mine = _known(work, badge)
    if not mine.level:
        return
    ground = Ground(work, badge, metric)
    for level in range(mine.level, 0, -1):
        if not any(grounds(metric, moment, mine.reached_at(level), work.zone) for moment in gone):
            continue
        stands, reached_at = ground.of(badge.threshold(level))
        if stands:
            mine = mine.reached_anew(level, reached_at or mine.reached_at(level))
        elif level < mine.level:  # a higher one stands
            mine = mine.reached_anew(level, mine.reached_at(level + 1))
        else:
            work.set_play(MECHANIC, badge.key, mine.packed())
            _revoke(work, badge, mine)
            mine = held(work.play, badge.key)
    work.set_play(MECHANIC, badge.key, mine.packed())


def _revoke(work: Work, badge: Badge, mine: Held) -> None:
    level = mine.level
    payment = mine.payment_of(badge.threshold(level), level)
    work.set_play(MECHANIC, badge.key, mine.without_highest().losing(payment).packed())
    lost = _achievement(work, badge, mine, level, mine.reached_at(level))
    work.achieve(replace(lost, revoked_at=work.now))
    work.effects.append({"type": REVOKED, "key": badge.key, "level": level})
    work.emitted.append((REVOKED, {"badge": badge.key, "level": level}))
    line: dict[str, Any] = {KIND: badge.key, "level": level, "result": "revoked"}
    point = work.savepoint()
    try:
        made = take_back(work, badge.reference(payment), source=badge.cause.source, cause=badge.cause)
        forgiven = sum(asked(each) - each.amount for each in made)
    except Refusal as refusal:
        work.rollback(point)
        line |= {"code": refusal.code, "why": refusal.message}
        forgiven = 1
    if forgiven:
        work.set_play(MECHANIC, badge.key, held(work.play, badge.key).keeping_paid(payment).packed())
    work.trace.append(line)
