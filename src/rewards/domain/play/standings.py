"""How one member stands on one board in one period: a small value that contributions are put into and taken out of.

| tally    | state                                                             |
|----------|-------------------------------------------------------------------|
| sum      | [millionths, contributions, [[micros, millionths], …]]            |
| distinct | [hashes, of each [how often, the micros of its first sightings …]] |
| best     | [[number, micros], …], the best first                             |
| last     | [[micros, order, number], …], the newest first                    |

What is put in may come in any order. The lists are kept short: so many contributions can be taken back one after the other
(the newest, the best, of a value the first) until nobody knows what came before or after them, and then a sum or a value keeps
the moment that was known last, and a best or last score is none.

A score was reached when the event occurred that made it another one: a sum by what was not zero, a count by the first
sighting of the value that came last, a best score by the first that was as good, a last score by the first of the run of equal
ones that has lasted since.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import takewhile
from typing import Any, Final, NamedTuple

from rewards.domain.play import cells
from rewards.domain.program.board import Tally
from rewards.domain.program.compiled import MetricKind

NEWEST_MAX: Final = 4
BEST_MAX: Final = 8
DETAILED_MAX: Final = 100
"""Different values of which up to `NEWEST_MAX` sightings are remembered; where there are more, only the first of each."""
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
        return [cells.clamp(total + payload), count + 1, _with_move(newest, [micros, payload])]
    if tally is Tally.DISTINCT:
        return _sighted(state, payload, micros)
    if tally is Tally.BEST:
        return _best([*(state or ()), [payload, micros]], ascending=ascending)
    return _runs([*(state or ()), [micros, order, payload]])


def take(tally: Tally, state: Any, payload: Any, micros: int, order: str) -> Any:
    """The state without a contribution that was put in before; None when nothing is left."""
    if state is None:
        return None
    if tally is Tally.SUM:
        total, count, newest = state
        if count <= 1:
            return None
        total = cells.clamp(total - payload)
        left = _less(newest, [micros, payload])
        if not left or (total and not left[0][1]):
            left = newest  # something older has moved it that nobody remembers
        return [total, count - 1, left]
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
        return [total, count, _with_move(newest, [micros, amount])]
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
        return [cells.clamp(one[0] + other[0]), one[1] + other[1], _moves([*one[2], *other[2]])]
    if tally is Tally.DISTINCT:
        return _both_sighted(one, other)
    if tally is Tally.BEST:
        return _best([*one, *other], ascending=ascending)
    return _runs([*one, *other])


def standing(tally: Tally, state: Any) -> Standing:
    """What the state comes to."""
    if tally is Tally.SUM:
        return Standing(float(cells.unscaled(state[0])), state[2][0][0])
    if tally is Tally.DISTINCT:
        hashes, sightings = _sightings(state)
        return Standing(float(len(hashes)), max(first for _, first, *_ in sightings))
    if tally is Tally.BEST:
        number, micros = state[0]
        return Standing(float(number), micros)
    number = state[0][2]
    *_, since = takewhile(lambda each: each[2] == number, state)
    return Standing(float(number), since[0])


def _with_move(moves: list[Any], entry: Any) -> list[Any]:
    """As `_moves`, with one more, which mostly is the newest of all."""
    if entry[1] and (not moves or (moves[-1][1] and entry >= moves[0])):
        return [entry, *moves[: NEWEST_MAX - 1]]
    return _moves([*moves, entry])


def _moves(entries: list[Any]) -> list[Any]:
    """The newest that moved the sum; after them the oldest zeros, since the first of these made it a score where nothing did."""
    moving = sorted((each for each in entries if each[1]), reverse=True)
    zeros = sorted(each for each in entries if not each[1])
    return [*moving[:NEWEST_MAX], *zeros[:NEWEST_MAX]]


def _best(entries: list[Any], *, ascending: bool) -> list[Any]:
    sign = 1 if ascending else -1
    return sorted(entries, key=lambda each: (sign * each[0], each[1]))[:BEST_MAX]


def _runs(entries: list[Any]) -> list[Any]:
    """The newest ones; of what is older, where the run of equal values began that leads up to them, and what was before it.

    By the latter a late event is known to be of the run, or not.
    """
    entries = sorted(entries, reverse=True)
    if len(entries) <= NEWEST_MAX:
        return entries
    newest, older = entries[:NEWEST_MAX], entries[NEWEST_MAX:]
    equal = list(takewhile(lambda each: each[2] == newest[-1][2], older))
    return [*newest, *equal[-1:], *older[len(equal) :][:1]]


def _less(entries: list[Any], gone: Any) -> list[Any]:
    left = list(entries)
    if gone in left:
        left.remove(gone)
    return left


def _sightings(state: Any) -> tuple[list[int], list[list[int]]]:
    """The values, and of each how often and when it was seen."""
    if len(state) == 3:  # kept before each value had moments of its own: all that is known is the newest of any
        hashes, counts, newest = state
        return hashes, [[count, newest[0]] for count in counts]
    hashes, sightings = state
    return hashes, sightings


def _sighted(state: Any, payload: int, micros: int) -> Any:
    hashes, sightings = _sightings(state or ([], []))
    at = bisect_left(hashes, payload)
    if at < len(hashes) and hashes[at] == payload:
        count, *first = sightings[at]
        seen = [count + 1, *sorted([*first, micros])[: _remembered(hashes)]]
        return [hashes, [*sightings[:at], seen, *sightings[at + 1 :]]]
    if len(hashes) >= cells.DISTINCT_MAX:
        return state
    return _short([*hashes[:at], payload, *hashes[at:]], [*sightings[:at], [1, micros], *sightings[at:]])


def _unsighted(state: Any, payload: int, micros: int) -> Any:
    hashes, sightings = _sightings(state)
    at = bisect_left(hashes, payload)
    if at == len(hashes) or hashes[at] != payload:
        return state
    count, *first = sightings[at]
    if count > 1:
        seen = [count - 1, *(_less(first, micros) or first)]
        return [hashes, [*sightings[:at], seen, *sightings[at + 1 :]]]
    hashes, sightings = [*hashes[:at], *hashes[at + 1 :]], [*sightings[:at], *sightings[at + 1 :]]
    return [hashes, sightings] if hashes else None


def _both_sighted(one: Any, other: Any) -> Any:
    seen = dict(zip(*_sightings(one), strict=True))
    for each, (count, *first) in zip(*_sightings(other), strict=True):
        mine, *known = seen.get(each, [0])
        seen[each] = [mine + count, *sorted([*known, *first])[:NEWEST_MAX]]
    hashes = sorted(seen)[: cells.DISTINCT_MAX]
    return _short(hashes, [seen[each] for each in hashes])


def _short(hashes: list[int], sightings: list[list[int]]) -> Any:
    remembered = _remembered(hashes)
    if remembered == NEWEST_MAX:
        return [hashes, sightings]
    return [hashes, [each[: 1 + remembered] for each in sightings]]


def _remembered(hashes: list[int]) -> int:
    """Of how many sightings of each value the moments are kept."""
    return NEWEST_MAX if len(hashes) <= DETAILED_MAX else 1
