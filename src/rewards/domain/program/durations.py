"""Lengths and spans of time as authors write them: `90s 10m 72h 7d 12mo`, `day`, `lifetime`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from rewards.domain.periods import Calendar, Lifetime, Rolling, Span

LENGTH_MAX: Final = timedelta(days=3660)
MONTHS_MAX: Final = 120
_FORM: Final = re.compile(r"([1-9][0-9]{0,8})(s|m|h|d|mo)")
_NAMED: Final[dict[str, Span]] = {span.value: span for span in (*Calendar, *Lifetime)}
EXPECTED: Final = "a duration such as 90s, 10m, 72h, 7d or 12mo"


def parse_length(text: str) -> Rolling:
    """A positive length up to ten years; `months` is set for calendar months. Raises `ValueError`."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not {EXPECTED}")
    number, unit = int(match[1]), match[2]
    if unit == "mo":
        if number > MONTHS_MAX:
            raise ValueError(f"{text!r} is longer than {MONTHS_MAX} months")
        return Rolling(timedelta(0), months=number)
    seconds = number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    if seconds > LENGTH_MAX.total_seconds():
        raise ValueError(f"{text!r} is longer than ten years")
    return Rolling(timedelta(seconds=seconds))


def parse_duration(text: str) -> timedelta:
    """A positive length without calendar months. Raises `ValueError`."""
    length = parse_length(text)
    if length.months:
        raise ValueError(f"{text!r}: months vary in length, write days instead (30d)")
    return length.length


_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def in_words(seconds: float) -> str:
    """A length in whole seconds as authors write it: `36h`, `7d`."""
    return next(f"{int(seconds // size)}{unit}" for unit, size in _UNITS if seconds % size == 0)


def parse_span(text: str) -> Span:
    """`day week month year`: calendar periods; a duration: a rolling window; `lifetime`. Raises `ValueError`."""
    if text in _NAMED:
        return _NAMED[text]
    try:
        return parse_length(text)
    except ValueError as error:
        raise ValueError(f"{error}, nor day, week, month, year or lifetime") from None
