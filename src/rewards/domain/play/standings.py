"""How one member stands on one board in one period: a small value that contributions are put into and taken out of.

| tally    | state                                          |
|----------|------------------------------------------------|
| sum      | [millionths, contributions, [[micros, millionths], …]] |
| distinct | [hashes, how often each, [micros, …]]          |
| best     | [[number, micros], …], the best first          |
| last     | [[micros, order, number], …], the newest first |

What is put in may come in any order. The lists of the newest or best are kept short: so many contributions can be taken
back one after the other (the newest, or the best) until nobody knows what came before them, and then a sum keeps the
moment of the last that is known, and a best or last score is none.

A score was reached when the event occurred that made it so: of a sum or a count of different values the newest, of a best
score the first that was as good.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final, NamedTuple

from rewards.domain.play import cells
from rewards.domain.program.board import Tally
from rewards.domain.program.compiled import MetricKind

NEWEST_MAX: Final = 4
BEST_MAX: Final = 8
_PAYLOADS: Final = {
    Tally.SUM: MetricKind.SUM,
    Tally.DISTINCT: MetricKind.DISTINCT,
    Tally.BEST: MetricKind.MAX,
    Tally.LAST: MetricKind.MAX,
}


class Standing(NamedTuple):
    """A score, and the microsecond since 1970 at which it was reached."""

    score: float
    achieved_micros: int


def payload_of(tally: Tally, value: Any) -> Any:
    """The value as it is stored and put in; None if it is not of a sort that can score."""
    return cells.payload_of(_PAYLOADS[tally], value)


def put(tally: Tally, state: Any, payload: Any, micros: int, order: str, *, ascending: bool) -> Any:
    """The state (None if there is none yet) with one contribution more."""
    if tally is Tally.SUM:
        total, count, newest = state or (0, 0, [])
        return [cells.clamp(total + payload), count + 1, _with(newest, [micros, payload])]
    if tally is Tally.DISTINCT:
        return _sighted(state, payload, micros)
    if tally is Tally.BEST:
        return _best([*(state or ()), [payload, micros]], ascending=ascending)
    return _with(state or [], [micros, order, payload])


def take(tally: Tally, state: Any, payload: Any, micros: int, order: str) -> Any:
    """The state without a contribution that was put in before; None when nothing is left."""
    if state is None:
        return None
    if tally is Tally.SUM:
        total, count, newest = state
        if count <= 1:
            return None
        return [cells.clamp(total - payload), count - 1, _without(newest, [micros, payload])]
    if tally is Tally.DISTINCT:
        return _unsighted(state, payload, micros)
    gone = [payload, micros] if tally is Tally.BEST else [micros, order, payload]
    return _less(state, gone) or None


def earned(state: Any, amount: int, micros: int) -> Any:
    """The sum of what was earned, with `amount` (millionths) more or, taken back of what was earned then, less."""
    total, count, newest = state or (0, 0, [])
    total = cells.clamp(total + amount)
    if total == 0:
        return None
    if amount > 0:
        return [total, count, _with(newest, [micros, amount])]
    kept, left = [], -amount
    for moment, part in newest:
        rest = part
        if moment == micros and part > 0:
            rest = max(0, part - left)
            left -= part - rest
        if rest:
            kept.append([moment, rest])
    return [total, count, kept or newest[:1]]


def merged(tally: Tally, one: Any, other: Any, *, ascending: bool) -> Any:
    """The state of two members' contributions together."""
    if one is None or other is None:
        return other if one is None else one
    if tally is Tally.SUM:
        return [cells.clamp(one[0] + other[0]), one[1] + other[1], _newest([*one[2], *other[2]])]
    if tally is Tally.DISTINCT:
        counts = dict(zip(one[0], one[1], strict=True))
        for each, count in zip(other[0], other[1], strict=True):
            counts[each] = counts.get(each, 0) + count
        hashes = sorted(counts)[: cells.DISTINCT_MAX]
        return [hashes, [counts[each] for each in hashes], _newest([*one[2], *other[2]])]
    if tally is Tally.BEST:
        return _best([*one, *other], ascending=ascending)
    return _newest([*one, *other])


def standing(tally: Tally, state: Any) -> Standing:
    """What the state comes to."""
    if tally is Tally.SUM:
        return Standing(float(cells.unscaled(state[0])), state[2][0][0])
    if tally is Tally.DISTINCT:
        return Standing(float(len(state[0])), state[2][0])
    if tally is Tally.BEST:
        number, micros = state[0]
        return Standing(float(number), micros)
    micros, _, number = state[0]
    return Standing(float(number), micros)


def _with(newest: list[Any], entry: Any) -> list[Any]:
    """The newest ones with one more, which mostly is the newest of all."""
    if not newest or entry >= newest[0]:
        return [entry, *newest[: NEWEST_MAX - 1]]
    return _newest([*newest, entry])


def _newest(entries: list[Any]) -> list[Any]:
    return sorted(entries, reverse=True)[:NEWEST_MAX]


def _best(entries: list[Any], *, ascending: bool) -> list[Any]:
    sign = 1 if ascending else -1
    return sorted(entries, key=lambda each: (sign * each[0], each[1]))[:BEST_MAX]


def _less(entries: list[Any], gone: Any) -> list[Any]:
    left = list(entries)
    if gone in left:
        left.remove(gone)
    return left


def _without(newest: list[Any], gone: Any) -> list[Any]:
    """The newest ones without one; the last that is known stays, since something older is left that nobody remembers."""
    return _less(newest, gone) or newest


def _sighted(state: Any, payload: int, micros: int) -> Any:
    hashes, counts, newest = state or ([], [], [])
    at = bisect_left(hashes, payload)
    newest = _with(newest, micros)
    if at < len(hashes) and hashes[at] == payload:
        return [hashes, [*counts[:at], counts[at] + 1, *counts[at + 1 :]], newest]
    if len(hashes) >= cells.DISTINCT_MAX:
        return [hashes, counts, newest]
    return [[*hashes[:at], payload, *hashes[at:]], [*counts[:at], 1, *counts[at:]], newest]


def _unsighted(state: Any, payload: int, micros: int) -> Any:
    hashes, counts, newest = state
    at = bisect_left(hashes, payload)
    if at == len(hashes) or hashes[at] != payload:
        return state
    if counts[at] > 1:
        counts = [*counts[:at], counts[at] - 1, *counts[at + 1 :]]
    else:
        hashes, counts = [*hashes[:at], *hashes[at + 1 :]], [*counts[:at], *counts[at + 1 :]]
    return [hashes, counts, _without(newest, micros)] if hashes else None
