"""What time and size do to metrics: when silence changes a reading, what may be let go, and how a member's document
stays small.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, Rolling, add_months, epoch_seconds, from_epoch_seconds, period_end
from rewards.domain.play import cells, windows
from rewards.domain.play.windows import LATE_SECONDS, slot_of, slot_start, slotless
from rewards.domain.program.compiled import Metric, MetricKind

METRICS_BYTES_MAX: Final = 48 * 1_024
"""The share of the member's document (64 KiB) that metrics may take."""
SCORE_STEPS: Final = 8
"""A score is looked at again each eighth of its half-life, in which it loses 8.3 % of its value."""


def next_change(metric: Metric, state: Any | None, *, at: datetime, zone: ZoneInfo) -> datetime | None:
    """The next moment after `at` at which silence alone may change a reading, or None if it never does.

    A sub-window falls out of its window or a calendar period ends; it is never later than the first real change. A
    score changes all the time: it answers steps of an eighth of the half-life while anything is left of it.
    """
    if state is None or slotless(metric):
        return None
    states = [state] if metric.by is None else [split for _, split in state.values()]
    moments = [moment for each in states for moment in _changes(metric, each, at, zone)]
    return min(moments, default=None)


def prune(
    metric: Metric, state: Any | None, *, at: datetime, zone: ZoneInfo, late_seconds: int = LATE_SECONDS
) -> Any | None:
    """The state without what no reading at `at` or later can see, nor an event that is late by `late_seconds` (None
    if nothing is left).
    """
    if state is None or slotless(metric):
        return state
    oldest = slot_of(metric, epoch_seconds(at), zone) - windows.reach(metric, late_seconds)
    if metric.by is None:
        return _newer(state, oldest)
    kept = {by: (touched, _newer(split, oldest)) for by, (touched, split) in state.items()}
    return {by: [touched, split] for by, (touched, split) in kept.items() if split is not None} or None


def bounded(
    states: Mapping[str, Any], metrics: Iterable[Metric], *, bytes_max: int = METRICS_BYTES_MAX
) -> dict[str, Any]:
    """The metric states (by metric id) cut down to about `bytes_max` of MessagePack; call it when an encoded document
    is too large.

    States whose definition is no longer in the program go first. Then the largest state is halved, again and again: a
    split metric loses the half of its values that was touched longest ago, a window its older sub-windows, a set or
    favourites the half that matters least.
    """
    known = {metric.id: metric for metric in metrics}
    kept = dict(states)
    sizes = {key: state_size(state) for key, state in kept.items()}
    for key in sorted(kept.keys() - known.keys()):
        if sum(sizes.values()) <= bytes_max:
            break
        del kept[key], sizes[key]
    while sum(sizes.values()) > bytes_max:
        largest = max(sizes, key=lambda key: (sizes[key], key))
        smaller = _halved(known[largest], kept[largest])
        if smaller is None:
            del kept[largest], sizes[largest]
        else:
            kept[largest], sizes[largest] = smaller, state_size(smaller)
    return kept


def state_size(value: Any) -> int:
    """About how many bytes a plain value takes in MessagePack; never less than it does."""
    if isinstance(value, dict):
        return 5 + sum(state_size(key) + state_size(each) for key, each in value.items())
    if isinstance(value, list):
        return 5 + sum(map(state_size, value))
    if isinstance(value, str):
        return 5 + len(value.encode())
    if type(value) is int:
        return next((size for size, bound in ((1, 32), (2, 128), (3, 2**15), (5, 2**31)) if -bound <= value < bound), 9)
    return 9


def _changes(metric: Metric, state: list[Any], at: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    slots: list[int] = state[0]
    seconds = epoch_seconds(at)
    if isinstance(metric.over, Calendar):
        oldest, _ = windows.window(metric, seconds, zone, 1 if metric.previous else 0)
        if slots[-1] > oldest:
            yield period_end(metric.over, at, zone)
            if metric.kind is MetricKind.SCORE:
                yield at + _score_step(metric)
        return
    edges = [windows.window(metric, seconds, zone, back) for back in range(2 if metric.previous else 1)]
    ahead = bisect_right(slots, edges[0][1])
    if ahead < len(slots):
        yield from_epoch_seconds(slot_start(metric, slots[ahead]))
    if metric.kind is MetricKind.SCORE:
        if ahead and slots[ahead - 1] > edges[-1][0]:
            yield at + _score_step(metric)
        return
    for back, (above, upto) in enumerate(edges):
        first, end = bisect_right(slots, above), bisect_right(slots, upto)
        if first < end:
            # The newest event stays the last one until it falls out itself; an older one may still enter the window before.
            only_newest = metric.kind is MetricKind.LAST and not metric.previous
            leaving = slots[end - 1] if only_newest else slots[first]
            yield _leaves(metric, leaving, back + 1, at, zone)


def _score_step(metric: Metric) -> timedelta:
    return timedelta(seconds=max(1, windows.half_life_seconds(metric) // SCORE_STEPS))


def _leaves(metric: Metric, slot: int, windows_back: int, at: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which a sub-window is older than so many windows."""
    over = metric.over
    if not isinstance(over, Rolling) or not over.months:
        return from_epoch_seconds(slot_start(metric, slot + windows.SLOTS * windows_back))
    months = over.months * windows_back
    begin = from_epoch_seconds(slot_start(metric, slot))
    moment = add_months(begin, months, zone)
    while add_months(moment, -months, zone) < begin:
        # A shorter month ends before the day is reached: the first moment of the next local day is the one.
        moment = period_end(Calendar.DAY, moment, zone)
    return moment if moment > at else period_end(Calendar.DAY, at, zone)


def _newer(state: list[Any], oldest: int) -> list[Any] | None:
    slots, kept = state
    gone = bisect_right(slots, oldest)
    if gone == len(slots):
        return None
    return [slots[gone:], kept[gone:]] if gone else state


def _halved(metric: Metric, state: Any) -> Any | None:
    if metric.by is not None and len(state) > 1:
        newest = sorted(state, key=lambda by: (state[by][0], by), reverse=True)[: len(state) // 2]
        return {by: state[by] for by in newest}
    if metric.by is not None:
        return None
    if slotless(metric):
        smaller = cells.halved(metric.kind, state)
        return smaller if smaller != state else None
    slots, kept = state
    if len(slots) > 1:
        half = len(slots) // 2
        return [slots[half:], kept[half:]]
    smaller = cells.halved(metric.kind, kept[0])
    return [slots, [smaller]] if smaller != kept[0] else None
