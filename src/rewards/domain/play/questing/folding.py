"""How a quest follows from its contributions, one after the other in the order of (occurred at, id).

An attempt begins with the first contribution that may begin one and would count; from then on what arrives before its
window ends counts. A contribution after that finds the attempt gone, and may begin the next. When the quest is complete
the attempt is over, and another may begin once the quest is available again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from rewards.domain.periods import (
    Calendar,
    Lifetime,
    Rolling,
    Span,
    add_months,
    epoch_micros,
    from_epoch_micros,
    period_end,
)
from rewards.domain.play.cells import clamp
from rewards.domain.play.questing.standing import (
    BEGINS,
    COUNTS,
    LEAVES,
    Attempt,
    Entry,
    Standing,
    named,
    with_contribution,
    without_contribution,
)
from rewards.domain.program.compiled import MetricKind
from rewards.domain.program.quest import DISTINCT_TARGET_MAX, Order, Quest

STARTED: Final = "started"
STEP: Final = "step"
COMPLETED: Final = "completed"


class Happening(NamedTuple):
    """An attempt began, a step was reached, or the quest was completed; `instance` counts completions from 1.

    `by` names who contributed to the attempt until then, in a team quest. `high` and `low` are the id of the event that did it,
    but for what an event began.
    """

    what: str
    instance: int
    step: int
    micros: int
    by: tuple[str, ...] = ()
    high: int = 0
    low: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What besides contributions decides: the member's zone, and since when the quests that are required are completed.

    `unlocked` is None while one of them is not; 0 where none is required.
    """

    zone: ZoneInfo
    unlocked: int | None = 0


def advance(quest: Quest, standing: Standing, entry: Entry, terms: Terms) -> tuple[Standing, list[Happening]]:
    """Where the quest stands after one contribution, and what that brought."""
    attempt = standing.attempt
    if attempt is not None and attempt.ends is not None and entry.micros >= attempt.ends:
        attempt = None
    if entry.sort == LEAVES:
        return standing._replace(attempt=None), []
    happened: list[Happening] = []
    instance = standing.completed + 1
    if attempt is None:
        if not may_begin(quest, standing, entry, terms):
            return standing._replace(attempt=None), []
        nothing = [_NOTHING[step.kind] for step in quest.steps]
        attempt = Attempt(entry.micros, window_end(quest, entry.micros, terms.zone), nothing, 0)
        happened.append(Happening(STARTED, instance, 0, entry.micros))
    began, ends, before, done, by = attempt
    counts = before.copy()
    current = done.bit_count()
    steps = []
    for index, payload in entry.parts:
        if quest.order is Order.SEQUENCE and index != current:
            continue
        step = quest.steps[index]
        counts[index] = count_of(step.kind, counts[index], payload)
        if not done >> index & 1 and reached(step.kind, counts[index], step.goal):
            done |= 1 << index
            steps.append(step.number)
    if entry.by and entry.parts:
        by = with_contribution(by, entry.by, moved=counts != before)
    if done:
        who = named(by) if by else ()
        happened += [Happening(STEP, instance, number, entry.micros, who, entry.high, entry.low) for number in steps]
        if quest.order is Order.ANY or done == quest.all_done:
            happened.append(Happening(COMPLETED, instance, 0, entry.micros, who, entry.high, entry.low))
            first = entry.micros if standing.first is None else standing.first
            return Standing(instance, first, entry.micros, None), happened
    completed, earliest, last, _ = standing
    return Standing(completed, earliest, last, Attempt(began, ends, counts, done, by)), happened


def fold(quest: Quest, standing: Standing, tail: Iterable[list[Any]], terms: Terms) -> tuple[Standing, list[Happening]]:
    """Where the quest stands after contributions as they are written down, and all that they brought."""
    happened: list[Happening] = []
    for plain in tail:
        standing, more = advance(quest, standing, Entry.of(plain), terms)
        happened += more
    return standing, happened


def may_begin(quest: Quest, standing: Standing, entry: Entry, terms: Terms) -> bool:
    """Whether a contribution begins an attempt where none is under way."""
    if entry.sort == COUNTS or (entry.sort == BEGINS and (quest.opt_in or not _counts(quest, entry))):
        return False
    if quest.times is not None and standing.completed >= quest.times:
        return False
    if terms.unlocked is None or entry.micros < terms.unlocked:
        return False
    if entry.micros == terms.unlocked and entry.sort == BEGINS:
        return False  # the event that completes what is required is not yet one of this quest
    if not is_open(quest, entry.micros):
        return False
    return standing.last is None or entry.micros >= available_from(quest, standing.last, terms.zone)


def is_open(quest: Quest, micros: int) -> bool:
    """Whether the quest is offered at a moment, as to its `starts` and `ends`."""
    if quest.starts is None and quest.ends is None:
        return True
    moment = from_epoch_micros(micros)
    return not (quest.starts is not None and moment < quest.starts) and not (
        quest.ends is not None and moment > quest.ends
    )


def available_from(quest: Quest, last: int, zone: ZoneInfo) -> int:
    """When a quest that was completed at `last` can begin anew, in microseconds; at once where nothing is said."""
    if quest.again is None:
        return last
    return epoch_micros(_after(quest.again.after, from_epoch_micros(last), zone))


def window_end(quest: Quest, began: int, zone: ZoneInfo) -> int | None:
    """When the window of an attempt ends (exclusive), in microseconds; None if it never does."""
    ends = []
    if not isinstance(quest.window, Lifetime):
        ends.append(epoch_micros(_after(quest.window, from_epoch_micros(began), zone)))
    if quest.ends is not None:
        ends.append(epoch_micros(quest.ends) + 1)  # what happens at that very moment still counts
    return min(ends, default=None)


def _after(span: Span, moment: datetime, zone: ZoneInfo) -> datetime:
    if isinstance(span, Calendar):
        return period_end(span, moment, zone)
    assert isinstance(span, Rolling)
    return add_months(moment, span.months, zone) if span.months else moment + span.length


def _counts(quest: Quest, entry: Entry) -> bool:
    """Whether anything of a contribution would count for an attempt that begins with it."""
    for index, payload in entry.parts:
        in_turn = index == 0 or quest.order is not Order.SEQUENCE
        if in_turn and (quest.steps[index].kind is not MetricKind.SUM or payload > 0):
            return True
    return False


_NOTHING: Final[dict[MetricKind, Any]] = {
    MetricKind.COUNT: 0,
    MetricKind.SUM: 0,
    MetricKind.DISTINCT: [],
    MetricKind.MAX: None,
}


def reached(kind: MetricKind, count: Any, goal: float) -> bool:
    """Whether what a step has counted is enough."""
    if kind is MetricKind.DISTINCT:
        return len(count) >= goal
    return count is not None and count >= goal


def count_of(kind: MetricKind, count: Any, payload: Any) -> Any:
    """What a step has counted, with one contribution more."""
    if kind is MetricKind.COUNT or kind is MetricKind.SUM:
        return clamp(count + payload)
    if kind is MetricKind.MAX:
        return payload if count is None or payload > count else count
    return with_value(count, payload)


def with_value(values: list[int], value: int) -> list[int]:
    """Sorted different values with one more, as long as more can matter."""
    at = bisect_left(values, value)
    if (at < len(values) and values[at] == value) or len(values) >= DISTINCT_TARGET_MAX:
        return values
    return [*values[:at], value, *values[at:]]


def without(quest: Quest, attempt: Attempt, entry: Entry) -> Attempt:
    """An attempt without a contribution that is no longer kept by itself: numbers can be taken off again; different
    values and largest ones stay as they are. Who has nothing else left in it is no contributor any more."""
    counts, done = list(attempt.counts), attempt.done
    by = without_contribution(attempt.by, entry.by) if entry.by else attempt.by
    for index, payload in entry.parts:
        step = quest.steps[index]
        if step.kind is MetricKind.COUNT or step.kind is MetricKind.SUM:
            counts[index] = max(0, counts[index] - payload)
            if not reached(step.kind, counts[index], step.goal):
                done &= ~(1 << index)
    if quest.order is Order.SEQUENCE:
        current = next((index for index in range(len(counts)) if not done >> index & 1), len(counts))
        done = (1 << current) - 1  # nothing counts before what comes before it is done
        counts[current + 1 :] = [_NOTHING[step.kind] for step in quest.steps[current + 1 :]]
    return attempt._replace(counts=counts, done=done, by=by)
