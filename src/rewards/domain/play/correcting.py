"""Metrics of those kinds that cannot take a contribution out: corrected by what the recorded events make of them.

Only what the contributions that are gone had touched is replaced. What older events have left behind, which are recorded no
more, stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from rewards.domain.periods import epoch_micros, epoch_seconds
from rewards.domain.play.metrics import Stored
from rewards.domain.play.windows import slot_of, slotless
from rewards.domain.program.compiled import Metric, MetricKind


class _Gone(NamedTuple):
    """A contribution that counts no longer. `slot` None: the metric has but one cell."""

    payload: Any
    by: str | None
    slot: int | None
    micros: int
    order: str


def corrected(metric: Metric, state: Any | None, rest: Any | None, gone: Sequence[Stored], *, zone: ZoneInfo) -> Any:
    """The state without `gone`, for max, last and distinct; None when nothing is left.

    `rest` is the state that the events make which are still recorded, those that are gone left out.
    """
    if state is None:
        return None
    lost = [_gone(metric, each, zone) for each in gone]
    if metric.by is None:
        return _without(metric.kind, state, rest, lost)
    splits = dict(state)
    for by in {each.by for each in lost}:
        if by is None or by not in splits:
            continue
        touched, split = splits.pop(by)
        other = None if rest is None or by not in rest else rest[by][1]
        left = _without(metric.kind, split, other, [each for each in lost if each.by == by])
        if left is not None:
            splits[by] = [touched, left]
    return splits or None


def _gone(metric: Metric, stored: Stored, zone: ZoneInfo) -> _Gone:
    payload, *more = stored.contribution
    by = more[0] if more else None
    slot = more[1] if len(more) > 1 else None
    if slot is None and not slotless(metric):
        slot = slot_of(metric, epoch_seconds(stored.occurred_at), zone)
    return _Gone(payload, by, slot, epoch_micros(stored.occurred_at), stored.order)


def _without(kind: MetricKind, state: Any, rest: Any | None, lost: Sequence[_Gone]) -> Any | None:
    if lost[0].slot is None:
        return _cell(kind, state, rest, lost)
    others = {} if rest is None else dict(zip(*rest, strict=True))
    kept: list[tuple[int, Any]] = []
    for slot, cell in zip(*state, strict=True):
        mine = [each for each in lost if each.slot == slot]
        left = _cell(kind, cell, others.get(slot), mine) if mine else cell
        if left is not None:
            kept.append((slot, left))
    return [[slot for slot, _ in kept], [cell for _, cell in kept]] if kept else None


def _cell(kind: MetricKind, cell: Any, rest: Any | None, lost: Sequence[_Gone]) -> Any | None:
    if kind is MetricKind.MAX:
        return cell if all(each.payload < cell for each in lost) else rest
    if kind is MetricKind.LAST:
        return rest if any((each.micros, each.order) == (cell[0], cell[1]) for each in lost) else cell
    return sorted({*cell} - {each.payload for each in lost} | {*(rest or ())}) or None
