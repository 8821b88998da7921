"""What is remembered of a member's streak: what is settled, and the stretches that late events can still reach.

Whatever comes, the standing is folded anew from the settled one over these stretches, so the order of arrival is all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.play.streaking.standing import Fate, Standing, most, standing
from rewards.domain.play.streaking.stretches import Stretch, anew, first, following, move
from rewards.domain.program.streak import USUAL_SECONDS, Streak

PAUSES_MAX: Final = 100
STRETCHES_MAX: Final = 33
"""Late events reach no further back than so many periods, however wide the program's window."""
_COUNT: Final = 4
"""Where a stretch, as it is kept, has its count."""


@dataclass(slots=True)
class Told:
    """The standing after all stretches, and what became of each, by its beginning."""

    standing: Standing
    fates: dict[int, Fate]
    lengths: dict[int, int]
    """The length after each stretch; of one that broke the streak, the length that was lost."""


@dataclass(slots=True)
class Memory:
    """`zone` is that of the last stretch. `pauses` are `[from, until)` in epoch seconds, `warned` the end that was warned of.

    `paid`: as often as milestones were rewarded, see `standing`. `paused_in`: a year, and how many seconds the pauses count for
    that began in it, see `pauses`.
    """

    streak: Streak
    zone: ZoneInfo
    settled: Standing
    stretches: list[Stretch] = field(default_factory=list)
    pauses: list[list[int]] = field(default_factory=list)
    paid: dict[int, int] = field(default_factory=dict)
    warned: int = 0
    paused_in: list[int] = field(default_factory=lambda: [0, 0])

    @classmethod
    def new(cls, streak: Streak, zone: ZoneInfo) -> Memory:
        return cls(streak, zone, Standing(freezes=streak.freezes.start))

    @classmethod
    def of_other_periods(cls, streak: Streak, kept: Mapping[str, Any], zone: ZoneInfo) -> Memory | None:
        """What is left of what was kept when the streak went by other periods: the freezes that were paid for and are unused,
        beside those that are there at first. None where there are none."""
        bought = cls.read(streak, kept).tell().standing.bought
        if not bought:
            return None
        memory = cls.new(streak, zone)
        memory.settled.bought = bought
        memory.settled.freezes = max(bought, min(memory.settled.freezes + bought, streak.freezes.most))
        return memory

    @classmethod
    def read(cls, streak: Streak, kept: Mapping[str, Any]) -> Memory:
        """What was kept or missed under another target stays so, unless more is done in it, or something is taken back.

        Milestones that a version adds are none of what had ended before it.
        """
        stretches = [Stretch(*each) for each in kept["stretches"]]
        target = kept.get("target", streak.target)
        if target != streak.target:
            for each in stretches:
                was_kept = each.count >= target
                each.count = max(each.count, streak.target) if was_kept else min(each.count, streak.target - 1)
        memory = cls(
            streak,
            ZoneInfo(kept["zone"]),
            standing(kept["settled"]),
            stretches,
            [list(each) for each in kept["pauses"]],
            dict(kept["paid"]),
            kept["warned"],
            list(kept.get("paused_in", (0, 0))),
        )
        if kept.get("due", (None,))[0] != streak.terms:
            memory.paid = most(memory.paid, memory.tell().standing.runs)
        return memory

    def plain(self, told: Told) -> dict[str, Any]:
        """As it is kept in the member's document; `told` is how it stands. With it goes when time next does something."""
        kept: dict[str, Any] = {
            "due": [self.streak.terms, self.next_at(told)],
            "per": self.streak.per.value,
            "target": self.streak.target,
            "zone": self.zone.key,
            "settled": self.settled.plain(),
            "stretches": [each.plain() for each in self.stretches],
            "pauses": [list(each) for each in self.pauses],
            "paid": [list(each) for each in sorted(self.paid.items())],
            "warned": self.warned,
        }
        if self.paused_in[1]:
            kept["paused_in"] = list(self.paused_in)
        return kept

    def advance(self, seconds: int, zone: ZoneInfo, *, late_seconds: int) -> None:
        """Time has passed up to `seconds`, and from then on the member is in `zone`. Then the last stretch is not over."""
        per = self.streak.per
        if not self.stretches:
            self.zone = zone
            self.stretches.append(first(per, self.horizon(seconds, late_seconds), zone))
        while self.stretches[-1].end <= seconds:
            last = self.stretches[-1]
            horizon = self.horizon(seconds, late_seconds)
            if last.end < horizon and self.tell(ended=True).standing.length == 0:
                self.stretches.append(anew(last, per, horizon, self.zone))
            else:
                self.stretches.append(following(last, per, self.zone))
        if zone.key != self.zone.key:
            self.zone = zone
            move(self.stretches, per, max(seconds, self.stretches[-1].start), zone)

    def horizon(self, seconds: int, late_seconds: int) -> int:
        """The earliest moment that a late event may still have."""
        return seconds - min(late_seconds, (STRETCHES_MAX - 2) * USUAL_SECONDS[self.streak.per])

    def settle(self, horizon: int) -> None:
        """Folds what no late event can reach any more into what is settled."""
        gone = 0
        while gone < len(self.stretches) - 1 and self.stretches[gone].end <= horizon:
            stretch = self.stretches[gone]
            self.settled.meet(self.streak, stretch, over=True, paused=self.is_paused(stretch))
            gone += 1
        del self.stretches[:gone]
        if self.stretches:
            begins = self.stretches[0].start
            self.pauses = [each for each in self.pauses if each[1] > begins]

    def take_bought(self, count: int) -> None:
        """Makes the last `count` freezes that were bought as if they never had been; so many are unused."""
        for stretch in reversed(self.stretches):
            taken = min(count, stretch.bought)
            stretch.bought -= taken
            stretch.freezes -= taken
            count -= taken
        self.settled.bought -= count
        self.settled.freezes -= count

    def at(self, seconds: int) -> Stretch | None:
        """The stretch that a moment lies in; None for what is settled."""
        return next((each for each in reversed(self.stretches) if each.start <= seconds < each.end), None)

    def is_paused(self, stretch: Stretch) -> bool:
        """Whether a pause touches it."""
        return any(since < stretch.end and until > stretch.start for since, until in self.pauses)

    def paused_until(self, seconds: int) -> int | None:
        """The end of the pause that a moment lies in."""
        return next((until for since, until in self.pauses if since <= seconds < until), None)

    def tell(self, *, ended: bool = False) -> Told:
        """How the streak stands. The last stretch can still be kept, unless it has `ended`."""
        told = Told(self.settled.copy(), {}, {})
        for stretch in self.stretches:
            before = told.standing.length
            over = ended or stretch is not self.stretches[-1]
            fate = told.standing.meet(self.streak, stretch, over=over, paused=self.is_paused(stretch))
            told.fates[stretch.start] = fate
            told.lengths[stretch.start] = before if fate is Fate.BROKEN else told.standing.length
        return told

    def is_at_risk(self) -> bool:
        """Whether the streak breaks at the end of the last stretch if nothing more is done."""
        if not self.stretches:
            return False
        return self._breaks(self.tell(), self.stretches[-1])

    def next_at(self, told: Told) -> int | None:
        """When time alone next does something; None while the streak does not run."""
        if not self.stretches or told.standing.length == 0:
            return None
        last = self.stretches[-1]
        if told.fates[last.start] is Fate.KEPT:  # its end changes nothing: what can be missed is the next one
            last = following(last, self.streak.per, self.zone)
        if self.streak.warn_before is None or self.warned == last.end or not self._breaks(told, last):
            return last.end
        return max(self.warns_at(last), last.start)  # not while the one before it is under way

    def warns_at(self, stretch: Stretch) -> int:
        """When to warn that the streak breaks at the end of a stretch."""
        assert self.streak.warn_before is not None
        return stretch.end - int(self.streak.warn_before.total_seconds())

    def _breaks(self, told: Told, stretch: Stretch) -> bool:
        running = told.standing.length > 0 and told.fates.get(stretch.start, Fate.OPEN) is Fate.OPEN
        return running and not told.standing.bridges(stretch, paused=self.is_paused(stretch))

    def take_over(self, other: Memory) -> None:
        """The streak of two members who are one now: the longer of both, and all that either did in each period."""
        mine, theirs = self.settled, other.settled
        terms = self.streak.freezes
        # What everybody has at first, one member has once, however many guests it was before.
        brought = max(theirs.freezes - terms.start, theirs.bought)
        mine.freezes = max(mine.freezes, min(mine.freezes + brought, terms.most))
        mine.bought = min(mine.bought + theirs.bought, mine.freezes)
        mine.since = max(mine.since, theirs.since)
        if theirs.length > mine.length:
            mine.length, mine.lost, mine.excused = theirs.length, theirs.lost, theirs.excused
        mine.best = max(mine.best, theirs.best)
        mine.runs = {key: max(mine.runs.get(key, 0), theirs.runs.get(key, 0)) for key in {*mine.runs, *theirs.runs}}
        self.paid = {key: max(self.paid.get(key, 0), other.paid.get(key, 0)) for key in {*self.paid, *other.paid}}
        self.pauses = sorted([*self.pauses, *other.pauses])[-PAUSES_MAX:]
        self.paused_in = max(self.paused_in, other.paused_in)
        by_number = {each.number: each for each in self.stretches}
        for stretch in other.stretches:
            same = by_number.get(stretch.number)
            if same is None:
                continue
            same.count += stretch.count
            same.freezes += stretch.freezes
            same.bought += stretch.bought
            same.rewarded |= stretch.rewarded
            if same.restored is None:
                same.restored = stretch.restored


def counted_more(
    streak: Streak, kept: Mapping[str, Any], payload: int, *, at: int, now: int, zone: ZoneInfo
) -> dict[str, Any] | None:
    """What is kept once a stretch that was kept already counts more, for of that nothing else follows; None where more may."""
    stretches = kept["stretches"]
    if payload <= 0 or not stretches or stretches[-1][1] <= now:
        return None
    if kept["zone"] != zone.key or kept.get("due", (None,))[0] != streak.terms:
        return None
    for index, each in enumerate(stretches):
        if each[0] <= at < each[1]:
            if len(each) < _COUNT + 1 or each[_COUNT] < streak.target:
                return None
            more = [*each[:_COUNT], each[_COUNT] + payload, *each[_COUNT + 1 :]]
            return {**kept, "stretches": [*stretches[:index], more, *stretches[index + 1 :]]}
    return None


def first_kept(
    streak: Streak, payload: int, *, at: int, now: int, zone: ZoneInfo, late_seconds: int
) -> tuple[dict[str, Any], Standing] | None:
    """What is kept of a streak of which nothing was, and how it stands, once its first stretch is kept, the one under way;
    None where more may follow."""
    if payload < streak.target or streak.rewards or streak.milestone(1):
        return None
    memory = Memory.new(streak, zone)
    memory.advance(now, zone, late_seconds=late_seconds)
    last = memory.stretches[-1]
    if not last.start <= at < last.end:
        return None
    last.count = payload
    told = Told(memory.settled.copy(), {last.start: Fate.KEPT}, {})
    told.standing.meet(streak, last, over=False, paused=False)  # those before it were missed when there was no streak
    return memory.plain(told), told.standing
