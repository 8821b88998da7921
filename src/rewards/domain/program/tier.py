"""Tiers ready to decide: one ladder per program, from the lowest level up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from rewards.domain.periods import Span

if TYPE_CHECKING:
    from rewards.domain.program.compiled import Action, Metric

QUALIFICATION = "tiers.qualification"
"""The key of the metric that says how far a member is; no declared one can have it."""


class Downgrade(StrEnum):
    """What becomes of a member whose tier is not earned again."""

    ONE_LEVEL = "one_level"
    TO_QUALIFIED = "to_qualified"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Level:
    """One tier. `rank` counts from 1; `threshold` is `at` in the units in which the qualification is kept."""

    key: str
    rank: int
    at: Decimal
    threshold: int
    earn_rate: Decimal
    name: Mapping[str, str]
    description: Mapping[str, str]
    image: Mapping[str, str]
    benefits: Mapping[str, Mapping[str, str]]
    rewards: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """All tiers, and how a member comes by them.

    `metric` is the qualification, kept under an id of its own and over `per`; `currency` what must be earned, None where a
    declared metric (`source`) is counted. A rank is the number of levels reached: 0 before any. `terms` is the hash of all that
    what is remembered of a member depends on. What rules earn in currencies of `multiplies` goes by the tier's rate.
    """

    metric: Metric
    source: str
    currency: str | None
    per: Span
    per_written: str
    grace: timedelta
    downgrade: Downgrade
    levels: tuple[Level, ...]
    multiplies: frozenset[str]
    terms: str
    lowest: int = field(init=False)
    """Everybody's rank."""
    thresholds: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(level.threshold for level in self.levels))
        object.__setattr__(self, "lowest", self.rank_of(0))

    def rank_of(self, reading: int) -> int:
        """The rank that a qualification reaches; one below nothing counts as nothing."""
        return bisect_right(self.thresholds, max(reading, 0))

    def level(self, rank: int) -> Level | None:
        """The tier of a rank; None before any."""
        return self.levels[rank - 1] if rank else None

    def key(self, rank: int) -> str:
        """The tier's key; empty before any."""
        return self.levels[rank - 1].key if rank else ""
