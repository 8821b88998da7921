"""Which metrics an event counts in, and as what."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from rewards.domain.play.facts import EventFacts
from rewards.domain.play.metrics import Stored, add, contribution
from rewards.domain.program.compiled import Bound, Metric, Missing
from rewards.domain.work import Work


def count(work: Work, type_key: str, facts: EventFacts) -> None:
    """Adds the event to every metric that counts it, and keeps the contributions so that they can be taken back."""
    program = work.program
    bound = facts.inputs(type_key)
    order = work.id.hex
    late_seconds = program.late_seconds
    for metric in program.metrics_by_event[type_key]:
        kept = contributed(metric, bound, facts, zone=work.zone)
        if kept is None:
            continue
        work.contributions.append([metric.id, *kept])
        stored = Stored(facts.at, order, kept)
        work.counted.append((metric.id, stored))
        work.set_metric(
            metric.id, add(metric, work.metrics.get(metric.id), stored, zone=work.zone, late_seconds=late_seconds)
        )


def contributed(metric: Metric, bound: Bound, facts: EventFacts, *, zone: ZoneInfo) -> list[Any] | None:
    """What an event of a type that the metric counts adds to it, or None. `bound` is `bind_inputs` of the facts."""
    by = None
    if metric.by is not None:
        found = metric.by.read(bound)
        if isinstance(found, Missing):
            return None
        by = str(found)
        facts.split(metric.key, by)  # an event that does not count names what conditions read, all the same
    if metric.where is not None and metric.where.test(bound) is not True:
        return None
    value = None
    if metric.value is not None:
        value = metric.value.read(bound)
        if isinstance(value, Missing):
            return None
    return contribution(metric, occurred_at=facts.at, value=value, by=by, zone=zone)
