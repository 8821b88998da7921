"""What became of each call: counted, and logged when it was refused, since the answer to the client does not tell."""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

log = structlog.get_logger("rewards.segment")

LOGGED_MAX: Final = 10
COLLECTOR: Final = "segment"


class CollectorItems:
    """`rewards_collector_items_total{collector, outcome}`: items that imitated collectors took, by what became of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            "rewards_collector_items",
            "Items taken by imitated collectors: processed, duplicate, quarantined, too_late, ignored, refused or invalid.",
            ("collector", "outcome"),
            registry=registry,
        )

    def count(self, outcome: str, number: int) -> None:
        self._counter.labels(COLLECTOR, outcome).inc(number)


@dataclass(slots=True)
class Outcomes:
    """The outcomes of one request. Nothing that the client sent is logged but the type of call."""

    by_outcome: Tally[str] = field(default_factory=Tally)
    refused: list[dict[str, str | int]] = field(default_factory=list)

    def add(self, outcome: str) -> None:
        self.by_outcome[outcome] += 1

    def refuse(self, outcome: str, *, position: int, call: str, code: str) -> None:
        self.add(outcome)
        if len(self.refused) < LOGGED_MAX:
            self.refused.append({"position": position, "call": call, "code": code})

    def record(self, items: CollectorItems, *, program_id: int, key_id: str) -> None:
        for outcome, number in self.by_outcome.items():
            items.count(outcome, number)
        if self.refused:
            log.warning(
                "segment_calls_refused",
                program_id=program_id,
                key_id=key_id,
                outcomes=dict(self.by_outcome),
                first=self.refused,
            )
