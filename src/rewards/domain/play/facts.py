"""What conditions may ask, as `apply` knows it: one snapshot of the event, the member, metrics and balances."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rewards.domain.play.held_badges import keys_held
from rewards.domain.play.metrics import read, read_previous
from rewards.domain.play.tier_held import tier_at
from rewards.domain.program.compiled import Bound
from rewards.domain.work import Work

_NOTHING: Mapping[str, Any] = {}
_PREVIOUS = "_previous"


class EventFacts:
    """The facts of one event. Metrics are read as of the moment when the event occurred."""

    __slots__ = ("_by", "_inputs", "_work", "at", "context", "event")

    def __init__(self, work: Work, *, event: Mapping[str, Any], context: Mapping[str, Any], at: datetime) -> None:
        self._work = work
        self._by: dict[str, str] = {}
        self._inputs: Bound | None = None
        self.event = event
        self.context = context
        self.at = at

    def inputs(self, event_type: str) -> Bound:
        """What metrics, quests, streaks and boards take from the event: for all of them one snapshot, if it can be."""
        bound = self._inputs
        if bound is None or not bound.lasting:
            bound = self._inputs = self._work.program.bind_inputs(event_type, self)
        return bound

    @property
    def member(self) -> Mapping[str, Any]:
        work = self._work
        known = {
            **work.attributes,
            "id": str(work.state.external_id),
            "kind": work.state.kind,
            "locale": work.locale or work.program.locale,
            "timezone": work.zone.key,
            "segments": list(work.segments),
            "badges": keys_held(work.play),
        }
        ladder = work.program.tiers
        if ladder is not None:
            tier = tier_at(ladder, work.play, self.at)
            known["tier"] = "" if tier is None else tier.key
        return known

    def split(self, metric_key: str, by: str) -> None:
        """Remembers for which value of its `by` a metric is read during this event."""
        self._by[metric_key] = by

    def metric(self, key: str) -> Any:
        """The value, or None where there is none (no value yet, or a split metric that this event does not name)."""
        work = self._work
        metric = work.program.metrics.get(key)
        if metric is not None and metric.by is None:
            return read(metric, work.metrics.get(metric.id), at=self.at, zone=work.zone)
        if metric is None and key.endswith(_PREVIOUS):
            metric = work.program.metrics[key.removesuffix(_PREVIOUS)]
            if metric.by is not None and metric.key not in self._by:
                return None
            return read_previous(
                metric, work.metrics.get(metric.id), at=self.at, zone=work.zone, by=self._by.get(metric.key)
            )
        assert metric is not None, key
        by = self._by.get(key)
        if metric.by is not None and by is None:
            return None
        return read(metric, work.metrics.get(metric.id), at=self.at, zone=work.zone, by=by)

    def balance(self, currency: str) -> int:
        return self._work.draft.available(currency)


class MemberFacts(EventFacts):
    """The facts of a member at a moment, without an event."""

    __slots__ = ()

    def __init__(self, work: Work, *, at: datetime) -> None:
        super().__init__(work, event=_NOTHING, context=_NOTHING, at=at)
