"""Leaderboards: what scores, how long a period is, and what the best get when it closes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from rewards.domain.program.durations import parse_duration
from rewards.domain.program.models.actions import Action
from rewards.domain.program.models.base import ACTIONS_MAX, DurationText, Key, Localised, Part

BOARDS_MAX: Final = 50
PRIZES_MAX: Final = 50
RANK_MAX: Final = 100_000
GRACE: Final = (timedelta(minutes=1), timedelta(days=7))
Rank = Annotated[int, Field(ge=1, le=RANK_MAX)]
Percent = Annotated[int | float, Field(gt=0, le=100, allow_inf_nan=False)]


def _grace(text: str) -> str:
    least, most = GRACE
    if not least <= parse_duration(text) <= most:
        raise ValueError("grace is at least 1m and at most 7d")
    return text


class Score(Part):
    """What scores: a metric's events, the earning of a currency, or (with `operator` alone) the action `score`.

    `operator` adds up, keeps the best or the last; without it, what the metric itself does.
    """

    metric: Key | None = None
    currency: Key | None = None
    operator: Literal["sum", "best", "last"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Score:
        if self.metric is not None and self.currency is not None:
            raise ValueError("a score is of a metric or of a currency, not of both")
        if self.currency is not None and self.operator not in {None, "sum"}:
            raise ValueError("what is earned of a currency is added up: operator is sum, or left out")
        if self.metric is None and self.currency is None and self.operator is None:
            raise ValueError("a score names a metric or a currency, or an operator for the action score")
        return self


class Every(Part):
    """Calendar periods, or periods from one moment of a cron expression to the next, in the program's time zone."""

    every: Literal["day", "week", "month"] | None = None
    cron: Annotated[str, StringConstraints(min_length=9, max_length=100)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Every:
        if (self.every is None) == (self.cron is None):
            raise ValueError("a period is {every: day, week or month} or {cron: …}")
        return self


class By(Part):
    """One ranking of a segment's members only, or a ranking for each value of an attribute."""

    segment: Key | None = None
    attribute: Key | None = None

    @model_validator(mode="after")
    def _one(self) -> By:
        if (self.segment is None) == (self.attribute is None):
            raise ValueError("by names a segment or an attribute")
        return self


class NameAttribute(Part):
    """Members appear by an attribute of theirs."""

    attribute: Key


class Visibility(Part):
    """As what members appear to each other."""

    names: Literal["pseudonym", "external_id"] | NameAttribute = "pseudonym"


class Prize(Part):
    """What members get whose rank lies in `ranks`, or who are among the best `percentile` percent, when a period closes."""

    ranks: Annotated[list[Rank], Field(min_length=2, max_length=2)] | None = None
    percentile: Percent | None = None
    then: Annotated[list[Action], Field(min_length=1, max_length=ACTIONS_MAX)]

    @model_validator(mode="after")
    def _one(self) -> Prize:
        if (self.ranks is None) == (self.percentile is None):
            raise ValueError("a prize is for ranks: [first, last] or for a percentile")
        if self.ranks is not None and self.ranks[0] > self.ranks[1]:
            raise ValueError("ranks are [first, last], the better one first")
        return self


class Leaderboard(Part):
    """Members in the order of their scores, period by period. A period closes when `grace` is over, for late events."""

    name: Localised | None = None
    description: Localised | None = None
    image: Localised | None = None
    score: Score
    order: Literal["descending", "ascending"] = "descending"
    period: Literal["all_time"] | Every = "all_time"
    ties: Literal["shared", "first"] = "shared"
    by: By | None = None
    visibility: Visibility = Field(default_factory=Visibility)
    grace: Annotated[DurationText, AfterValidator(_grace)] = "1h"
    prizes: Annotated[list[Prize], Field(max_length=PRIZES_MAX)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _ends(self) -> Leaderboard:
        if self.prizes and self.period == "all_time":
            raise ValueError("a board of all time never closes, so it has no prizes")
        return self
