"""Metrics and segments: what is counted about members, and how they are grouped."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, model_validator

from rewards.domain.program.models.base import (
    DurationText,
    Events,
    Expression,
    Key,
    Localised,
    Part,
    SpanText,
)

KINDS: Final = ("count", "sum", "max", "last", "distinct", "favorite", "score")
Weight = Annotated[int | float, Field(ge=-1_000_000, le=1_000_000, allow_inf_nan=False)]


class Metric(Part):
    """Exactly one of the kinds, naming the events it looks at.

    `score` may weigh events (`{product_viewed: 1, order_placed: 10}`); with `half_life` old ones fade.
    """

    name: Localised | None = None
    description: Localised | None = None
    unit: Localised | None = None
    count: Events | None = None
    sum: Events | None = None
    max: Events | None = None
    last: Events | None = None
    distinct: Events | None = None
    favorite: Events | None = None
    score: Events | dict[str, Weight] | None = None
    where: Expression | None = None
    value: Expression | int | float | None = None
    by: Expression | None = None
    over: SpanText = "lifetime"
    previous: bool = False
    half_life: DurationText | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Metric:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a metric is exactly one of {', '.join(KINDS)}")
        if kinds[0] == "count" and self.value is not None:
            raise ValueError("count takes no value")
        if kinds[0] in {"sum", "max", "last", "distinct", "favorite"} and self.value is None:
            raise ValueError(f"{kinds[0]} needs a value, such as event.total")
        if isinstance(self.score, dict) and (self.value is not None or not self.score):
            raise ValueError("a score takes weights by event or a value")
        if self.half_life is not None and kinds[0] != "score":
            raise ValueError("half_life goes with score")
        if self.previous and self.over == "lifetime":
            raise ValueError("previous needs a window: there is nothing before a lifetime")
        return self

    @property
    def kind(self) -> str:
        """The one kind that is set."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def events(self) -> list[str]:
        """The event types and groups looked at."""
        return list(getattr(self, self.kind))


class Segment(Part):
    """`when` a condition holds, or the `top` percent by a metric (`of`)."""

    name: Localised | None = None
    description: Localised | None = None
    when: Expression | None = None
    top: Annotated[str, StringConstraints(pattern=r"^(100|[1-9]?[0-9](\.[0-9]{1,3})?)%$")] | None = None
    of: Key | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"when": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> Segment:
        if (self.when is None) == (self.top is None):
            raise ValueError("a segment has either a condition (when) or a top share of a metric")
        if (self.top is None) != (self.of is None):
            raise ValueError("top and of go together: {top: 10%, of: spent}")
        if self.top is not None and float(self.top.rstrip("%")) == 0:
            raise ValueError("top must be more than 0%")
        return self
