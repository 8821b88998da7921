"""How often a rule may fire for one member: limits and cooldowns.

Firings count at the time of their event, so a late event counts in its own day, and no window of a rolling limit's
length holds more than its times, wherever it lies and in whatever order the events came. A cooldown is a rolling
limit of once, in both directions.

A rule's state maps each span to what fired: `[moments]` in microseconds for a rolling span, `[periods, counts]` for a
calendar one, a number for a lifetime. It is bounded, so what was let go of a span is remembered by its newest moment (or
period): a firing that shares a window with it is refused, never allowed on trust. Only an event that was held back for
longer than the late window, such as a quarantined one, meets that, and late ones of a rule that fires very often.

When a new version changes the length of a rolling span, what is known of the old one is judged by the new length: all that
was kept of it, and of what was let go the newest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.domain.periods import (
    Calendar,
    Lifetime,
    Rolling,
    add_months,
    epoch_micros,
    epoch_seconds,
    from_epoch_micros,
    from_epoch_seconds,
    period_at,
    rfc3339,
)
from rewards.domain.play.windows import LATE_SECONDS
from rewards.domain.program.compiled import Limit

EXACT_TIMES_MAX: Final = 1_000
"""Up to so many times per rolling span, single moments are kept; above, sixtieths of the span, which refuse a little
early.
"""
SPARE_MOMENTS: Final = 50
MERGED_MOMENTS_MAX: Final = EXACT_TIMES_MAX
PERIODS_KEPT_MIN: Final = 4
PERIODS_KEPT_MAX: Final = 100
"""Of a calendar span as many periods are kept as late events may fall into, within these bounds."""
_SHORTEST_SECONDS: Final = {
    Calendar.DAY: 23 * 3_600,
    Calendar.WEEK: 7 * 86_400 - 3_600,
    Calendar.MONTH: 28 * 86_400 - 3_600,
    Calendar.YEAR: 365 * 86_400 - 3_600,
}
_GRAINS: Final = 60
_GRAINS_KEPT: Final = 3 * _GRAINS
_MONTH_MICROS: Final = 31 * 86_400_000_000
_FORGOTTEN: Final = "forgotten"
"""Beside the spans: of each the newest moment (of a calendar one: period) that was let go, where any was."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a firing is refused: by a limit, or by the cooldown when `limit` is None.

    `until`: from then on the rule may fire again; None for a lifetime limit.
    """

    limit: Limit | None
    until: datetime | None

    def details(self) -> dict[str, Any]:
        """For the trace."""
        details: dict[str, Any] = (
            {} if self.limit is None else {"times": self.limit.times, "per": _name(self.limit.per)}
        )
        if self.until is not None:
            details["until"] = rfc3339(self.until)
        return details


def allowed(
    limits: tuple[Limit, ...], cooldown: timedelta | None, state: Any | None, *, at: datetime, zone: ZoneInfo
) -> Blocked | None:
    """None if a firing at `at` (the event's time) keeps all limits and the cooldown; else what holds it back the
    longest.
    """
    if not state:
        return None
    blocked = list(_blocks(limits, cooldown, state, at, zone))
    if not blocked:
        return None
    forever = next((block for block in blocked if block.until is None), None)
    return forever or max(blocked, key=lambda block: block.until or at)


def record(
    limits: tuple[Limit, ...],
    cooldown: timedelta | None,
    state: Any | None,
    *,
    at: datetime,
    zone: ZoneInfo,
    late_seconds: int = LATE_SECONDS,
) -> dict[str, Any]:
    """The state with a firing at `at`. What belongs to spans that the rule no longer limits is let go, as is what
    shares no window with any event that is at most `late_seconds` late (at least the program's late window).
    """
    before = state or {}
    after: dict[str, Any] = {}
    forgotten: dict[str, int] = {}
    known = before.get(_FORGOTTEN, {})
    for span, times in _spans(limits, cooldown).items():
        key = _name(span)
        fired, newest = before.get(key), known.get(key)
        if fired is None and before:
            fired, newest = _of_another_length(span, before)
        after[key], gone = _recorded(span, times, fired, at, zone=zone, late_seconds=late_seconds)
        newest = max((moment for moment in (gone, newest) if moment is not None), default=None)
        if newest is not None:
            forgotten[key] = newest
    if forgotten:
        after[_FORGOTTEN] = forgotten
    return after


def in_spans(limits: tuple[Limit, ...], cooldown: timedelta | None, state: Any | None) -> Any | None:
    """The state with what is known of each rolling span that the rule limits now, whatever lengths it was kept for."""
    if not state:
        return state
    found = dict(state)
    for span in _spans(limits, cooldown):
        fired, gone = (None, None) if _name(span) in state else _of_another_length(span, state)
        if fired is not None:
            found[_name(span)] = fired
        if gone is not None:
            found[_FORGOTTEN] = {**found.get(_FORGOTTEN, {}), _name(span): gone}
    return found


def merge(one: Any | None, other: Any | None) -> Any | None:
    """The state of two members' firings together, when one member is merged into another; it may hold more than is
    allowed.
    """
    if one is None or other is None:
        return other if one is None else one
    merged = {key: _together(one.get(key), other.get(key)) for key in sorted({*one, *other})}
    for key, fired in list(merged.items()):
        if isinstance(fired, list) and len(fired) > MERGED_MOMENTS_MAX and not isinstance(fired[0], list):
            merged[key] = fired[-MERGED_MOMENTS_MAX:]
            gone = {key: fired[-MERGED_MOMENTS_MAX - 1]}
            merged[_FORGOTTEN] = _together(merged.get(_FORGOTTEN), gone)
    return merged


def _together(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, int):
        return one + other
    if isinstance(one, dict):
        return {key: max(one.get(key, other.get(key)), other.get(key, one.get(key))) for key in sorted({*one, *other})}
    if isinstance(one[0], list) and isinstance(other[0], list):
        counts = dict(zip(*one, strict=True))
        for number, count in zip(*other, strict=True):
            counts[number] = counts.get(number, 0) + count
        numbers = sorted(counts)
        return [numbers, [counts[each] for each in numbers]]
    # Moments and grains of one span meet only if the two fired under different versions: the longer memory stays.
    if isinstance(one[0], list) or isinstance(other[0], list):
        return one if isinstance(one[0], list) else other
    return sorted([*one, *other])


def _blocks(
    limits: tuple[Limit, ...], cooldown: timedelta | None, state: dict[str, Any], at: datetime, zone: ZoneInfo
) -> Iterator[Blocked]:
    forgotten = state.get(_FORGOTTEN, {})
    for limit in limits:
        key = _name(limit.per)
        fired, gone = state.get(key), forgotten.get(key)
        if fired is None:
            fired, gone = _of_another_length(limit.per, state)
        if fired is not None and not _fits(limit, fired, gone, at, zone):
            yield Blocked(limit, _until(limit, fired, at, zone))
    if cooldown is not None:
        once = Limit(1, Rolling(cooldown))
        key = _name(once.per)
        fired, gone = state.get(key), forgotten.get(key)
        if fired is None:
            fired, gone = _of_another_length(once.per, state)
        if fired is not None and not _fits(once, fired, gone, at, zone):
            yield Blocked(None, _until(once, fired, at, zone))


def _spans(limits: tuple[Limit, ...], cooldown: timedelta | None) -> dict[Rolling | Calendar | Lifetime, int]:
    """Each span with the most times that any limit on it allows."""
    spans: dict[Rolling | Calendar | Lifetime, int] = {}
    for limit in limits:
        spans[limit.per] = max(limit.times, spans.get(limit.per, 0))
    if cooldown is not None:
        spans[Rolling(cooldown)] = max(1, spans.get(Rolling(cooldown), 0))
    return spans


def _name(span: Rolling | Calendar | Lifetime) -> str:
    if isinstance(span, Rolling):
        return f"{span.months}mo" if span.months else f"{int(span.length.total_seconds())}s"
    return span.value


def _of_another_length(span: Rolling | Calendar | Lifetime, state: dict[str, Any]) -> tuple[Any | None, int | None]:
    """What fired in a rolling span that nothing is kept of yet, and the newest moment that was let go of it: read from the
    longest span there is, for every firing was kept for all. Of other spans, and where there is none, nothing.
    """
    others = {name: per for name in state if (per := _rolling(name)) is not None}
    if not isinstance(span, Rolling) or not others:
        return None, None
    name = max(others, key=lambda each: _longest(others[each]))
    fired, gone = state[name], state.get(_FORGOTTEN, {}).get(name)
    if isinstance(fired[0], list):
        return _regrained(fired, others[name], span), gone
    if gone is not None and _longest(span) > _longest(others[name]):
        # Of what may be missing this one is known; to refuse all that it shares a window with now would be a limit of its own.
        return [gone, *fired], None
    return fired, gone


def _rolling(name: str) -> Rolling | None:
    """The reverse of `_name`, for rolling spans."""
    if name.endswith("mo") and name[:-2].isdigit():
        return Rolling(timedelta(0), months=int(name[:-2]))
    return Rolling(timedelta(seconds=int(name[:-1]))) if name.endswith("s") and name[:-1].isdigit() else None


def _regrained(fired: list[list[int]], before: Rolling, now: Rolling) -> list[list[int]]:
    """Grains of one span as those of another, each by its end, so nothing is allowed early."""
    counts: dict[int, int] = {}
    for grain, count in zip(*fired, strict=True):
        number = _grain(now, _grain_end(before, grain))
        counts[number] = counts.get(number, 0) + count
    numbers = sorted(counts)[-_GRAINS_KEPT:]
    return [numbers, [counts[each] for each in numbers]]


def _fits(limit: Limit, fired: Any, forgotten: int | None, at: datetime, zone: ZoneInfo) -> bool:
    per = limit.per
    if isinstance(per, Lifetime):
        return bool(fired < limit.times)
    if isinstance(per, Calendar):
        periods, counts = fired
        number = period_at(per, epoch_seconds(at), zone).number
        if forgotten is not None and number <= forgotten:
            return False
        return number not in periods or counts[periods.index(number)] < limit.times
    moment = epoch_micros(at)
    if forgotten is not None and moment < _after(forgotten, per, zone):
        return False
    if isinstance(fired[0], list):
        return _fits_grains(limit.times, per, fired, moment)
    return _fits_moments(limit.times, per, fired, moment, zone)


def _fits_moments(times: int, per: Rolling, fired: list[int], moment: int, zone: ZoneInfo) -> bool:
    """Whether no window would hold more than `times`: no `times + 1` firings in a row lie within one length."""
    if len(fired) < times:
        return True
    at = bisect_right(fired, moment)
    around = [*fired[max(0, at - times) : at], moment, *fired[at : at + times]]
    return all(last >= _after(first, per, zone) for first, last in zip(around, around[times:], strict=False))


def _fits_grains(times: int, per: Rolling, fired: list[list[int]], moment: int) -> bool:
    grains, counts = fired
    grain = _grain(per, moment)
    if len(grains) >= _GRAINS_KEPT and grain < grains[-_GRAINS_KEPT] + _GRAINS:
        return False
    # A window of one length touches 61 grains; their firings together bound those of the window from above.
    for first in range(grain - _GRAINS, grain + 1):
        lower, upper = bisect_left(grains, first), bisect_right(grains, first + _GRAINS)
        if sum(counts[lower:upper]) >= times:
            return False
    return True


def _until(limit: Limit, fired: Any, at: datetime, zone: ZoneInfo) -> datetime | None:
    per = limit.per
    if isinstance(per, Lifetime):
        return None
    if isinstance(per, Calendar):
        return from_epoch_seconds(period_at(per, epoch_seconds(at), zone).end_seconds)
    if isinstance(fired[0], list):
        grains, counts = fired
        left = sum(counts)
        for grain, count in zip(grains, counts, strict=True):
            left -= count
            if left < limit.times:
                return _grain_start(per, max(grain + _GRAINS + 1, grains[-1]))
    moments = fired[-limit.times :]
    return from_epoch_micros(max(_after(moments[0], per, zone), fired[-1]))


def _recorded(
    span: Rolling | Calendar | Lifetime, times: int, fired: Any, at: datetime, *, zone: ZoneInfo, late_seconds: int
) -> tuple[Any, int | None]:
    """What fired in the span with a firing at `at`, and the newest moment that is let go for it."""
    if isinstance(span, Lifetime):
        return (fired or 0) + 1, None
    if isinstance(span, Calendar):
        number = period_at(span, epoch_seconds(at), zone).number
        periods = _counted(fired, number, _periods_kept(span, late_seconds))
        oldest = periods[0][0]
        passed = [each for each in (*(fired[0] if fired else ()), number) if each < oldest]
        return periods, max(passed, default=None)
    moment = epoch_micros(at)
    if times > EXACT_TIMES_MAX:
        if fired is not None and not isinstance(fired[0], list):
            return _coarse([*fired, moment], span), None
        return _counted(fired, _grain(span, moment), _GRAINS_KEPT), None
    moments = [] if fired is None else [*_fine(fired, span)]
    insort(moments, moment)
    oldest = moments[-1] - late_seconds * 1_000_000 - _longest(span)
    gone = max(bisect_left(moments, oldest), len(moments) - _moments_max(times))
    return (moments[gone:], moments[gone - 1]) if gone > 0 else (moments, None)


def _counted(fired: list[list[int]] | None, number: int, kept: int) -> list[list[int]]:
    if fired is not None and fired[0] and fired[0][-1] == number:  # nearly always
        numbers, found = fired
        return [numbers, [*found[:-1], found[-1] + 1]]
    counts = {} if fired is None else dict(zip(*fired, strict=True))
    counts[number] = counts.get(number, 0) + 1
    numbers = sorted(counts)[-kept:]
    return [numbers, [counts[each] for each in numbers]]


def _periods_kept(span: Calendar, late_seconds: int) -> int:
    return min(max(PERIODS_KEPT_MIN, late_seconds // _SHORTEST_SECONDS[span] + 2), PERIODS_KEPT_MAX)


def _moments_max(times: int) -> int:
    return times + SPARE_MOMENTS


def _coarse(moments: list[int], per: Rolling) -> list[list[int]]:
    """Moments as grains, when a new version of the program raises a limit past `EXACT_TIMES_MAX`."""
    fired: list[list[int]] | None = None
    for moment in moments:
        fired = _counted(fired, _grain(per, moment), _GRAINS_KEPT)
    return fired or [[], []]


def _fine(fired: Any, per: Rolling) -> Iterator[int]:
    """Grains as moments (each at its grain's end, so nothing is allowed early), when a limit falls to
    `EXACT_TIMES_MAX` or below.
    """
    if fired and isinstance(fired[0], list):
        for grain, count in zip(*fired, strict=True):
            yield from [_grain_end(per, grain)] * min(count, EXACT_TIMES_MAX)
    else:
        yield from fired


def _after(moment: int, per: Rolling, zone: ZoneInfo) -> int:
    """The first microsecond that shares no window with `moment`."""
    if per.months:
        return epoch_micros(add_months(from_epoch_micros(moment), per.months, zone))
    return moment + _micros(per)


def _micros(per: Rolling) -> int:
    return per.length // timedelta(microseconds=1)


def _grain_micros(per: Rolling) -> int:
    return max(1, _longest(per) // _GRAINS + 1)


def _longest(per: Rolling) -> int:
    # 31 days bound every month from above.
    return per.months * _MONTH_MICROS or _micros(per)


def _grain(per: Rolling, moment: int) -> int:
    return moment // _grain_micros(per)


def _grain_start(per: Rolling, grain: int) -> datetime:
    return from_epoch_micros(grain * _grain_micros(per))


def _grain_end(per: Rolling, grain: int) -> int:
    return (grain + 1) * _grain_micros(per) - 1
