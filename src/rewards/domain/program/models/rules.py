"""Rules: when something happens and a condition holds, do this; else do that."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from rewards.domain.program.models.actions import AMOUNT_MAX, Action
from rewards.domain.program.models.base import (
    ACTIONS_MAX,
    DurationText,
    Events,
    Expression,
    Key,
    Localised,
    Part,
    PropertyName,
    SpanText,
)

Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Cap = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date and time such as 2026-12-24T23:59:59") from None
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""ISO 8601; in the program's time zone where it names none."""


class Limit(Part):
    """At most `times` firings per member and span. `times: 0` switches the rule off."""

    times: Annotated[int, Field(ge=0, le=1_000_000)]
    per: SpanText = "lifetime"


class Budget(Part):
    """A cap over all members: exactly one of `money` (minor units), `points` and `times`."""

    money: Cap | None = None
    points: Cap | None = None
    times: Cap | None = None
    currency: Key | None = None
    per: SpanText = "lifetime"

    @model_validator(mode="after")
    def _one_unit(self) -> Budget:
        if [self.money, self.points, self.times].count(None) != 2:
            raise ValueError("a budget is exactly one of money, points and times")
        if self.currency is not None and self.points is None:
            raise ValueError("currency goes with points")
        if self.per not in {"day", "week", "month", "year", "lifetime"}:
            raise ValueError("a budget runs per day, week, month, year or lifetime")
        return self


class Quiet(Part):
    """Silence: `for` so long without any event of `of` (by default those that trigger the rule). Each starts it anew.

    With `match` only events that carry the same value of that property count, such as those of one cart.
    """

    length: DurationText = Field(alias="for")
    of: Events | None = None
    match: PropertyName | None = None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Actions = Annotated[list[Action], Field(max_length=ACTIONS_MAX)]


class Rule(Part):
    """`stage` and `intent` are labels for people.

    With `delay` or `quiet` the rule waits after it has been triggered, is called off by an event of `unless`, and acts if
    `still` (by default `when` again) holds then.
    """

    key: Key
    name: Localised | None = None
    description: Localised | None = None
    stage: Label | None = None
    intent: Label | None = None
    on: Events
    when: Expression | None = None
    delay: DurationText | None = None
    quiet: Quiet | None = None
    unless: Events | None = None
    still: Expression | None = None
    limit: Annotated[list[Limit], BeforeValidator(_listed), Field(max_length=5)] = Field(default_factory=list)
    cooldown: DurationText | None = None
    budget: Budget | None = None
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    exclusive: Key | None = None
    starts: Moment | None = None
    ends: Moment | None = None
    then: Actions
    otherwise: Actions = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_wait(self) -> Rule:
        if self.delay is not None and self.quiet is not None:
            raise ValueError("a rule waits once: delay or quiet")
        if self.delay is None and self.quiet is None and (self.unless is not None or self.still is not None):
            raise ValueError("unless and still go with delay or quiet")
        return self
