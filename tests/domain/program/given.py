"""A small program's fields and facts, to evaluate expressions against."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rewards.domain.program.binding import BoundFacts, Needs, Plan
from rewards.domain.program.expressions.fields import (
    Kind,
    at_field,
    balance_field,
    context_fields,
    event_field,
    member_field,
    metric_field,
)
from rewards.domain.program.expressions.scope import Engine, Scope

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)  # a Saturday; 13:00 in Berlin


@dataclass(frozen=True)
class Given:
    """Implements `compiled.Facts`."""

    event: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
    member: Mapping[str, Any] = field(default_factory=lambda: {"segments": ["gold"], "timezone": "Europe/Berlin"})
    at: datetime = NOON
    metrics: Mapping[str, Any] = field(default_factory=lambda: {"orders": 3})

    def metric(self, key: str) -> Any:
        return self.metrics.get(key)

    def balance(self, currency: str) -> int:
        return {"points": 7}[currency]


FIELDS = [
    *(event_field(name, Kind.NUMBER) for name in ("total", "dwell_seconds", "a", "b", "c")),
    *(event_field(name, Kind.TEXT) for name in ("category", "coupon")),
    event_field("gift", Kind.FLAG),
    event_field("started_at", Kind.MOMENT),
    event_field("items", Kind.ITEMS),
    event_field("sizes", Kind.NUMBERS),
    event_field("address", Kind.OBJECT),
    event_field("torn", Kind.NUMBER, "event.torn is a number here but a text there"),
    member_field("segments", Kind.TEXTS),
    member_field("tier", Kind.TEXT),
    metric_field("orders", Kind.NUMBER),
    metric_field("favorite", Kind.TEXT),
    balance_field("points"),
    at_field(),
    *context_fields(ZoneInfo("UTC")),
]
ENGINE = Engine(FIELDS)
SCOPE = Scope(ENGINE, {each.name: each for each in FIELDS})


def bound(needs: Needs, given: Given) -> BoundFacts:
    """The facts, ready for one expression."""
    plan = Plan(ENGINE, [needs])
    return BoundFacts("event", plan.snapshot(given), plan)
