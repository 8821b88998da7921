"""What a metric keeps per sub-window, by kind: a cell. Adding to a cell commutes, so events may arrive in any order.

| kind     | payload (as stored with the event) | cell                                       |
|----------|------------------------------------|--------------------------------------------|
| count    | 1                                  | number of events                           |
| sum      | millionths                         | millionths, saturating at 9.2 × 10^12      |
| max      | number                             | the largest number                         |
| last     | scalar                             | [microseconds, order, scalar] of the newest |
| distinct | 48-bit hash                        | sorted hashes, at most 1,000               |
| favorite | key text                           | {key text: count}, at most 100 keys        |
| score    | hundred-millionths                 | the same, grown from the event to the sub-window's start |

Cells and payloads are plain values; none is ever changed in place.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from decimal import Decimal
from hashlib import blake2b
from math import isfinite
from typing import Any, Final

from rewards.domain.program.compiled import SUM_SCALE, MetricKind

DISTINCT_MAX: Final = 1_000
FAVORITES_MAX: Final = 100
TEXT_LENGTH_MAX: Final = 256
INTEGER_MAX: Final = 2**63 - 1
SCORE_SCALE: Final = 100_000_000
SCORE_DECIMALS: Final = 6

INVERTIBLE: Final = frozenset({MetricKind.COUNT, MetricKind.SUM, MetricKind.FAVORITE, MetricKind.SCORE})
"""Kinds from whose cells one contribution can be taken out again; the others are recomputed from the stored
contributions.
"""
_NONE_WHEN_EMPTY: Final = frozenset({MetricKind.MAX, MetricKind.LAST, MetricKind.FAVORITE})


def payload_of(kind: MetricKind, value: Any) -> Any:
    """The value in the form in which it is stored and added, or None if the kind cannot take it (no number to sum,
    say).
    """
    if kind is MetricKind.COUNT:
        return 1
    if kind is MetricKind.SUM:
        return _scaled(value, SUM_SCALE)
    if kind is MetricKind.SCORE:
        return _scaled(value, SCORE_SCALE)
    if kind is MetricKind.MAX:
        return _number(value)
    if kind is MetricKind.LAST:
        return _scalar(value)
    text = _text(value)
    if text is None or kind is MetricKind.FAVORITE:
        return text
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest())


def put(kind: MetricKind, cell: Any, payload: Any, micros: int, order: str) -> Any:
    """A cell (None if there is none yet) with one more payload."""
    if kind is MetricKind.COUNT or kind is MetricKind.SUM or kind is MetricKind.SCORE:
        return payload if cell is None else clamp(cell + payload)
    if kind is MetricKind.MAX:
        return payload if cell is None or payload > cell else cell
    if kind is MetricKind.LAST:
        return [micros, order, payload] if cell is None or (cell[0], cell[1]) <= (micros, order) else cell
    if kind is MetricKind.DISTINCT:
        return [payload] if cell is None else _with_hash(cell, payload)
    if cell is None:
        return {payload: 1}
    return _most_frequent({**cell, payload: cell.get(payload, 0) + 1})


def take(kind: MetricKind, cell: Any, payload: Any) -> Any:
    """A cell of an invertible kind without one payload that is in it; None when nothing is left."""
    if kind is MetricKind.FAVORITE:
        left = {key: count - (key == payload) for key, count in cell.items()}
        return {key: count for key, count in left.items() if count > 0} or None
    rest = cell - payload
    if kind is MetricKind.COUNT:
        return rest if rest > 0 else None
    return clamp(rest) or None


def merged(kind: MetricKind, one: Any, other: Any) -> Any:
    """The cell of two members' events together."""
    if kind is MetricKind.MAX:
        return max(one, other)
    if kind is MetricKind.LAST:
        return max(one, other, key=lambda cell: (cell[0], cell[1]))
    if kind is MetricKind.DISTINCT:
        return sorted({*one, *other})[:DISTINCT_MAX]
    if kind is MetricKind.FAVORITE:
        return _most_frequent(_together([one, other]))
    return clamp(one + other)


def nothing(kind: MetricKind) -> Any:
    """What an empty window reads."""
    if kind is MetricKind.SCORE:
        return 0.0
    return None if kind in _NONE_WHEN_EMPTY else 0


def read_cells(kind: MetricKind, cells: list[Any]) -> Any:
    """What the kind says of all cells of a window together: `nothing` when there are none. Scores are read by the
    metric.
    """
    if kind is MetricKind.COUNT:
        return sum(cells)
    if kind is MetricKind.SUM:
        return unscaled(sum(cells))
    if kind is MetricKind.DISTINCT:
        return min(len(set().union(*cells)), DISTINCT_MAX)
    if not cells:
        return nothing(kind)
    if kind is MetricKind.MAX:
        return max(cells)
    if kind is MetricKind.LAST:
        return max(cells, key=lambda cell: (cell[0], cell[1]))[2]
    counts = cells[0] if len(cells) == 1 else _together(cells)
    most = max(counts.values())
    return _from_text(min(key for key, count in counts.items() if count == most))


def weight(cell: Any) -> int:
    """Entries of a cell, for bounds."""
    return len(cell) if isinstance(cell, list | dict) else 1


def halved(kind: MetricKind, cell: Any) -> Any:
    """A cell with half of its entries, the ones that matter least gone first (hashes: the larger half)."""
    if kind is MetricKind.DISTINCT:
        return cell[: max(1, len(cell) // 2)]
    if kind is MetricKind.FAVORITE:
        return _most_frequent(cell, keys_max=max(1, len(cell) // 2))
    return cell


def unscaled(millionths: int) -> int | float:
    """A sum as conditions see it: whole if it is whole."""
    whole, rest = divmod(millionths, SUM_SCALE)
    return whole if rest == 0 else millionths / SUM_SCALE


def clamp(number: int) -> int:
    if -INTEGER_MAX <= number <= INTEGER_MAX:
        return number
    return INTEGER_MAX if number > 0 else -INTEGER_MAX


def _with_hash(hashes: list[int], payload: int) -> list[int]:
    at = bisect_left(hashes, payload)
    if at < len(hashes) and hashes[at] == payload:
        return hashes
    if len(hashes) >= DISTINCT_MAX:
        return hashes
    return [*hashes[:at], payload, *hashes[at:]]


def _together(cells: list[dict[str, int]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in cells:
        for key, count in cell.items():
            counts[key] = counts.get(key, 0) + count
    return counts


def _most_frequent(counts: dict[str, int], *, keys_max: int = FAVORITES_MAX) -> dict[str, int]:
    if len(counts) <= keys_max:
        return counts
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:keys_max])


def _number(value: Any) -> int | float | None:
    """Numbers as they are; what 64 bits cannot hold becomes a float. Booleans, texts, infinities and NaN are not
    numbers.
    """
    if type(value) is int:
        return value if -INTEGER_MAX <= value <= INTEGER_MAX else float(clamp(value))
    if isinstance(value, float | Decimal) and isfinite(value):
        whole = int(value)
        return whole if whole == value and -INTEGER_MAX <= whole <= INTEGER_MAX else float(value)
    return None


def _scaled(value: Any, scale: int) -> int | None:
    if type(value) is int:
        return clamp(value * scale)
    if isinstance(value, float | Decimal) and isfinite(value):
        # Through the shortest decimal text: 0.1 means one tenth, not the binary fraction beside it.
        exact = value if isinstance(value, Decimal) else Decimal(repr(value))
        return clamp(round(exact * scale))
    return None


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return value[:TEXT_LENGTH_MAX]
    return value if isinstance(value, bool) else _number(value)


def _text(value: Any) -> str | None:
    """One text per value, by which values are told apart: `=` and a string, or the JSON of a number or truth value."""
    plain = _scalar(value)
    if plain is None:
        return None
    return "=" + plain if isinstance(plain, str) else json.dumps(plain)


def _from_text(text: str) -> Any:
    return text[1:] if text.startswith("=") else json.loads(text)
