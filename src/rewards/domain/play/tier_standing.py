"""How a member stands on the ladder of tiers, as a function of what counted and of time.

What counted is walked through in the order in which it happened. Over calendar periods (and a lifetime, the one period that
never ends) a standing knows what the running period has reached, what the one before it had (`ground`), and what was left
of older ones (`before`). Over a rolling window it knows the rank, and since when the reading is below it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, Lifetime, Rolling, epoch_micros, from_epoch_micros, period_at
from rewards.domain.play import windows
from rewards.domain.play.metric_upkeep import next_change
from rewards.domain.program.tier import Downgrade, Ladder

SECOND: Final = 1_000_000
Entry = Sequence[int]
"""Something that counted: when (microseconds since 1970), and how much."""
Change = Sequence[int]
"""From when on which rank is held."""


@dataclass(slots=True)
class Reading:
    """The qualification at any moment, without what happened later. `ahead` is what still lies ahead, by sub-window."""

    ladder: Ladder
    state: Any | None
    zone: ZoneInfo
    ahead: dict[int, int] = field(default_factory=dict)
    _window: tuple[int, int, int] | None = None
    """The rolling window that was read last: its sub-windows, and what they held."""
    _change: tuple[int, int] | None = None
    """From when and until when nothing leaves the window."""

    def slot(self, micros: int) -> int:
        """The sub-window of a moment; 0 where there is only one."""
        if isinstance(self.ladder.per, Lifetime):
            return 0
        return windows.slot_of(self.ladder.metric, micros // SECOND, self.zone)

    def expect(self, entries: Iterable[Entry]) -> None:
        """These still lie ahead."""
        for micros, amount in entries:
            slot = self.slot(micros)
            self.ahead[slot] = self.ahead.get(slot, 0) + amount

    def count(self, micros: int, amount: int) -> None:
        """One that lay ahead has happened."""
        slot = self.slot(micros)
        self.ahead[slot] -= amount
        if self._window is not None:
            above, upto, total = self._window
            if above < slot <= upto:
                self._window = above, upto, total + amount

    def of_slot(self, slot: int) -> int:
        """What one sub-window holds."""
        if self.state is None:
            return 0
        if isinstance(self.ladder.per, Lifetime):
            return int(self.state) - self.ahead.get(0, 0)
        slots, cells = self.state
        at = bisect_right(slots, slot) - 1
        return cells[at] - self.ahead.get(slot, 0) if at >= 0 and slots[at] == slot else 0

    def let_go(self, slot: int) -> bool:
        """Whether the metric no longer keeps what that sub-window held."""
        return self.state is not None and slot <= self.state[0][-1] - windows.reach(self.ladder.metric, 0)

    def at(self, micros: int) -> int:
        """What the window at a moment holds."""
        if not isinstance(self.ladder.per, Rolling):
            return self.of_slot(self.slot(micros))
        above, upto = windows.window(self.ladder.metric, micros // SECOND, self.zone, 0)
        if self._window is None or self._window[:2] != (above, upto):
            self._window = above, upto, sum(amount for _, amount in self._between(above, upto))
        return self._window[2]

    def next_change(self, micros: int) -> int | None:
        """When something next leaves the window by itself, or at the earliest may do so."""
        if self._change is None or not self._change[0] <= micros < self._change[1]:
            found = next_change(self.ladder.metric, self.state, at=from_epoch_micros(micros), zone=self.zone)
            if found is None:
                return None
            self._change = micros, epoch_micros(found)
        return self._change[1]

    def within(self, micros: int) -> list[tuple[int, int]]:
        """What each sub-window of a rolling window at a moment holds."""
        return self._between(*windows.window(self.ladder.metric, micros // SECOND, self.zone, 0))

    def _between(self, above: int, upto: int) -> list[tuple[int, int]]:
        if self.state is None:
            return []
        slots, cells = self.state
        ahead = self.ahead
        found = range(bisect_right(slots, above), bisect_right(slots, upto))
        return [(slots[each], cells[each] - ahead.get(slots[each], 0)) for each in found]


@dataclass(frozen=True, slots=True)
class Periodic:
    """A standing over calendar periods, as of `at`. `period` is the number of the running one."""

    at: int
    period: int
    before: int
    ground: int
    reached: int

    def later(self, at: int) -> Periodic:
        """The same at another moment of the period."""
        return Periodic(at, self.period, self.before, self.ground, self.reached)

    @property
    def carried(self) -> int:
        """What was held when the period began."""
        return max(self.before, self.ground)

    def fallen(self, ladder: Ladder) -> int:
        """What of it is left once the grace is over."""
        if ladder.downgrade is Downgrade.NEVER:
            return self.carried
        if ladder.downgrade is Downgrade.ONE_LEVEL:
            return max(self.ground, self.carried - 1)
        return self.ground


@dataclass(frozen=True, slots=True)
class Sliding:
    """A standing over a rolling window, as of `at`. `below`: since when the reading is too low for the rank."""

    at: int
    held: int
    below: int | None

    def later(self, at: int) -> Sliding:
        """The same at another moment."""
        return Sliding(at, self.held, self.below)


Standing = Periodic | Sliding


def begin(ladder: Ladder, at: int, rank: int, reading: Reading) -> Standing:
    """The standing of a member of whom nothing is known but the rank: it is kept as if just earned in the last period."""
    if isinstance(ladder.per, Rolling):
        return Sliding(at, rank, at if ladder.rank_of(reading.at(at)) < rank else None)
    return Periodic(at, reading.slot(at), rank, rank, ladder.lowest)


def raised(standing: Standing, reading: Reading) -> Standing:
    """The standing where more counts than what was walked through: something was filled in or merged."""
    rank_of = reading.ladder.rank_of
    if isinstance(standing, Sliding):
        rank = rank_of(reading.at(standing.at))
        return replace(standing, held=rank, below=None) if rank >= standing.held else standing
    reached = max(standing.reached, rank_of(reading.of_slot(standing.period)))
    before = _before(standing, reading)
    ground = standing.ground if before is None else max(standing.ground, rank_of(reading.of_slot(before)))
    return replace(standing, reached=reached, ground=ground)


def lowered(standing: Standing, reading: Reading, slot: int) -> Standing:
    """The standing where something of a sub-window counts no longer: what had its ground in that has it no more."""
    rank_of = reading.ladder.rank_of
    if isinstance(standing, Sliding):
        rank = rank_of(reading.at(standing.at))
        return replace(standing, held=rank) if standing.below is None and rank < standing.held else standing
    if slot == standing.period:
        return replace(standing, reached=min(standing.reached, rank_of(reading.of_slot(slot))))
    if slot == _before(standing, reading) and not reading.let_go(slot):
        return replace(standing, ground=min(standing.ground, rank_of(reading.of_slot(slot))))
    return standing


def renamed(standing: Standing, ranks: list[int]) -> Standing:
    """The standing on another ladder; `ranks` gives the new rank of each old one."""
    if isinstance(standing, Sliding):
        return replace(standing, held=ranks[standing.held])
    return replace(
        standing, before=ranks[standing.before], ground=ranks[standing.ground], reached=ranks[standing.reached]
    )


def together(ladder: Ladder, one: Standing, other: Standing) -> Standing:
    """The higher of two members' standings."""
    later, earlier = (one, other) if one.at >= other.at else (other, one)
    if isinstance(later, Sliding) and isinstance(earlier, Sliding):
        held = max(later.held, earlier.held)
        belows = [each.below for each in (later, earlier) if each.held == held]
        return Sliding(later.at, held, None if None in belows else max(below for below in belows if below is not None))
    assert isinstance(later, Periodic)
    assert isinstance(earlier, Periodic)
    while earlier.period < later.period and earlier != (shifted := _shifted(ladder, earlier, earlier.period)):
        earlier = replace(shifted, period=earlier.period + 1)
    return replace(
        later,
        before=max(later.before, earlier.before),
        ground=max(later.ground, earlier.ground),
        reached=max(later.reached, earlier.reached),
    )


def rank(standing: Standing, reading: Reading) -> int:
    """The rank held at the standing's moment."""
    if isinstance(standing, Sliding):
        return standing.held
    start, _ = _bounds(standing, reading)
    in_grace = standing.at < start + grace_micros(reading.ladder)
    return max(standing.reached, standing.carried if in_grace else standing.fallen(reading.ladder))


def grace_micros(ladder: Ladder) -> int:
    return ladder.grace.days * 86_400 * SECOND + ladder.grace.seconds * SECOND


def walk(
    standing: Standing, reading: Reading, entries: Iterable[Entry], until: int
) -> tuple[Standing, list[Change], int]:
    """The standing at `until`, having passed what `reading` expects (`entries`, in order) and what time does between.

    With it the changes of rank on the way, and the highest rank that was held.
    """
    changes: list[Change] = []
    last = highest = rank(standing, reading)
    step = _step_sliding if isinstance(standing, Sliding) else _step_periodic
    waiting = [each for each in entries if each[0] <= until]
    position = 0
    while True:
        upto = waiting[position][0] if position < len(waiting) else until
        moved = step(standing, reading, upto)
        if moved is None:
            if position == len(waiting):
                return standing.later(max(standing.at, until)), changes, highest
            micros, amount = waiting[position]
            position += 1
            reading.count(micros, amount)
            moved = _counted(standing.later(micros), reading)
        standing = moved
        now = rank(standing, reading)
        if now != last:
            changes.append([standing.at, now])
            last, highest = now, max(highest, now)


def caught_up(standing: Standing, at: int) -> Standing:
    """The standing later on, when nothing has come of time since."""
    return standing.later(max(standing.at, at)) if isinstance(standing, Sliding) else standing


def lost_at(standing: Standing, reading: Reading) -> int | None:
    """When the rank falls if nothing more counts; None if it never does."""
    moment = next_at(standing, reading)
    if moment is not None and isinstance(standing, Sliding) and standing.below is None:
        return moment + grace_micros(reading.ladder)
    return moment


def next_at(standing: Standing, reading: Reading) -> int | None:
    """When time alone next changes the standing so that it matters: the rank falls, or a rolling window no longer has enough."""
    ladder = reading.ladder
    held = rank(standing, reading)
    if held <= ladder.lowest or ladder.downgrade is Downgrade.NEVER:
        return None
    if isinstance(standing, Sliding):
        return _sliding_next(standing, reading)
    if isinstance(ladder.per, Lifetime):
        return None
    start, end = _bounds(standing, reading)
    grace = grace_micros(ladder)
    if standing.at < start + grace and max(standing.reached, standing.fallen(ladder)) < held:
        return int(start + grace)
    for _ in range(3):
        standing = _shifted(ladder, standing, standing.period + 1)
        if max(standing.reached, standing.fallen(ladder)) < held:
            return int(end + grace)
        end = period_at(_calendar(ladder), int(end) // SECOND, reading.zone).end_seconds * SECOND
    return None


def packed(standing: Standing) -> list[Any]:
    if isinstance(standing, Sliding):
        return [standing.at, standing.held, standing.below]
    return [standing.at, standing.period, standing.before, standing.ground, standing.reached]


def unpacked(ladder: Ladder, stored: list[Any]) -> Standing:
    return Sliding(*stored) if isinstance(ladder.per, Rolling) else Periodic(*stored)


def _counted(standing: Standing, reading: Reading) -> Standing:
    """After something counted at the standing's moment."""
    if isinstance(standing, Periodic):
        reached = reading.ladder.rank_of(reading.of_slot(standing.period))
        return standing if reached <= standing.reached else replace(standing, reached=reached)
    return _settled(standing, reading)


def _calendar(ladder: Ladder) -> Calendar:
    assert isinstance(ladder.per, Calendar)
    return ladder.per


def _bounds(standing: Periodic, reading: Reading) -> tuple[float, float]:
    """When the standing's period begins and ends. A member who moves may be behind or ahead of it for a while."""
    per = reading.ladder.per
    if not isinstance(per, Calendar):
        return -inf, inf
    period = period_at(per, standing.at // SECOND, reading.zone)
    while period.number < standing.period:
        period = period_at(per, period.end_seconds, reading.zone)
    if period.number > standing.period:
        return -inf, standing.at
    return period.start_seconds * SECOND, period.end_seconds * SECOND


def _before(standing: Periodic, reading: Reading) -> int | None:
    """The number of the period before."""
    start, _ = _bounds(standing, reading)
    if start == -inf:
        return None
    return period_at(_calendar(reading.ladder), int(start) // SECOND, reading.zone).previous


def _shifted(ladder: Ladder, standing: Periodic, period: int) -> Periodic:
    """At the beginning of a period in which nothing has counted yet."""
    return Periodic(standing.at, period, standing.fallen(ladder), standing.reached, ladder.lowest)


def _step_periodic(standing: Standing, reading: Reading, upto: int) -> Standing | None:
    """The next thing that time does until then, if it does any."""
    assert isinstance(standing, Periodic)
    start, end = _bounds(standing, reading)
    over = start + grace_micros(reading.ladder)
    if standing.at < over <= upto and over < end:
        return standing.later(int(over))
    if end > upto:
        return None
    at = int(end)
    number = period_at(_calendar(reading.ladder), at // SECOND, reading.zone).number
    moved = replace(_shifted(reading.ladder, standing, number), at=at)
    if (moved.before, moved.ground, moved.reached) == (standing.before, standing.ground, standing.reached):
        # Nothing changes from period to period any more.
        return replace(moved, at=upto, period=period_at(_calendar(reading.ladder), upto // SECOND, reading.zone).number)
    return moved


def _step_sliding(standing: Standing, reading: Reading, upto: int) -> Standing | None:
    assert isinstance(standing, Sliding)
    if upto <= standing.at:
        return None
    moments = []
    if standing.below is not None and reading.ladder.downgrade is not Downgrade.NEVER:
        moments.append(max(standing.below + grace_micros(reading.ladder), standing.at + 1))
    change = reading.next_change(standing.at)
    if change is not None:
        moments.append(change)
    at = min((each for each in moments if standing.at < each <= upto), default=None)
    return None if at is None else _settled(standing.later(at), reading)


def _settled(standing: Sliding, reading: Reading) -> Sliding:
    """The rank that the reading at the standing's moment leaves."""
    ladder = reading.ladder
    qualified = ladder.rank_of(reading.at(standing.at))
    held, below = standing.held, standing.below
    grace = grace_micros(ladder)
    while qualified < held:
        below = standing.at if below is None else below
        if ladder.downgrade is Downgrade.NEVER or below + grace > standing.at:
            return Sliding(standing.at, held, below)
        held = held - 1 if ladder.downgrade is Downgrade.ONE_LEVEL else qualified
        below = None
    return Sliding(standing.at, max(held, qualified), None)


def _sliding_next(standing: Sliding, reading: Reading) -> int | None:
    if standing.below is not None:  # at the next moment, where it would be over: the grace may be a shorter one since
        return max(standing.below + grace_micros(reading.ladder), standing.at + 1)
    within = reading.within(standing.at)
    left = sum(amount for _, amount in within)
    for position, (_, amount) in enumerate(within):
        left -= amount
        if reading.ladder.rank_of(left) < standing.held:
            slots = [slot for slot, _ in within[position:]]
            leaving = [slots, [amount for _, amount in within[position:]]]
            metric = replace(reading.ladder.metric, previous=False)
            moment = next_change(metric, leaving, at=from_epoch_micros(standing.at), zone=reading.zone)
            return None if moment is None else epoch_micros(moment)
    return None
