"""Streaks: periods in a row in which something is done, and what happens when they are kept, missed or mended.

What a period is, `streaking.stretches` says; what keeps or breaks a streak, `streaking.standing`. Every change is told by
comparing how the streak stood before with how it stands now, so a late event, a freeze and the passing of time are all alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from rewards.domain.outcome import Achievement
from rewards.domain.periods import epoch_seconds, from_epoch_seconds, rfc3339
from rewards.domain.play.actions import Firing, performs
from rewards.domain.play.cells import payload_of
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.mechanic import Mechanic
from rewards.domain.play.metrics import Stored
from rewards.domain.play.rewards import give
from rewards.domain.play.streaking.memory import Memory, Told, counted_more, first_kept
from rewards.domain.play.streaking.standing import Fate, Standing, most, owed
from rewards.domain.play.streaking.stretches import ALL_LOST, Stretch
from rewards.domain.program.compiled import MetricKind, Missing
from rewards.domain.program.streak import FreezesAction, Streak
from rewards.domain.work import Work

MECHANIC: Final = "streaks"
ACHIEVEMENT: Final = "streak"


class Streaks(Mechanic):
    """Streaks in the member's own days, weeks and months."""

    name = MECHANIC

    def follow(self, work: Work, event_type: str, facts: EventFacts) -> None:
        for streak in work.program.streaks_by_event.get(event_type, ()):
            payload = _payload(streak, event_type, facts)
            if payload is not None:
                work.contributions.append([f"{MECHANIC}:{streak.key}", payload, streak.per.value])
                _contribute(work, streak, payload, facts.at)

    def take_back(self, work: Work, key: str, stored: Stored) -> None:
        streak = work.program.streaks.get(key)
        payload, *more = stored.contribution
        # A streak that began anew with a version, by another period or after it was gone, never had it.
        if streak is not None and key in work.play.get(MECHANIC, {}) and more in ([], [streak.per.value]):
            _contribute(work, streak, -payload, stored.occurred_at, taken_back=True)

    def moved(self, work: Work) -> None:
        for streak in _remembered(work):
            Change(work, streak, work.now).tell()

    def next_at(self, work: Work) -> datetime | None:
        kept = work.play.get(MECHANIC, {})
        moments = [due for streak in _remembered(work) if (due := _due(streak, kept[streak.key])) is not None]
        return from_epoch_seconds(min(moments)) if moments else None

    def pass_to(self, work: Work, moment: datetime) -> None:
        for streak in _remembered(work):
            change = Change(work, streak, moment)
            change.warn()
            change.tell()

    def merge(self, work: Work, other: Mapping[str, Any]) -> None:
        for key, kept in other.items():
            streak = work.program.streaks.get(key)
            left = None if streak is None else _as_defined(work, streak, kept)
            if streak is None or left is None:
                continue
            if key in work.play.get(MECHANIC, {}):
                Change(work, streak, work.now).take_over(Memory.read(streak, left))
            else:
                work.set_play(MECHANIC, key, left)
                Change(work, streak, work.now).tell()

    def drop_removed(self, work: Work) -> None:
        for key, kept in work.play[MECHANIC].items():
            streak = work.program.streaks.get(key)
            left = None if streak is None else _as_defined(work, streak, kept)
            if left is not kept:
                work.set_play(MECHANIC, key, left)


class Change:
    """One change of one streak: made to `memory`, then told, kept and rewarded by `tell`, `at` its moment."""

    def __init__(self, work: Work, streak: Streak, at: datetime) -> None:
        kept = work.play.get(MECHANIC, {}).get(streak.key)
        self.work = work
        self.streak = streak
        self.at = at
        self.memory = Memory.new(streak, work.zone) if kept is None else Memory.read(streak, kept)
        self._before = self.memory.tell()
        self.memory.advance(epoch_seconds(at), work.zone, late_seconds=work.program.late_seconds)

    @property
    def standing(self) -> Standing:
        """As it is at this point."""
        return self.memory.tell().standing

    @property
    def last(self) -> Stretch:
        """The stretch in which the change is made."""
        return self.memory.stretches[-1]

    def warn(self) -> None:
        """Raises `streak.at_risk` where it is time to."""
        memory, last = self.memory, self.last
        if self.streak.warn_before is None or memory.warned == last.end or not memory.is_at_risk():
            return
        if epoch_seconds(self.at) >= memory.warns_at(last):
            memory.warned = last.end
            self.say("streak_at_risk", length=self.standing.length, ends_at=rfc3339(from_epoch_seconds(last.end)))
            self._raise("streak.at_risk", self.standing.length)

    def give_freezes(self, count: int, *, bought: bool = False) -> int:
        """As many as there is room for; returns how many these are."""
        standing = self.standing
        given = max(0, min(count, self.streak.freezes.most - standing.freezes))
        if given:
            self.last.freezes += given
            self.last.bought += given if bought else 0
            self.say("streak_freezes", given=given, freezes=standing.freezes + given)
        return given

    def take_freezes(self, count: int, purchase: UUID) -> None:
        """Takes back what was bought and is unused."""
        self.memory.take_bought(count)
        freezes = self.standing.freezes
        self.say("streak_freezes", taken_back=count, freezes=freezes, transaction=str(purchase))

    def restore(self, length: int | None, reason: str | None) -> None:
        """Puts back what was lost, or the streak to `length`. Milestones are not rewarded for it."""
        kept_now = self.last.count >= self.streak.target
        self.last.restored = ALL_LOST if length is None else length - kept_now
        standing = self.standing
        self.memory.paid = most(self.memory.paid, standing.reached(self.streak))
        self.say("streak_restored", length=standing.length, by=self.work.actor, reason=reason)

    def take_over(self, other: Memory) -> None:
        """The same streak of a member that becomes this one."""
        seconds = epoch_seconds(self.at)
        late_seconds = self.work.program.late_seconds
        other.advance(seconds, self.work.zone, late_seconds=late_seconds)
        for memory in (self.memory, other):
            memory.settle(memory.horizon(seconds, late_seconds))
        self.memory.take_over(other)
        self.tell()

    def tell(self) -> None:
        """Keeps the change and does what follows from it."""
        after = self.memory.tell()
        newly = [
            (stretch, self._before.fates.get(stretch.start, Fate.OPEN), fate)
            for stretch in self.memory.stretches
            if (fate := after.fates[stretch.start]) is not self._before.fates.get(stretch.start, Fate.OPEN)
        ]
        reached = after.standing.reached(self.streak)
        owing = []
        if reached != self.memory.paid:
            owing = list(owed(self.streak, self.memory.paid, reached))
            self.memory.paid = most(self.memory.paid, reached)
        kept = [stretch for stretch, _, fate in newly if fate is Fate.KEPT]
        unrewarded = [stretch for stretch in kept if not stretch.rewarded]
        for stretch in unrewarded:
            stretch.rewarded = bool(self.streak.rewards)
        self._keep(after)
        told = [self._tell_one(after, *each) for each in newly]
        length = after.standing.length
        if kept or (length != self._before.standing.length and (length or not any(told))):
            self.work.effects.append(_told(self.streak, after.standing))
        for stretch in unrewarded:
            reference = f"{self.streak.cause.source}:{stretch.number}"
            give(self.work, self.streak.cause, self.streak.rewards, at=self.at, reference=reference)
        for at, instance in owing:
            self._reach(at, instance)

    def _keep(self, told: Told) -> None:
        memory = self.memory
        memory.settle(memory.horizon(epoch_seconds(self.work.now), self.work.program.late_seconds))
        self.work.set_play(MECHANIC, self.streak.key, memory.plain(told))

    def _tell_one(self, after: Told, stretch: Stretch, before: Fate, fate: Fate) -> bool:
        """Tells what became of one stretch; False where that is no effect of its own."""
        length = after.lengths[stretch.start]
        if fate is Fate.BROKEN:
            self.say("streak_broken", length=length)
            self._raise("streak.broken", length)
        elif fate is Fate.FROZEN:
            self.say("streak_frozen", length=length, freezes=after.standing.freezes)
        elif before is Fate.BROKEN:
            self.say("streak_restored", length=length)
        elif fate is Fate.PAUSED or fate is Fate.EXCUSED:
            self.work.trace.append({"streak": self.streak.key, "result": fate.value, "length": length})
        if fate is Fate.KEPT:
            self._raise("streak.kept", length)
        return fate in (Fate.BROKEN, Fate.FROZEN) or before is Fate.BROKEN

    def _reach(self, length: int, instance: int) -> None:
        """A milestone, for the so many-th time."""
        work, streak = self.work, self.streak
        self.say("streak_milestone", length=length, instance=instance)
        self._raise("streak.milestone", length)
        work.achieve(Achievement(ACHIEVEMENT, streak.key, length, instance, self.at, event=work.cause))
        for milestone in streak.milestones:
            if milestone.is_at(length):
                reference = f"{streak.cause.source}:{length}:{instance}"
                give(work, streak.cause, milestone.rewards, at=self.at, reference=reference)

    def say(self, effect: str, **fields: Any) -> None:
        """An effect of the streak."""
        self.work.effects.append({"type": effect, "key": self.streak.key, **fields})

    def _raise(self, event: str, length: int) -> None:
        self.work.emitted.append((event, {"streak": self.streak.key, "length": length}))


def _remembered(work: Work) -> Iterator[Streak]:
    """The streaks of which something is remembered, in the order of the document."""
    kept = work.play.get(MECHANIC, {})
    return (streak for key, streak in work.program.streaks.items() if key in kept)


def _as_defined(work: Work, streak: Streak, kept: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is kept; of a streak that goes by other periods now, what is left of it."""
    if kept["per"] == streak.per.value:
        return kept
    left = Memory.of_other_periods(streak, kept, work.zone)
    return None if left is None else left.plain(left.tell())


def _due(streak: Streak, kept: Mapping[str, Any]) -> int | None:
    """When time next does something, as was kept; found anew where the program's terms are others since."""
    due: list[int | None] = kept.get("due", [None, None])
    if due[0] == streak.terms:
        return due[1]
    memory = Memory.read(streak, kept)
    return memory.next_at(memory.tell())


def _payload(streak: Streak, event_type: str, facts: EventFacts) -> int | None:
    """What an event contributes; None for nothing."""
    if streak.where is None and streak.value is None:
        return 1
    bound = facts.inputs(event_type)
    if streak.where is not None and streak.where.test(bound) is not True:
        return None
    if streak.value is None:
        return 1
    value = streak.value.read(bound)
    payload = None if isinstance(value, Missing) else payload_of(MetricKind.SUM, value)
    return payload if isinstance(payload, int) else None


def _contribute(work: Work, streak: Streak, payload: int, occurred_at: datetime, *, taken_back: bool = False) -> None:
    """What was `taken_back` takes no more than there is: it may never have counted here."""
    kept = work.play.get(MECHANIC, {}).get(streak.key)
    seconds = epoch_seconds(occurred_at)
    if kept is not None:
        more = counted_more(streak, kept, payload, at=seconds, now=epoch_seconds(work.now), zone=work.zone)
        if more is not None:
            work.set_play(MECHANIC, streak.key, more)
            return
    elif _begins(work, streak, payload, seconds):
        return
    change = Change(work, streak, work.now)
    stretch = change.memory.at(seconds)
    if stretch is None:
        work.trace.append({"streak": streak.key, "result": "settled"})
    else:
        left = stretch.count + payload
        stretch.count = max(left, min(stretch.count, 0)) if taken_back else left
    change.at = occurred_at if payload > 0 else work.now
    change.tell()


def _begins(work: Work, streak: Streak, payload: int, seconds: int) -> bool:
    """The first contribution of all, where it makes a streak of one and nothing else; False where more may follow."""
    begun = first_kept(
        streak,
        payload,
        at=seconds,
        now=epoch_seconds(work.now),
        zone=work.zone,
        late_seconds=work.program.late_seconds,
    )
    if begun is None:
        return False
    kept, standing = begun
    work.set_play(MECHANIC, streak.key, kept)
    work.emitted.append(("streak.kept", {"streak": streak.key, "length": standing.length}))
    work.effects.append(_told(streak, standing))
    return True


def _told(streak: Streak, standing: Standing) -> dict[str, Any]:
    """How a streak stands, as an effect."""
    told = {"type": "streak", "key": streak.key, "length": standing.length, "best": standing.best}
    return {**told, "freezes": standing.freezes} if streak.freezes.most else told


@performs(FreezesAction)
def _give_freezes(firing: Firing, action: FreezesAction) -> None:
    work = firing.work
    streak = work.program.streaks[action.streak]
    change = Change(work, streak, work.now)
    if not change.give_freezes(action.freezes):
        work.trace.append({"streak": streak.key, "result": "freezes_full", "most": streak.freezes.most})
    change.tell()
