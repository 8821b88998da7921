"""Tiers: a ladder of levels that members climb by what they earn or do within a period."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rewards.domain.program.models.actions import AMOUNT_MAX, Action
from rewards.domain.program.models.base import ACTIONS_MAX, DurationText, Key, Localised, Part, SpanText


class TierLevel(Part):
    """One tier, reached `at` so much qualification. `earn_rate` multiplies what rules earn for members who hold it.

    `benefits` are what it brings besides, for people and apps to read. `rewards` are given when it is reached for the first time.
    """

    name: Localised | None = None
    description: Localised | None = None
    image: Localised | None = None
    at: Annotated[int | float, Field(ge=0, le=AMOUNT_MAX, allow_inf_nan=False)]
    earn_rate: Annotated[int | float, Field(ge=0, le=1_000, allow_inf_nan=False)] = 1
    rewards: Annotated[list[Action], Field(max_length=ACTIONS_MAX)] = Field(default_factory=list)
    benefits: Annotated[dict[Key, Localised], Field(max_length=50)] = Field(default_factory=dict)


class Qualify(Part):
    """What counts: a metric, or what was `earned` of a qualifying currency (spending it takes nothing away)."""

    metric: Key | None = None
    earned: Key | None = None

    @model_validator(mode="after")
    def _one(self) -> Qualify:
        if (self.metric is None) == (self.earned is None):
            raise ValueError("tiers qualify by either a metric or what is earned of a currency")
        return self


class Tiers(Part):
    """The ladder. `per` takes the place of the metric's own window. `levels` rise by what they take.

    `grace` is how long a tier is kept although it was not earned again; then `downgrade` says what becomes of it. Of the
    currencies in `multiplies` (default: those that can be spent) rules earn at the rate of the tier held.
    """

    qualify: Qualify
    per: SpanText = "year"
    grace: DurationText | None = None
    downgrade: Literal["one_level", "to_qualified", "never"] = "to_qualified"
    multiplies: Annotated[list[Key], Field(max_length=50)] | None = None
    levels: Annotated[dict[Key, TierLevel], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _rises(self) -> Tiers:
        for (lower, one), (higher, other) in pairwise(self.rising):
            if one.at == other.at:
                raise ValueError(f"levels rise: {lower} and {higher} are both reached at {one.at}")
        return self

    @property
    def rising(self) -> list[tuple[str, TierLevel]]:
        """The levels from the lowest up, in whatever order they are written: JSON objects have none."""
        return sorted(self.levels.items(), key=lambda item: item[1].at)
