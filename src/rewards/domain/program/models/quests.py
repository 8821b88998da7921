"""Quests: steps that lead somewhere, within a time, and what they are worth."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from rewards.domain.program.models.actions import AMOUNT_MAX
from rewards.domain.program.models.base import SECTION_MAX, Events, Expression, Key, Localised, Part, SpanText
from rewards.domain.program.models.rules import Actions, Moment

STEPS_MAX: Final = 20
VALUED: Final = ("sum", "distinct", "max")


class QuestStep(Part):
    """Something to reach: `target` of a metric, or of one or several `event`s.

    Of events it counts how many there were, or takes the `sum`, the number of `distinct` values or the `max` of an
    expression. Of a metric it counts what the metric counts, whatever window the metric has: the quest's own holds.
    """

    name: Localised | None = None
    metric: Key | None = None
    event: Events | None = None
    sum: Expression | None = None
    distinct: Expression | None = None
    max: Expression | None = None
    where: Expression | None = None
    target: Annotated[int | float, Field(gt=0, le=AMOUNT_MAX, allow_inf_nan=False)] = 1
    rewards: Actions = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_way(self) -> QuestStep:
        if (self.metric is None) == (self.event is None):
            raise ValueError("a step has either a metric or an event")
        valued = [name for name in VALUED if getattr(self, name) is not None]
        if len(valued) > 1:
            raise ValueError("a step takes one of sum, distinct and max")
        if valued and self.metric is not None:
            raise ValueError(f"{valued[0]} goes with event: a metric says itself what it counts")
        return self

    @property
    def kind(self) -> str:
        """How a step over events counts."""
        return next((name for name in VALUED if getattr(self, name) is not None), "count")

    @property
    def value(self) -> str | None:
        """The expression that is summed, told apart or compared."""
        return None if self.kind == "count" else getattr(self, self.kind)


class Repeat(Part):
    """A quest that can be completed again: so long `after` it was completed, or from the next calendar period on; in all
    at most so many `times`."""

    after: SpanText
    times: Annotated[int, Field(ge=2, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _ends(self) -> Repeat:
        if self.after == "lifetime":
            raise ValueError("after is a duration such as 30d, or day, week, month or year")
        return self


class Requires(Part):
    """What must have been completed, or be held, before a quest can begin."""

    quests: Annotated[list[Key], Field(max_length=SECTION_MAX)] = Field(default_factory=list)
    badges: Annotated[list[Key], Field(max_length=SECTION_MAX)] = Field(default_factory=list)


class Quest(Part):
    """`steps` to be done `all` in any order, `any` one of them, or in `sequence`.

    It begins with the first event that advances a step, or with `opt_in` when the member joins it; `window` runs from
    then on, and a quest that is unfinished at its end starts over. `revocable`: what was reached with events that are
    taken back is lost again, rewards and all. A `secret` quest is not shown before it has begun.
    A `team` quest is one of groups: what members do counts for each group that they belong to, and when the group has
    completed it, whoever contributed gets the rewards.
    """

    name: Localised | None = None
    description: Localised | None = None
    image: Localised | None = None
    steps: Annotated[list[QuestStep], Field(min_length=1, max_length=STEPS_MAX)]
    order: Literal["all", "any", "sequence"] = "all"
    window: SpanText = "lifetime"
    repeat: Repeat | None = None
    requires: Requires | None = None
    when: Expression | None = None
    opt_in: bool = False
    starts: Moment | None = None
    ends: Moment | None = None
    secret: bool = False
    revocable: bool = False
    team: bool = False
    rewards: Actions = Field(default_factory=list)
