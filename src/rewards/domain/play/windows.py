"""Sub-windows: where in time a metric keeps what it counts.

A state is `[slots, cells]`: the numbers of the sub-windows that hold something, ascending, and what they hold.

- A rolling window of length L has 60 sub-windows of L/60, numbered from the epoch: an event at second t is in slot
  `60 t // L`, and a window at t is that slot and the 59 before it. A window of months counts 31 days a month for the
  width, and its own months for the length.
- A calendar period is one slot, numbered as in `periods`.
- A score over any span is kept in rolling sub-windows, at most a third of a half-life wide. Over a calendar period their
  numbers are doubled, and odd for what belongs to a period that began within the sub-window.

Sub-windows older than the windows that can still be read are let go, as are the oldest where there are more than
`SLOTS` of them per window and one more window's worth. Both depend only on which events were seen, not on their
order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, Lifetime, Rolling, add_months, epoch_seconds, from_epoch_seconds, period_at
from rewards.domain.program.compiled import Metric, MetricKind

SLOTS: Final = 60
LATE_SECONDS: Final = 72 * 3_600
SCORE_HALF_LIVES: Final = 20
"""A score forgets what is older: by then less than a millionth is left of it."""
LAST_SLOTS_MAX: Final = 30
"""Only the newest event matters now; the others are for readings as of a late event."""
_MONTH_SECONDS: Final = 31 * 86_400
_DAYS_MAX: Final = {Calendar.DAY: 2, Calendar.WEEK: 8, Calendar.MONTH: 32, Calendar.YEAR: 367}
"""With the hour or the day that a change of clocks may add."""
_DAYS: Final = {Calendar.DAY: 1, Calendar.WEEK: 7, Calendar.MONTH: 28, Calendar.YEAR: 365}


def seconds_of(length: timedelta) -> int:
    return length.days * 86_400 + length.seconds or 1


def half_life_seconds(metric: Metric) -> int:
    if metric.half_life is None:
        raise ValueError(f"metric {metric.key}: a score needs a half-life")
    return seconds_of(metric.half_life)


def rolling_seconds(metric: Metric) -> int:
    """The length that the sub-windows of a metric divide by 60; 0 if the metric is kept per calendar period."""
    over = metric.over
    if metric.kind is MetricKind.SCORE:
        faded = SCORE_HALF_LIVES * half_life_seconds(metric)
        if isinstance(over, Lifetime):
            return faded
        return min(faded, _span_seconds(over) if isinstance(over, Rolling) else _DAYS[over] * 86_400)
    return _span_seconds(over) if isinstance(over, Rolling) else 0


def _span_seconds(over: Rolling) -> int:
    return over.months * _MONTH_SECONDS or seconds_of(over.length)


def slot_of(metric: Metric, seconds: int, zone: ZoneInfo) -> int:
    """The sub-window of an instant. Not for metrics without any (`Lifetime`, other than scores)."""
    over = metric.over
    if metric.kind is not MetricKind.SCORE:
        if type(over) is Rolling and not over.months:
            length = over.length
            return seconds * SLOTS // (length.days * 86_400 + length.seconds or 1)
        if type(over) is Calendar:
            return period_at(over, seconds, zone).number
    slot = seconds * SLOTS // rolling_seconds(metric)
    if type(over) is not Calendar:
        return slot
    return 2 * slot + (period_at(over, seconds, zone).start_seconds > slot_start(metric, 2 * slot))


def slot_start(metric: Metric, slot: int) -> int:
    """The first second of a rolling sub-window."""
    return slot_starts(metric)(slot)


def slot_starts(metric: Metric) -> Callable[[int], int]:
    """`slot_start` for many slots of one metric."""
    length = rolling_seconds(metric)
    numbers = 2 if isinstance(metric.over, Calendar) else 1
    return lambda slot: -(-(slot // numbers) * length // SLOTS)


def window(metric: Metric, seconds: int, zone: ZoneInfo, back: int) -> tuple[int, int]:
    """The slots of the window at an instant (`back` = 1: of the window before it): above the first number, up to the
    second.
    """
    over = metric.over
    score = metric.kind is MetricKind.SCORE
    if type(over) is Rolling and not over.months and not score:
        length = over.length
        newest = seconds * SLOTS // (length.days * 86_400 + length.seconds or 1) - SLOTS * back
        return newest - SLOTS, newest
    if type(over) is Calendar:
        period = period_at(over, seconds, zone)
        if back:
            period = period_at(over, period.start_seconds - 1, zone)
        if not score:
            return period.number - 1, period.number
        newest = slot_of(metric, min(seconds, period.end_seconds - 1), zone)
        return slot_of(metric, period.start_seconds, zone) - 1, newest
    if type(over) is Rolling and over.months and not score:
        moment = from_epoch_seconds(seconds)
        begin = epoch_seconds(add_months(moment, -over.months * (back + 1), zone))
        end = epoch_seconds(add_months(moment, -over.months * back, zone)) if back else seconds
        return slot_of(metric, begin, zone), slot_of(metric, end, zone)
    newest = slot_of(metric, seconds, zone) - SLOTS * back
    return newest - SLOTS, newest


def window_end(metric: Metric, seconds: int, zone: ZoneInfo, back: int) -> int:
    """The second to which a score is decayed: the moment itself, or the end of the window before."""
    if not back:
        return seconds
    if isinstance(metric.over, Calendar):
        return period_at(metric.over, seconds, zone).start_seconds
    return seconds - rolling_seconds(metric)


def cells_between(slots: list[int], cells: list[Any], above: int, upto: int) -> list[Any]:
    """The cells of `window`. Shares its answer with the state where that is all of it: not to be changed."""
    if slots[0] > above and slots[-1] <= upto:
        return cells
    return cells[bisect_right(slots, above) : bisect_right(slots, upto)]


def reach(metric: Metric, late_seconds: int) -> int:
    """How many slots back from the newest one are kept: the windows that can be read, and as long as events may be
    late.
    """
    windows = 2 if metric.previous else 1
    length = rolling_seconds(metric)
    if length and isinstance(metric.over, Calendar):
        # Doubled numbers; a month may be a tenth longer than its shortest.
        period_seconds = _DAYS[metric.over] * 86_400 * 11 // 10
        return 2 * ((windows * period_seconds + late_seconds) * SLOTS // length + 1)
    if length:
        return windows * SLOTS + late_seconds * SLOTS // length + 1
    days = _DAYS.get(metric.over, 1) if isinstance(metric.over, Calendar) else 1
    return 2 + late_seconds // (days * 86_400) + 1


def reach_seconds(metric: Metric, late_seconds: int) -> int | None:
    """How far back in time that is, at most; None for a lifetime: all of it."""
    if slotless(metric):
        return None
    slots = reach(metric, late_seconds) + 1
    length = rolling_seconds(metric)
    if not length:
        assert isinstance(metric.over, Calendar)
        return slots * _DAYS_MAX[metric.over] * 86_400
    numbers = 2 if isinstance(metric.over, Calendar) else 1
    return -(-(slots // numbers + 1) * length // SLOTS)


def slots_max(metric: Metric) -> int:
    if metric.kind is MetricKind.LAST and not metric.previous:
        return LAST_SLOTS_MAX
    return (3 if metric.previous else 2) * SLOTS


def place(metric: Metric, state: list[Any] | None, slot: int, cell: Any, late_seconds: int) -> list[Any]:
    """A state with `cell` at a new slot, and without the slots that are past the bounds (which may be the new one)."""
    if state is None:
        return [[slot], [cell]]
    slots, cells = state
    at = bisect_left(slots, slot)
    slots = [*slots[:at], slot, *slots[at:]]
    cells = [*cells[:at], cell, *cells[at:]]
    gone = max(bisect_right(slots, slots[-1] - reach(metric, late_seconds)), len(slots) - slots_max(metric))
    return [slots[gone:], cells[gone:]] if gone > 0 else [slots, cells]


def slotless(metric: Metric) -> bool:
    """One cell for all time."""
    return type(metric.over) is Lifetime and metric.kind is not MetricKind.SCORE
