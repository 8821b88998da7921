"""Streaks: periods in a row in which something is done."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from rewards.domain.program.models.actions import AMOUNT_MAX, Action
from rewards.domain.program.models.base import ACTIONS_MAX, DurationText, Events, Expression, Key, Localised, Part

LENGTH_MAX: Final = 100_000
STREAKS_MAX: Final = 20
FREEZES_MAX: Final = 100
MILESTONES_MAX: Final = 50
Length = Annotated[int, Field(ge=1, le=LENGTH_MAX)]
Rewards = Annotated[list[Action], Field(max_length=ACTIONS_MAX)]


class Price(Part):
    """What one freeze costs."""

    currency: Key
    amount: Annotated[int, Field(ge=1, le=AMOUNT_MAX)]


class Freezes(Part):
    """A freeze bridges a missed period by itself. At most `most` are kept.

    `start` are given at first, one for every `earn_every` periods kept; without a `price` they cannot be bought.
    """

    most: Annotated[int, Field(ge=1, le=FREEZES_MAX)] = 2
    start: Annotated[int, Field(ge=0, le=FREEZES_MAX)] = 0
    earn_every: Annotated[int, Field(ge=1, le=LENGTH_MAX)] | None = None
    price: Price | None = None

    @model_validator(mode="after")
    def _room(self) -> Freezes:
        if self.start > self.most:
            raise ValueError("start is more than most")
        return self


class Pause(Part):
    """The member may pause the streak, each time for `longest`, and for `per_year` in all pauses that begin in a calendar year.

    Pauses count in whole periods. Without `per_year` it is twice the longest, up to a year.
    """

    longest: DurationText = "30d"
    per_year: DurationText | None = None


class Milestone(Part):
    """Exactly one of `at` (a length) and `every` (each multiple of a length)."""

    at: Length | None = None
    every: Annotated[int, Field(ge=2, le=LENGTH_MAX)] | None = None
    name: Localised | None = None
    rewards: Rewards = Field(default_factory=list)

    @model_validator(mode="after")
    def _one(self) -> Milestone:
        if (self.at is None) == (self.every is None):
            raise ValueError("a milestone has exactly one of at and every")
        return self


class Streak(Part):
    """A period is kept when `target` is reached in it: so many events, or so much of `value` summed.

    `per` is a calendar period in the member's own zone. `warn_before` its end `streak.at_risk` is raised if the streak would
    break. `rewards` are given for each period that is kept.
    """

    name: Localised | None = None
    description: Localised | None = None
    image: Localised | None = None
    on: Events
    where: Expression | None = None
    value: Expression | None = None
    target: Annotated[int | float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)] = 1
    per: Literal["day", "week", "month"] = "day"
    freezes: Freezes | None = None
    pause: Pause | None = None
    warn_before: DurationText | None = None
    milestones: Annotated[list[Milestone], Field(max_length=MILESTONES_MAX)] = Field(default_factory=list)
    rewards: Rewards = Field(default_factory=list)

    @model_validator(mode="after")
    def _countable(self) -> Streak:
        if self.value is None and not isinstance(self.target, int):
            raise ValueError("without a value the target is a number of events")
        return self
