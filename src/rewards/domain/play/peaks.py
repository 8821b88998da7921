"""The highest reading of a metric between two moments: what an event that comes late may have lifted.

A reading of a window changes where a sub-window that holds something begins, and falls in between; so it is enough to look
at each of those. All moments of a sub-window read alike, as at its beginning: an event that happened later in it counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, epoch_seconds, from_epoch_seconds, period_at
from rewards.domain.play import cells
from rewards.domain.play.metrics import Stored, add, read
from rewards.domain.play.windows import cells_between, slot_of, slot_starts, slotless, window
from rewards.domain.program.compiled import Metric, MetricKind


def peak(
    metric: Metric, state: Any | None, *, since: datetime | None = None, until: datetime, zone: ZoneInfo
) -> int | float | None:
    """The highest reading at any moment from `since` (None: from as far back as anything is kept) to `until`.

    None where there is no reading at all, as of an empty max. Without windows, or at a single moment, it is what the metric
    reads. The metric is one of numbers and not split: of a text or a flag there is nothing highest (ValueError).
    """
    if metric.by is None and (state is None or since == until or slotless(metric)):
        return _number(metric, read(metric, state, at=until, zone=zone))
    highest: int | float | None = None
    for _, value in _readings(metric, state, since, until, zone):
        if value is not None and (highest is None or value > highest):
            highest = value
    return highest


def reached_by(
    metric: Metric,
    state: Any | None,
    threshold: float,
    *,
    since: datetime | None = None,
    until: datetime,
    zone: ZoneInfo,
) -> datetime | None:
    """By when the reading was at least `threshold`: at `since` itself, or in the first later sub-window where it is.

    Of that the last second is named, or `until` if that comes first. None if it never was from `since` on (None: from as
    far back as anything is kept).
    """
    for moment, value in _readings(metric, state, since, until, zone):
        if value is not None and value >= threshold:
            return moment
    return None


def grounds(metric: Metric, event_at: datetime, reading_at: datetime, zone: ZoneInfo) -> bool:
    """Whether an event of that moment is part of the reading at another. All that a lifetime counts is."""
    if slotless(metric):
        return True
    seconds = epoch_seconds(reading_at)
    if not isinstance(metric.over, Calendar):
        seconds = slot_starts(metric)(slot_of(metric, seconds, zone))
    above, upto = window(metric, seconds, zone, 0)
    return above < slot_of(metric, epoch_seconds(event_at), zone) <= upto


def readings_of(metric: Metric, contributions: Iterable[Stored], zone: ZoneInfo) -> list[tuple[datetime, int | float]]:
    """What these contributions read, however long ago: one reading for each sub-window that holds some, the oldest first.

    The moment is that of the last of them. For metrics with windows whose readings do not fade.
    """
    held: dict[int, tuple[datetime, Any]] = {}
    for stored in contributions:
        [slot], [cell] = add(metric, None, stored, zone=zone)
        known = held.get(slot)
        if known is not None:
            cell = cells.merged(metric.kind, known[1], cell)
        held[slot] = (stored.occurred_at if known is None else max(known[0], stored.occurred_at), cell)
    slots = sorted(held)
    kept = [held[slot][1] for slot in slots]
    found = []
    for slot in slots:
        above, upto = slot - 1, slot
        if not isinstance(metric.over, Calendar):
            above, upto = window(metric, slot_starts(metric)(slot), zone, 0)
        value = cells.read_cells(metric.kind, cells_between(slots, kept, above, upto))
        found.append((held[slot][0], value))
    return found


def _readings(
    metric: Metric, state: Any | None, since: datetime | None, until: datetime, zone: ZoneInfo
) -> Iterator[tuple[datetime, int | float | None]]:
    """Each reading that differs, with a moment at which it was one: `since`, later the end of a sub-window."""
    if metric.by is not None:
        raise ValueError(f"metric {metric.key} is split by {metric.by.source}: nothing says which part is meant")
    if state is None or slotless(metric):
        yield since or until, _number(metric, read(metric, state, at=until, zone=zone))
        return
    moments: Iterable[tuple[int, int]]
    if isinstance(metric.over, Calendar) and metric.kind is not MetricKind.SCORE:
        moments = _periods(metric, metric.over, state[0], since, until, zone)
    else:
        moments = _sub_windows(metric, state[0], since, until, zone)
    fades = metric.kind is MetricKind.SCORE
    known = since
    for begin, end in moments:
        at = from_epoch_seconds(begin)
        if fades and since is not None:
            at = max(at, since)
        value = read(metric, state, at=at, zone=zone)
        yield known or min(from_epoch_seconds(end - 1), until), _number(metric, value)
        known = None


def _sub_windows(
    metric: Metric, slots: list[int], since: datetime | None, until: datetime, zone: ZoneInfo
) -> Iterator[tuple[int, int]]:
    """First second and end of the sub-window of `since` and of those after it that hold something."""
    starts = slot_starts(metric)
    last = slot_of(metric, epoch_seconds(until), zone)
    first = slots[0] if since is None else slot_of(metric, epoch_seconds(since), zone)
    yield starts(first), starts(first + 1)
    for slot in slots[bisect_right(slots, first) : bisect_right(slots, last)]:
        yield starts(slot), starts(slot + 1)


def _periods(
    metric: Metric, over: Calendar, slots: list[int], since: datetime | None, until: datetime, zone: ZoneInfo
) -> list[tuple[int, int]]:
    """First second and end of the calendar periods of both moments and between; without `since` from the oldest that is kept."""
    found = [period_at(over, epoch_seconds(until), zone)]
    oldest = slots[0] if since is None else slot_of(metric, epoch_seconds(since), zone)
    while found[-1].number > oldest:
        found.append(period_at(over, found[-1].start_seconds - 1, zone))
    return [(period.start_seconds, period.end_seconds) for period in reversed(found)]


def _number(metric: Metric, value: Any) -> int | float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError(f"metric {metric.key} reads {type(value).__name__}, of which nothing is highest")
