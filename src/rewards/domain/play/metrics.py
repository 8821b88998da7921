"""What is counted about a member, as values: how an event changes a metric, and what the metric then reads.

A metric's state is one cell (`cells`) for a lifetime, or `[slots, cells]` (`windows`); a metric split `by` a value
holds `{value: [last touched, state]}` for at most 200 values, of which the least recently touched goes first. States
are never changed in place: the member's previous state may share them.

Every reading is a function of the set of events, whatever order they came in, while the state is within its bounds.
Past them it is the older that is given up: a distinct reading stays at 1,000, a favourite is the favourite among the
100 most frequent. An event that happened later in the same sub-window than the moment of reading counts; one in a
later sub-window does not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from rewards.domain.periods import Calendar, Lifetime, epoch_micros, epoch_seconds
from rewards.domain.play import cells, windows
from rewards.domain.play.cells import INVERTIBLE
from rewards.domain.play.metric_upkeep import bounded, next_change, prune
from rewards.domain.play.windows import LATE_SECONDS, cells_between, place, slot_of, slotless
from rewards.domain.program.compiled import Metric, MetricKind

__all__ = [
    "INVERTIBLE",
    "Stored",
    "add",
    "bounded",
    "contribute",
    "contribution",
    "merge",
    "next_change",
    "prune",
    "read",
    "read_previous",
    "recompute",
    "retract",
]

SPLITS_MAX: Final = 200
SPLIT_LENGTH_MAX: Final = 128
ENTRIES_MAX: Final = 2_000
"""Entries (hashes, favourites) over all sub-windows of one metric."""


class Stored(NamedTuple):
    """A contribution as it stands with its event."""

    occurred_at: datetime
    order: str
    contribution: list[Any]


def contribution(
    metric: Metric, *, occurred_at: datetime, value: Any, by: str | None, zone: ZoneInfo
) -> list[Any] | None:
    """What the event row keeps: `[payload]`, `[payload, by]` or `[payload, by, period]`; None if the event adds
    nothing.

    The calendar period is kept because the member's zone may have changed by the time the event is taken back.
    """
    if metric.by is not None and by is None:
        return None
    payload = cells.payload_of(metric.kind, value)
    if payload is None:
        return None
    split = by[:SPLIT_LENGTH_MAX] if metric.by is not None and by is not None else None
    if type(metric.over) is Calendar and metric.kind is not MetricKind.SCORE:
        return [payload, split, slot_of(metric, epoch_seconds(occurred_at), zone)]
    return [payload] if split is None else [payload, split]


def contribute(
    metric: Metric,
    state: Any | None,
    *,
    occurred_at: datetime,
    value: Any,
    by: str | None,
    zone: ZoneInfo,
    order: str,
    late_seconds: int = LATE_SECONDS,
) -> Any:
    """The state with one event more. `order` breaks ties between events of the same microsecond.

    Unchanged if the value is not of a sort that the kind can take, if `by` is missing where the metric is split, or
    if the event is older than every window that can still be read.
    """
    kind = metric.kind
    payload = 1 if kind is MetricKind.COUNT else cells.payload_of(kind, value)
    if payload is None:
        return state
    if metric.by is None:
        return _added(metric, state, payload, occurred_at, order, zone, None, late_seconds)
    if by is None:
        return state
    return _split(metric, state, by[:SPLIT_LENGTH_MAX], payload, occurred_at, order, zone, None, late_seconds)


def add(metric: Metric, state: Any | None, stored: Stored, *, zone: ZoneInfo, late_seconds: int = LATE_SECONDS) -> Any:
    """The state with a stored contribution."""
    occurred_at, order, kept = stored
    payload, by, slot = _parts(kept)
    if metric.by is None:
        return _added(metric, state, payload, occurred_at, order, zone, slot, late_seconds)
    return _split(metric, state, by or "", payload, occurred_at, order, zone, slot, late_seconds)


def retract(metric: Metric, state: Any | None, stored: Stored, *, zone: ZoneInfo) -> Any | None:
    """The state without a contribution that was added before, for the `INVERTIBLE` kinds; None when nothing is left.

    Nothing changes if its sub-window has been let go. Raises ValueError for max, last and distinct: `recompute` those.
    """
    if metric.kind not in INVERTIBLE:
        raise ValueError(f"metric {metric.key}: {metric.kind.value} must be recomputed")
    payload, by, slot = _parts(stored.contribution)
    seconds = epoch_seconds(stored.occurred_at)
    if metric.by is None:
        return _taken(metric, state, payload, seconds, zone=zone, slot=slot)
    if state is None or by not in state:
        return state
    touched, split = state[by]
    left = _taken(metric, split, payload, seconds, zone=zone, slot=slot)
    if left is None:
        return {key: entry for key, entry in state.items() if key != by} or None
    return {**state, by: [touched, left]}


def recompute(
    metric: Metric, contributions: Iterable[Stored], *, zone: ZoneInfo, late_seconds: int = LATE_SECONDS
) -> Any | None:
    """The state that these contributions make, in whatever order they come."""
    state = None
    for stored in contributions:
        state = add(metric, state, stored, zone=zone, late_seconds=late_seconds)
    return state


def read(metric: Metric, state: Any | None, *, at: datetime, zone: ZoneInfo, by: str | None = None) -> Any:
    """The value of the window at `at`: 0 for an empty count, sum, distinct or score, None for an empty max, last or
    favourite.

    Of a split metric: the reading for `by`, or of all kept values together when `by` is None.
    """
    if metric.by is not None:
        return _read_split(metric, state, by, 0, at=at, zone=zone)
    if state is None:
        return cells.nothing(metric.kind)
    if slotless(metric):
        return cells.read_cells(metric.kind, [state])
    return _read_window(metric, [state], epoch_seconds(at), zone, 0)


def read_previous(metric: Metric, state: Any | None, *, at: datetime, zone: ZoneInfo, by: str | None = None) -> Any:
    """As `read`, of the window before (a score: as it stood at that window's end). A lifetime has none before it."""
    if metric.by is not None:
        return _read_split(metric, state, by, 1, at=at, zone=zone)
    if state is None or isinstance(metric.over, Lifetime):
        return cells.nothing(metric.kind)
    return _read_window(metric, [state], epoch_seconds(at), zone, 1)


def merge(metric: Metric, one: Any | None, other: Any | None, *, late_seconds: int = LATE_SECONDS) -> Any | None:
    """The state of two members' events together, when one member is merged into another."""
    if one is None or other is None:
        return other if one is None else one
    if metric.by is None:
        return _merged(metric, one, other, late_seconds)
    both = dict(one)
    for key, (touched, split) in other.items():
        mine = both.get(key)
        both[key] = (
            [touched, split] if mine is None else [max(touched, mine[0]), _merged(metric, mine[1], split, late_seconds)]
        )
    newest = sorted(both, key=lambda key: (both[key][0], key), reverse=True)[:SPLITS_MAX]
    return {key: both[key] for key in newest}


def _added(
    metric: Metric,
    state: Any | None,
    payload: Any,
    occurred_at: datetime,
    order: str,
    zone: ZoneInfo,
    slot: int | None,
    late_seconds: int,
) -> Any:
    kind = metric.kind
    micros = epoch_micros(occurred_at)
    if slotless(metric):
        return cells.put(kind, state, payload, micros, order)
    seconds = micros // 1_000_000
    if slot is None:
        slot = slot_of(metric, seconds, zone)
    if kind is MetricKind.SCORE:
        payload = _grown(metric, payload, seconds, slot)
    if state is None:
        return [[slot], [cells.put(kind, None, payload, micros, order)]]
    slots, kept = state
    at = len(slots) - 1 if slots[-1] == slot else bisect_left(slots, slot)
    if at == len(slots) or slots[at] != slot:
        return _within_entries(
            metric, place(metric, state, slot, cells.put(kind, None, payload, micros, order), late_seconds)
        )
    kept = kept.copy()
    kept[at] = cells.put(kind, kept[at], payload, micros, order)
    return _within_entries(metric, [slots, kept])


def _taken(
    metric: Metric, state: Any | None, payload: Any, seconds: int, *, zone: ZoneInfo, slot: int | None
) -> Any | None:
    if state is None:
        return None
    if slotless(metric):
        return cells.take(metric.kind, state, payload)
    if slot is None:
        slot = slot_of(metric, seconds, zone)
    if metric.kind is MetricKind.SCORE:
        payload = _grown(metric, payload, seconds, slot)
    slots, kept = state
    at = bisect_left(slots, slot)
    if at == len(slots) or slots[at] != slot:
        return state
    rest = cells.take(metric.kind, kept[at], payload)
    if rest is not None:
        return [slots, [*kept[:at], rest, *kept[at + 1 :]]]
    left = [[*slots[:at], *slots[at + 1 :]], [*kept[:at], *kept[at + 1 :]]]
    return left if left[0] else None


def _split(
    metric: Metric,
    state: Any | None,
    by: str,
    payload: Any,
    occurred_at: datetime,
    order: str,
    zone: ZoneInfo,
    slot: int | None,
    late_seconds: int,
) -> dict[str, Any]:
    splits = {} if state is None else dict(state)
    touched, split = splits.get(by, (0, None))
    split = _added(metric, split, payload, occurred_at, order, zone, slot, late_seconds)
    splits[by] = [max(touched, epoch_seconds(occurred_at)), split]
    if len(splits) > SPLITS_MAX:
        del splits[min(splits, key=lambda key: (splits[key][0], key))]
    return splits


def _merged(metric: Metric, one: Any, other: Any, late_seconds: int) -> Any:
    if slotless(metric):
        return cells.merged(metric.kind, one, other)
    merged = one
    for slot, cell in zip(*other, strict=True):
        at = bisect_left(merged[0], slot)
        if at < len(merged[0]) and merged[0][at] == slot:
            together = cells.merged(metric.kind, merged[1][at], cell)
            merged = [merged[0], [*merged[1][:at], together, *merged[1][at + 1 :]]]
        else:
            merged = place(metric, merged, slot, cell, late_seconds)
    return _within_entries(metric, merged)


def _read_split(metric: Metric, state: Any | None, by: str | None, back: int, *, at: datetime, zone: ZoneInfo) -> Any:
    if state is None or (back and isinstance(metric.over, Lifetime)):
        return cells.nothing(metric.kind)
    if by is None:
        splits = [split for _, split in state.values()]
    else:
        entry = state.get(by[:SPLIT_LENGTH_MAX])
        splits = [] if entry is None else [entry[1]]
    if slotless(metric):
        return cells.read_cells(metric.kind, splits)
    return _read_window(metric, splits, epoch_seconds(at), zone, back)


def _read_window(metric: Metric, states: list[Any], seconds: int, zone: ZoneInfo, back: int) -> Any:
    above, upto = windows.window(metric, seconds, zone, back)
    if metric.kind is MetricKind.SCORE:
        return _read_score(metric, states, above, upto, windows.window_end(metric, seconds, zone, back))
    if len(states) == 1:
        slots, kept = states[0]
        return cells.read_cells(metric.kind, cells_between(slots, kept, above, upto))
    return cells.read_cells(
        metric.kind, [cell for slots, kept in states for cell in cells_between(slots, kept, above, upto)]
    )


def _read_score(metric: Metric, states: list[Any], above: int, upto: int, end_seconds: int) -> float:
    half_life = windows.half_life_seconds(metric)
    starts = windows.slot_starts(metric)
    total = 0.0
    for slots, kept in states:
        for slot, cell in zip(slots, kept, strict=True):
            if above < slot <= upto:
                start_seconds = starts(slot)
                total += cell * 2.0 ** ((start_seconds - end_seconds) / half_life)
    return round(total / cells.SCORE_SCALE, cells.SCORE_DECIMALS)


def _grown(metric: Metric, payload: int, seconds: int, slot: int) -> int:
    """A score's payload as if it had happened when its sub-window began, rounded, so that adding stays exact."""
    age = seconds - windows.slot_start(metric, slot)
    return cells.clamp(round(payload * 2.0 ** (age / windows.half_life_seconds(metric))))


def _within_entries(metric: Metric, state: list[Any]) -> list[Any]:
    if metric.kind is not MetricKind.DISTINCT and metric.kind is not MetricKind.FAVORITE:
        return state
    slots, kept = state
    if sum(map(len, kept)) <= ENTRIES_MAX:
        return state
    if metric.kind is MetricKind.DISTINCT and not isinstance(metric.over, Calendar):
        slots, kept = _latest_sightings(slots, kept)
    total = sum(map(len, kept))
    gone = 0
    while total > ENTRIES_MAX:
        total -= len(kept[gone])
        gone += 1
    return [slots[gone:], kept[gone:]]


def _latest_sightings(slots: list[int], kept: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Each hash only where it was seen last: all that the window that ends now needs."""
    seen: set[int] = set()
    latest: list[tuple[int, list[int]]] = []
    for slot, hashes in zip(reversed(slots), reversed(kept), strict=True):
        fresh = [one for one in hashes if one not in seen]
        seen.update(fresh)
        if fresh:
            latest.append((slot, fresh))
    latest.reverse()
    return [slot for slot, _ in latest], [fresh for _, fresh in latest]


def _parts(stored: list[Any]) -> tuple[Any, str | None, int | None]:
    size = len(stored)
    if size == 1:
        return stored[0], None, None
    return stored[0], stored[1], stored[2] if size > 2 else None
