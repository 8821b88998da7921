"""Events as they were recorded: asked for when one of them counts no longer, and when a metric is counted anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

TIME_PASSED: Final = "time.passed"
"""The type under which it is recorded what came about without an event: by time, a job, or a command that is none. It is
nobody's, so it is never taken back."""
HISTORY_EVENTS_MAX: Final = 20_000
"""How many events one metric of one member is counted anew from: the newest ones."""


@dataclass(frozen=True, slots=True)
class Earned:
    """Points that followed from an event: by what of the program, and how much of them was taken back."""

    transaction: UUID
    source: str
    amount: int
    reversed: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event that was decided. `member` is who sent it, before any merge.

    `contributions` are `[metric id or "mechanic:key", *contribution]`. `earned` holds every earning that names the event.
    """

    id: UUID
    member: UUID
    type: str
    occurred_at: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    contributions: tuple[list[Any], ...] = ()
    taken_back: bool = False
    earned: tuple[Earned, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: those of `members` (one, and whom it has absorbed) that still count and occurred at `since` or later.

    Of these all that contributed to one of `metrics` (ids), and all of `types`, with what was sent. Without `since`: all
    that are kept. Also those that never counted or do no longer beside which time counted in one of `metrics`, as `taken_back`.
    """

    members: tuple[UUID, ...]
    metrics: frozenset[str]
    types: frozenset[str]
    since: datetime | None


@dataclass(frozen=True, slots=True)
class WantedEarnings:
    """Which earnings: of a currency, by these members, effective at `since` or later (None: all)."""

    members: tuple[UUID, ...]
    currency: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class PastEarning:
    """Points that were earned at `at`, and what of them was taken back since."""

    transaction: UUID
    at: datetime
    amount: int
    reversed: int


@dataclass(frozen=True, slots=True)
class History:
    """The events that were wanted, in no order. Not `complete`: there were more than `HISTORY_EVENTS_MAX`."""

    events: tuple[Recorded, ...]
    complete: bool = True
