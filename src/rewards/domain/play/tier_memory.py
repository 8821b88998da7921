"""What is remembered of a member's way up and down the ladder of tiers, as it is kept in the member's document.

`base` is the standing at a moment that no event can come before any more; what counted since is the `tail`. An event that
comes late is put into the tail, and all of it is walked through again. `head` is the standing after all that is known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rewards.domain.periods import epoch_micros
from rewards.domain.play.tier_held import LADDER, MECHANIC
from rewards.domain.play.tier_standing import (
    SECOND,
    Change,
    Entry,
    Reading,
    Sliding,
    Standing,
    begin,
    caught_up,
    packed,
    raised,
    rank,
    renamed,
    unpacked,
    walk,
)
from rewards.domain.program.tier import Ladder
from rewards.domain.work import Work

TAIL_MAX: Final = 200
HISTORY_MAX: Final = 24
GONE_MAX: Final = 40
BEGUN_MAX: Final = 4


@dataclass(slots=True)
class Memory:
    """`history` tells from when on which rank is held; `reached` how often a rank was reached, and when last.

    `keys` are the levels' keys when the ranks were written down. `due` is when time alone changes the rank. `gone` is as
    `reached`, by key, of levels that the program has no more: should one come back, it was rewarded already. `begun` says,
    by qualification, by which command it began to count: what was recorded before never was in it.
    """

    terms: str
    metric: str
    keys: list[str]
    base: Standing
    head: Standing
    tail: list[Entry] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    reached: dict[int, tuple[int, int]] = field(default_factory=dict)
    due: int | None = None
    gone: dict[str, tuple[int, int]] = field(default_factory=dict)
    begun: dict[str, str] = field(default_factory=dict)

    def known(self, ladder: Ladder) -> int:
        """The rank that was last told."""
        return self.history[-1][1] if self.history else ladder.lowest

    def add(self, entry: Entry) -> bool:
        """One more thing that counted, or with a negative amount counts no longer; False if it is older than the tail."""
        micros, amount = entry
        if micros <= self.base.at:
            return False
        at = bisect_left(self.tail, micros, key=_moment)
        if at < len(self.tail) and self.tail[at][0] == micros:
            amount += self.tail.pop(at)[1]
        if amount:
            self.tail.insert(at, [micros, amount])
        return True

    def catch_up(self, work: Work) -> None:
        """Before anything more counts: where all that is known is too old to be disordered, the base is the head.

        What time does has been passed already, so the head holds at any moment since; what the metric no longer keeps is not
        asked for.
        """
        begins = epoch_micros(work.now) - _late_micros(work)
        if self.head.at <= begins:
            self.base = self.head = caught_up(self.head, begins)
            self.tail = []

    def settle(self, work: Work, ladder: Ladder) -> None:
        """Moves the base on to where nothing can come before any more, an eighth of the late window at a time."""
        late = _late_micros(work)
        begins = epoch_micros(work.now) - late
        if begins - self.base.at < late // 8 and len(self.tail) <= TAIL_MAX:
            return
        if len(self.tail) > TAIL_MAX:
            begins = max(begins, self.tail[len(self.tail) - TAIL_MAX // 2][0] - 1)
        if begins <= self.base.at:
            return
        reading = Reading(ladder, work.metrics.get(ladder.metric.id), work.zone)
        reading.expect(self.tail)
        gone = bisect_right(self.tail, begins, key=_moment)
        self.base, _, _ = walk(self.base, reading, self.tail[:gone], begins)
        self.tail = self.tail[gone:]


def _moment(entry: Entry) -> int:
    return entry[0]


def _late_micros(work: Work) -> int:
    return work.program.late_seconds * SECOND


def remembered(work: Work, ladder: Ladder) -> Memory | None:
    """What is remembered under the terms of the program; None of a member of whom nothing counted yet."""
    stored = work.play.get(MECHANIC, {}).get(LADDER)
    return None if stored is None else read(ladder, stored)


def read(ladder: Ladder, stored: dict[str, Any]) -> Memory:
    """Only what was written under the same terms."""
    return Memory(
        terms=stored["terms"],
        metric=stored["metric"],
        keys=stored["keys"],
        base=unpacked(ladder, stored["base"]),
        head=unpacked(ladder, stored["head"]),
        tail=list(stored["tail"]),
        history=list(stored["history"]),
        reached={rank: (times, micros) for rank, times, micros in stored["reached"]},
        due=stored["due"],
        gone={key: (times, micros) for key, times, micros in stored.get("gone", ())},
        begun=dict(stored.get("begun", ())),
    )


def keep(work: Work, memory: Memory) -> None:
    """Writes it into the member's document."""
    stored = {
        "terms": memory.terms,
        "metric": memory.metric,
        "keys": memory.keys,
        "base": packed(memory.base),
        "head": packed(memory.head),
        "tail": memory.tail,
        "history": memory.history[-HISTORY_MAX:],
        "reached": [[rank, times, micros] for rank, (times, micros) in memory.reached.items()],
        "due": memory.due,
    }
    if memory.begun:
        stored["begun"] = [list(each) for each in memory.begun.items()][-BEGUN_MAX:]
    if memory.gone:
        latest = sorted(memory.gone.items(), key=lambda each: each[1][1])[-GONE_MAX:]
        stored["gone"] = [[key, times, micros] for key, (times, micros) in latest]
    work.set_play(MECHANIC, LADDER, stored)


def fresh(work: Work, ladder: Ladder, rank: int, *, at: int) -> Memory:
    """Of a member of whom only the rank is known, from `at` on."""
    standing = begin(ladder, at, rank, Reading(ladder, work.metrics.get(ladder.metric.id), work.zone))
    keys = [level.key for level in ladder.levels]
    return Memory(ladder.terms, ladder.metric.id, keys, standing, standing, begun={ladder.metric.id: work.id.hex})


def adopted(work: Work, ladder: Ladder, stored: dict[str, Any]) -> Memory:
    """What was remembered under other terms, carried over: the tier held stays, and is looked at anew at once.

    A level that is gone falls back to the next lower one that is still there. Where something else counts now, the tier is
    kept as if it had just been earned. What a shorter grace or another policy takes is lost from now on: by a window once
    the grace has passed anew, by periods at the end of the running one.
    """
    ranks = {level.key: level.rank for level in ladder.levels}
    mapping = [ladder.lowest]
    for key in stored["keys"]:
        mapping.append(max(ranks.get(key, mapping[-1]), ladder.lowest))
    now = epoch_micros(work.now)
    history: list[Change] = [[micros, mapping[rank]] for micros, rank in stored["history"]]
    memory = fresh(work, ladder, history[-1][1] if history else ladder.lowest, at=now)
    memory.history = history
    memory.begun |= dict(stored.get("begun", [(stored["metric"], "")]))
    reached = {key: (times, micros) for key, times, micros in stored.get("gone", ())}
    reached |= {stored["keys"][rank - 1]: (times, micros) for rank, times, micros in stored["reached"]}
    memory.reached = {ranks[key]: each for key, each in reached.items() if key in ranks}
    memory.gone = {key: each for key, each in reached.items() if key not in ranks}
    if stored["metric"] == ladder.metric.id:
        memory.base = renamed(read(ladder, stored).head, mapping)
    reading = Reading(ladder, work.metrics.get(ladder.metric.id), work.zone)
    memory.base = memory.head = raised(memory.base, reading)
    if stored["due"] is None or stored["due"] > now:  # else time took it under the terms of before
        walked, _, _ = walk(memory.base, reading, (), now)
        if rank(walked, reading) < memory.known(ladder):
            memory.base = memory.head = _upheld(walked, memory.known(ladder), now)
    memory.due = now
    return memory


def _upheld(standing: Standing, held: int, at: int) -> Standing:
    """The standing with a rank that is held although its terms would have taken it by now."""
    if isinstance(standing, Sliding):
        return Sliding(at, held, at)
    return replace(standing, at=at, ground=max(standing.ground, held))
