"""Badges: what members earn once, by levels of a metric or by an action."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, model_validator

from rewards.domain.program.models.actions import AMOUNT_MAX, BADGE_LEVELS_MAX
from rewards.domain.program.models.base import Key, Localised, Part
from rewards.domain.program.models.rules import Actions

Threshold = Annotated[int | float, Field(gt=0, le=AMOUNT_MAX, allow_inf_nan=False)]


class BadgeLevel(Part):
    """`at`: what the metric must have read. `rewards` of a level replace those of the badge."""

    at: Threshold | None = None
    name: Localised | None = None
    image: Localised | None = None
    rewards: Actions | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"at": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Badge(Part):
    """With `metric` each level is reached at a threshold of it; without, the action `badge` gives the badge.

    `secret`: not shown before it is earned. `revocable`: taken away when what earned it is taken back. `announce`: whether
    it is news to the member.
    """

    name: Localised | None = None
    description: Localised | None = None
    image: Localised | None = None
    metric: Key | None = None
    levels: Annotated[list[BadgeLevel], Field(min_length=1, max_length=BADGE_LEVELS_MAX)] | None = None
    secret: bool = False
    revocable: bool = False
    announce: bool = True
    rewards: Actions = Field(default_factory=list)

    @model_validator(mode="after")
    def _levels_fit(self) -> Badge:
        thresholds = [level.at for level in self.levels or ()]
        if self.metric is None:
            if any(threshold is not None for threshold in thresholds):
                raise ValueError("a threshold needs a metric; levels that an action gives have names: {name: Gold}")
            if self.revocable:
                raise ValueError("revocable needs a metric: what an action gave is not taken back")
            return self
        if not thresholds or None in thresholds:
            raise ValueError("a badge with a metric says at which readings its levels are reached: levels: [1, 10, 50]")
        known = [threshold for threshold in thresholds if threshold is not None]
        if any(later <= earlier for earlier, later in pairwise(known)):
            raise ValueError("levels rise: each threshold is more than the one before")
        return self
