"""Tiers: reached at once by what a member earns or does, kept for a time, and lost with grace when not earned again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from rewards.domain.outcome import Achievement
from rewards.domain.periods import Calendar, epoch_micros, from_epoch_micros, rfc3339
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.mechanic import Mechanic
from rewards.domain.play.metrics import Stored, add, contribution, retract
from rewards.domain.play.recounting import FILLED_IN
from rewards.domain.play.rewards import give
from rewards.domain.play.tier_held import CONTRIBUTED, LADDER, MECHANIC, PAST
from rewards.domain.play.tier_memory import Memory, adopted, fresh, keep, remembered
from rewards.domain.play.tier_standing import (
    SECOND,
    Change,
    Reading,
    caught_up,
    lowered,
    next_at,
    raised,
    rank,
    together,
    walk,
)
from rewards.domain.program.compiled import Cause
from rewards.domain.program.tier import Ladder
from rewards.domain.work import Earning, Work

ZONES_APART_HOURS: Final = 26
"""From the zone furthest east to the one furthest west."""


class Tiers(Mechanic):
    """One ladder per program."""

    name: ClassVar[str] = MECHANIC

    def follow(self, work: Work, event_type: str, facts: EventFacts) -> None:
        ladder = _ladder(work)
        if event_type not in ladder.metric.events:
            return
        amount = _contributed(work, ladder)
        if amount:
            work.contributions.append([CONTRIBUTED, amount])
            _count(work, ladder, epoch_micros(facts.at), amount)

    def earned(self, work: Work, earning: Earning) -> None:
        ladder = _ladder(work)
        if earning.currency != ladder.currency or not earning.amount:
            return
        metric = ladder.metric
        kept = contribution(metric, occurred_at=earning.at, value=abs(earning.amount), by=None, zone=work.zone)
        assert kept is not None, "points are numbers"
        stored = Stored(earning.at, earning.order, kept)
        state = work.metrics.get(metric.id)
        if earning.amount > 0:
            late = work.program.late_seconds
            work.set_metric(metric.id, add(metric, state, stored, zone=work.zone, late_seconds=late))
            _count(work, ladder, epoch_micros(earning.at), kept[0])
            return
        filled_in = _is_older(work, ladder, earning)
        if not filled_in or metric.id in work.play.get(FILLED_IN, {}):
            if isinstance(ladder.per, Calendar):
                kept[2] = _period_of(ladder, state, epoch_micros(earning.at), kept[0], zone=work.zone)
            work.set_metric(metric.id, retract(metric, state, stored, zone=work.zone))
            slot = kept[2] if len(kept) > 2 else None
            _uncount(work, ladder, epoch_micros(earning.at), kept[0], slot=slot, filled_in=filled_in)

    def take_back(self, work: Work, key: str, stored: Stored) -> None:
        if key in (LADDER, PAST):
            micros, amount = epoch_micros(stored.occurred_at), stored.contribution[0]
            _uncount(work, _ladder(work), micros, amount, filled_in=key == PAST)

    def reassess(self, work: Work, at: datetime) -> None:
        ladder = _ladder(work)
        memory = remembered(work, ladder)
        if memory is None:
            if work.metrics.get(ladder.metric.id) is None:
                return
            memory = _begun(work, ladder)
        memory.catch_up(work)
        memory.base = raised(memory.base, _ahead(work, ladder, memory))
        _rewalk(work, ladder, memory, max(memory.head.at, epoch_micros(at)))

    def moved(self, work: Work) -> None:
        ladder = _ladder(work)
        memory = remembered(work, ladder)
        if memory is not None:
            memory.due = next_at(memory.head, _reading(work, ladder))
            keep(work, memory)

    def next_at(self, work: Work) -> datetime | None:
        stored = work.play.get(MECHANIC, {}).get(LADDER)
        return None if stored is None or stored["due"] is None else from_epoch_micros(stored["due"])

    def pass_to(self, work: Work, moment: datetime) -> None:
        ladder = _ladder(work)
        memory = remembered(work, ladder)
        assert memory is not None, "nothing is due of nobody"
        known = memory.known(ladder)
        reading = _reading(work, ladder)
        memory.head, changes, highest = walk(memory.head, reading, (), epoch_micros(moment))
        held = rank(memory.head, reading)
        if not changes and held != known:  # the program's terms have changed
            changes, highest = [[epoch_micros(moment), held]], max(held, highest)
        memory.history += changes
        _finish(work, ladder, memory, reading, known, highest)

    def merge(self, work: Work, other: Mapping[str, Any]) -> None:
        """The higher of both holds; what both qualified by adds up. Who held a tier under either name has reached it."""
        ladder = _ladder(work)
        if LADDER not in other:
            return
        mine = work.play.get(MECHANIC, {}).get(LADDER)
        work.set_play(MECHANIC, LADDER, other[LADDER])
        self.drop_removed(work)
        theirs = remembered(work, ladder)
        assert theirs is not None
        if mine is None:
            return
        work.set_play(MECHANIC, LADDER, mine)
        memory = remembered(work, ladder)
        assert memory is not None
        memory.base = memory.head = together(ladder, memory.head, theirs.head)
        memory.tail = []
        if theirs.known(ladder) > memory.known(ladder):
            memory.history = theirs.history
        for each, times in theirs.reached.items():
            memory.reached[each] = max(times, memory.reached.get(each, times))
        for key, times in theirs.gone.items():
            memory.gone[key] = max(times, memory.gone.get(key, times))
        for metric_id, begun in theirs.begun.items():
            memory.begun[metric_id] = min(begun, memory.begun.get(metric_id, begun))
        keep(work, memory)

    def drop_removed(self, work: Work) -> None:
        ladder = _ladder(work)
        stored = work.play.get(MECHANIC, {}).get(LADDER)
        if stored is not None and stored["terms"] != ladder.terms:
            keep(work, adopted(work, ladder, stored))


def _ladder(work: Work) -> Ladder:
    ladder = work.program.tiers
    assert ladder is not None, "a program with tiers has a ladder"
    return ladder


def _reading(work: Work, ladder: Ladder) -> Reading:
    return Reading(ladder, work.metrics.get(ladder.metric.id), work.zone)


def _ahead(work: Work, ladder: Ladder, memory: Memory) -> Reading:
    """The reading as of the base, with all of the tail ahead."""
    reading = _reading(work, ladder)
    reading.expect(memory.tail)
    return reading


def _begun(work: Work, ladder: Ladder) -> Memory:
    return fresh(work, ladder, ladder.lowest, at=epoch_micros(work.now) - work.program.late_seconds * 1_000_000)


def _is_older(work: Work, ladder: Ladder, earning: Earning) -> bool:
    """Whether points were earned before the qualification began to count: then they are in it only where it was filled in."""
    memory = remembered(work, ladder)
    return memory is not None and earning.order < memory.begun.get(ladder.metric.id, "")


def _period_of(ladder: Ladder, state: Any | None, micros: int, amount: int, *, zone: ZoneInfo) -> int:
    """The period in which points that are taken back were counted: by the zone that the member was in then.

    That is the present one's, or where less than that was counted in it, the one next to it if it lies within a day or so.
    """
    reading = Reading(ladder, state, zone)
    around = [reading.slot(micros + hours * 3_600 * SECOND) for hours in (0, -ZONES_APART_HOURS, ZONES_APART_HOURS)]
    return next((slot for slot in around if reading.of_slot(slot) >= amount), around[0])


def _contributed(work: Work, ladder: Ladder) -> int:
    """What the event that was just counted has contributed, if it has; an earlier one of this command is marked already."""
    for kept in reversed(work.contributions):
        if kept[0] == CONTRIBUTED:
            break
        if kept[0] == ladder.metric.id:
            return int(kept[1])
    return 0


def _count(work: Work, ladder: Ladder, micros: int, amount: int) -> None:
    """Something counted, which the metric holds already."""
    memory = remembered(work, ladder)
    begins = memory is None
    if memory is None:
        memory = _begun(work, ladder)
    memory.catch_up(work)
    in_order = not begins and micros >= memory.head.at
    inside = memory.add((micros, amount))
    if begins or not inside:
        memory.base = raised(memory.base, _ahead(work, ladder, memory))
    if not in_order:
        _rewalk(work, ladder, memory, max(memory.head.at, micros))
        return
    known = memory.known(ladder)
    reading = _reading(work, ladder)
    reading.expect([(micros, amount)])
    memory.head, changes, highest = walk(caught_up(memory.head, micros), reading, [(micros, amount)], micros)
    memory.history += changes
    _finish(work, ladder, memory, reading, known, highest)


def _uncount(
    work: Work, ladder: Ladder, micros: int, amount: int, *, slot: int | None = None, filled_in: bool = False
) -> None:
    """Something counts no longer, and the metric holds it no more: what had its ground in it is corrected at once.

    What was `filled_in` never was in the tail, however young it is.
    """
    memory = remembered(work, ladder)
    if memory is None:
        return
    memory.catch_up(work)
    if filled_in or not memory.add((micros, -amount)):
        reading = _ahead(work, ladder, memory)
        memory.base = lowered(memory.base, reading, reading.slot(micros) if slot is None else slot)
    _rewalk(work, ladder, memory, memory.head.at, corrects=True)


def _rewalk(work: Work, ladder: Ladder, memory: Memory, until: int, *, corrects: bool = False) -> None:
    """Walks through all that may be disordered again, and tells what has become of it."""
    known = memory.known(ladder)
    reading = _ahead(work, ladder, memory)
    before = rank(memory.base, reading)
    memory.head, changes, highest = walk(memory.base, reading, memory.tail, until)
    lifted = raised(memory.head, reading)  # by what was filled in of days that the base had passed
    if (now_held := rank(lifted, reading)) > rank(memory.head, reading):
        changes.append([memory.head.at, now_held])
        highest = max(highest, now_held)
    memory.head = lifted
    settled = [change for change in memory.history if change[0] <= memory.base.at]
    if (settled[-1][1] if settled else ladder.lowest) == before:
        memory.history = [*settled, *changes]
    elif (held := rank(memory.head, reading)) != known:
        # What was told of the time before the base stays told; it is otherwise from now on.
        memory.history.append([epoch_micros(work.now), held])
    _finish(work, ladder, memory, reading, known, highest, corrects=corrects)


def _finish(
    work: Work,
    ladder: Ladder,
    memory: Memory,
    reading: Reading,
    known: int,
    highest: int,
    *,
    corrects: bool = False,
) -> None:
    """What time has done besides, then what is new to the member."""
    now = epoch_micros(work.now)
    memory.due = next_at(memory.head, reading)
    while memory.due is not None and memory.due <= now:
        memory.head, changes, most = walk(memory.head, reading, (), now)
        memory.history += changes
        highest = max(highest, most)
        memory.due = next_at(memory.head, reading)
    memory.settle(work, ladder)
    _announce(work, ladder, memory, known, highest, corrects=corrects)


def _announce(work: Work, ladder: Ladder, memory: Memory, known: int, highest: int, *, corrects: bool) -> None:
    held = memory.known(ladder)
    first = [each for each in range(ladder.lowest + 1, max(highest, held) + 1) if each not in memory.reached]
    for each in sorted({*first, *range(known + 1, held + 1)}):
        times, _ = memory.reached.get(each, (0, 0))
        memory.reached[each] = times + 1, _since(memory.history, each, now=epoch_micros(work.now))
        _achieve(work, ladder, memory, each)
    if corrects:
        for each in range(held + 1, known + 1):
            _achieve(work, ladder, memory, each, revoked_at=work.now)
    keep(work, memory)
    if held != known:
        direction = "up" if held > known else "down"
        since = from_epoch_micros(memory.history[-1][0]) if memory.history else work.now
        told = {"tier": ladder.key(held), "from": ladder.key(known), "direction": direction}
        work.effects.append({"type": "tier", "key": told["tier"], "from": told["from"], "direction": direction})
        work.emitted.append(("tier.changed", dict(told)))
        work.trace.append({**told, "result": "corrected" if corrects else "changed", "at": rfc3339(since)})
    for each in first:
        level = ladder.levels[each - 1]
        moment = from_epoch_micros(memory.reached[each][1])
        give(work, Cause("tier", level.key), level.rewards, at=moment, reference=f"tier:{level.key}")


def _achieve(work: Work, ladder: Ladder, memory: Memory, each: int, *, revoked_at: datetime | None = None) -> None:
    if each not in memory.reached:
        return
    times, micros = memory.reached[each]
    work.achieve(
        Achievement(
            "tier",
            ladder.key(each),
            each,
            times,
            from_epoch_micros(micros),
            revoked_at,
            event=work.cause,
        )
    )


def _since(history: list[Change], wanted: int, *, now: int) -> int:
    """Since when a rank or a higher one is held; if it is not, when it was last reached."""
    begun = None
    for micros, held in reversed(history):
        if held >= wanted:
            begun = micros
        elif begun is not None:
            break
    return now if begun is None else begun
