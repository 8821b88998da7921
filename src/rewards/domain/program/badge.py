"""Badges, ready to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rewards.domain.program.compiled import Action, Cause, Metric

KIND = "badge"
"""How ledger entries, effects and achievements name badges."""
AWARDED = "badge.awarded"
REVOKED = "badge.revoked"


@dataclass(frozen=True, slots=True)
class Level:
    """`number` counts from 1. `at` is what the badge's metric must have read; None where an action gives the badge.

    `name` and `image` are those of the level itself, empty where the badge's own serve.
    """

    number: int
    at: int | float | None
    name: Mapping[str, str]
    image: Mapping[str, str]
    rewards: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Badge:
    """What a member can earn once per level. Without `metric` an action gives it."""

    key: str
    name: Mapping[str, str]
    description: Mapping[str, str]
    image: Mapping[str, str]
    metric: Metric | None
    levels: tuple[Level, ...]
    secret: bool
    revocable: bool
    announce: bool
    cause: Cause = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cause", Cause(KIND, self.key))

    def threshold(self, level: int) -> int | float | None:
        """What the metric must have read for a level; None for one that has none, or that the badge has no more."""
        return self.levels[level - 1].at if level <= len(self.levels) else None

    def reference(self, level: int) -> str:
        """What the ledger entries of a level's rewards carry."""
        return f"{self.cause.source}:{level}"


@dataclass(frozen=True, slots=True)
class Badges:
    """All badges of a program, and by event type those whose metric it counts for."""

    by_key: Mapping[str, Badge] = field(default_factory=dict)
    by_event: Mapping[str, tuple[Badge, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadgeAction:
    """Gives a badge up to a level; the levels below are given with it."""

    key: str
    level: int
    bind: str | None = None
