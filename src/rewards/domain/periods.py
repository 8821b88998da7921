"""Spans of time: rolling durations, calendar periods in a zone, and a lifetime."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias


class Calendar(StrEnum):
    """A calendar period in a zone. Weeks begin on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Rolling:
    """The last `length` before a moment; `months` instead where the author wrote `12mo`."""

    length: timedelta
    months: int = 0


class Lifetime(StrEnum):
    """No bound at all."""

    LIFETIME = "lifetime"


Span: TypeAlias = Calendar | Rolling | Lifetime
