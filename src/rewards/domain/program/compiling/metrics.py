"""Metrics: what is counted, and the id under which it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from rewards.domain.periods import Rolling
from rewards.domain.program.binding import Plans
from rewards.domain.program.compiled import Metric, MetricKind
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.events import Catalogue, resolve_events
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.conditions import CelCondition, compile_condition
from rewards.domain.program.expressions.fields import Kind
from rewards.domain.program.expressions.scope import Scope
from rewards.domain.program.models import members as written
from rewards.domain.program.models.base import duration, span
from rewards.domain.program.values import CelValue, Constant, FieldValue, Weights, compile_value

OVER_MAX: Final = timedelta(days=400)
MONTHS_MAX: Final = 13
PREVIOUS: Final = "_previous"
AnyValue = FieldValue | CelValue | Constant | Weights
_NUMBERS: Final = frozenset({"sum", "max", "score"})


def build_metrics(context: Context, catalogue: Catalogue, scopes: Scopes, plans: Plans) -> dict[str, Metric]:
    """The metrics that are in order, by key; declares their fields to `scopes`."""
    metrics: dict[str, Metric] = {}
    kinds: dict[str, Kind] = dict.fromkeys(context.known("metrics", ()), Kind.ANY)
    for key, each in context.document.metrics.items():
        kinds[key] = Kind.ANY
        built = _metric(context, catalogue, scopes, key, each)
        if built is not None:
            metrics[key], kinds[key], values = built
            for value in values:
                plans.add(metrics[key].events, value.needs)
    for key, each in context.document.metrics.items():
        if each.previous:
            if f"{key}{PREVIOUS}" in kinds:
                message = f"{key} exposes the window before as {key}{PREVIOUS}, which is declared as well"
                context.problems.error(f"metrics.{key}.previous", "duplicate-name", message)
            kinds[f"{key}{PREVIOUS}"] = kinds[key]
    scopes.declare(kinds, context.known("currencies", context.document.currencies))
    return metrics


def _metric(
    context: Context, catalogue: Catalogue, scopes: Scopes, key: str, each: written.Metric
) -> tuple[Metric, Kind, list[AnyValue | CelCondition]] | None:
    path = f"metrics.{key}"
    over = span(each.over)
    if isinstance(over, Rolling) and (over.length > OVER_MAX or over.months > MONTHS_MAX):
        context.problems.error(f"{path}.over", "too-long", "a window is at most 400 days")
    before = len(context.problems.errors)
    events = resolve_events(context, catalogue, each.events, f"{path}.{each.kind}")
    scope = scopes.metric(events, each)
    where, source = None, each.where
    if source is not None:
        where = context.expression(f"{path}.where", source, lambda: compile_condition(source, scope))
    value = _value(context, catalogue, path, each, scope)
    by = _plain(context, f"{path}.by", each.by, scope)
    if by is not None and by.kind not in {Kind.TEXT, Kind.NUMBER, Kind.FLAG, Kind.ANY}:
        context.problems.error(f"{path}.by", "type", f"by needs a text or a number, this is {by.kind.value}")
    if events is None or len(context.problems.errors) > before:
        return None
    metric = Metric(
        key=key,
        id=_identity(each, events),
        kind=MetricKind(each.kind),
        events=frozenset(events),
        where=where,
        value=value,
        by=by,
        over=over,
        previous=each.previous,
        half_life=duration(each.half_life),
    )
    parts = [part for part in (where, value, by) if part is not None]
    return metric, _kind(each, value), parts


def _value(context: Context, catalogue: Catalogue, path: str, each: written.Metric, scope: Scope) -> AnyValue | None:
    if isinstance(each.score, dict):
        weights: dict[str, float] = {}
        for name, weight in each.score.items():
            weights.update(dict.fromkeys(catalogue.groups.get(name, (name,)), weight))
        return Weights(weights)
    value = _plain(context, f"{path}.value", each.value, scope)
    if value is None:
        return None
    if each.kind in _NUMBERS and value.kind not in {Kind.NUMBER, Kind.ANY}:
        context.problems.error(f"{path}.value", "type", f"{each.kind} needs a number, this is {value.kind.value}")
    elif value.kind not in {Kind.NUMBER, Kind.TEXT, Kind.FLAG, Kind.MOMENT, Kind.ANY}:
        context.problems.error(f"{path}.value", "type", f"{each.kind} needs one value, this is {value.kind.value}")
    return value


def _plain(
    context: Context, path: str, source: str | float | None, scope: Scope
) -> FieldValue | CelValue | Constant | None:
    if source is None:
        return None
    if not isinstance(source, str):
        return Constant(source, Kind.NUMBER)
    return context.expression(path, source, lambda: compile_value(source, scope))


def _kind(each: written.Metric, value: AnyValue | None) -> Kind:
    """What `metrics.<key>` is to the expressions that read it."""
    if each.kind == "favorite":
        return Kind.TEXT
    if each.kind == "last" and value is not None:
        return Kind.TEXT if value.kind is Kind.MOMENT else value.kind
    return Kind.NUMBER


def _identity(each: written.Metric, events: Iterable[str]) -> str:
    """The hash of the definition: a changed metric starts anew, a renamed or reordered one does not."""
    definition: dict[str, Any] = {
        "kind": each.kind,
        "events": sorted(events),
        "weights": each.score if isinstance(each.score, dict) else None,
        "where": each.where,
        "value": each.value,
        "by": each.by,
        "over": each.over,
        "half_life": each.half_life,
        "previous": each.previous,
    }
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
