"""Tiers: the ladder, and the metric by which it is climbed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from rewards.domain.periods import Calendar, Rolling, Span
from rewards.domain.program.compiled import SUM_SCALE, Metric, MetricKind
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.metrics import MONTHS_MAX, OVER_MAX
from rewards.domain.program.compiling.rewards import RewardBuilder
from rewards.domain.program.models import tiers as written
from rewards.domain.program.models.base import duration, span, texts
from rewards.domain.program.tier import QUALIFICATION, Downgrade, Ladder, Level

_ADDING_UP: Final = frozenset({MetricKind.COUNT, MetricKind.SUM})
_SHORTEST_DAYS: Final = {Calendar.DAY: 1, Calendar.WEEK: 7, Calendar.MONTH: 28, Calendar.YEAR: 365}


def build_tiers(context: Context, metrics: dict[str, Metric], rewards: RewardBuilder) -> Ladder | None:
    """The ladder, if the document has one that is in order; what is wrong is reported. Its metric joins `metrics`."""
    document = context.document
    tiers = document.tiers
    if tiers is None:
        return None
    before = len(context.problems.errors)
    over = span(tiers.per)
    grace = duration(tiers.grace) or timedelta(0)
    _check_period(context, tiers, over, grace)
    metric = qualification(context, tiers, metrics, over)
    multiplies = _multiplied(context, tiers)
    scale = SUM_SCALE if metric is not None and metric.kind is MetricKind.SUM else 1
    levels = tuple(_level(context, key, each, rank, scale, rewards) for rank, (key, each) in enumerate(tiers.rising, 1))
    if metric is None or len(context.problems.errors) > before:
        return None
    metrics[metric.key] = metric
    return Ladder(
        metric=metric,
        source=tiers.qualify.metric or tiers.qualify.earned or "",
        currency=tiers.qualify.earned,
        per=over,
        per_written=tiers.per,
        grace=grace,
        downgrade=Downgrade(tiers.downgrade),
        levels=levels,
        multiplies=multiplies,
        terms=_hash(metric.id, tiers.grace, tiers.downgrade, [[level.key, level.threshold] for level in levels]),
    )


def _check_period(context: Context, tiers: written.Tiers, over: Span, grace: timedelta) -> None:
    problems = context.problems
    if isinstance(over, Rolling) and (over.length > OVER_MAX or over.months > MONTHS_MAX):
        problems.error("tiers.per", "too-long", "a window is at most 400 days")
    late = duration(context.document.program.late_window)
    shortest = timedelta(days=_SHORTEST_DAYS[over]) if isinstance(over, Calendar) else None
    if isinstance(over, Rolling):
        shortest = timedelta(days=28 * over.months) if over.months else over.length
    if late is not None and shortest is not None and shortest < late * 9 / 8:
        message = (
            f"tiers are held for some time longer than events may be late ({context.document.program.late_window})"
        )
        problems.error("tiers.per", "too-short", message)
    if isinstance(over, Calendar) and grace >= timedelta(days=_SHORTEST_DAYS[over]):
        problems.error("tiers.grace", "too-long", f"grace is shorter than the {over.value} by which tiers are held")
    if isinstance(over, Rolling) and tiers.downgrade == "one_level" and not grace:
        message = "without grace a member falls through one level after the other at once; give each some time"
        problems.warn("tiers.downgrade", "falls-through", message)


def qualification(context: Context, tiers: written.Tiers, metrics: Mapping[str, Metric], over: Span) -> Metric | None:
    """The metric that is kept for the ladder alone: over its own period, under an id of its own."""
    document = context.document
    if tiers.qualify.earned is not None:
        path, key = "tiers.qualify.earned", tiers.qualify.earned
        if not context.refers(path, "currency", "currencies", key, document.currencies):
            return None
        if not document.currencies[key].qualifying:
            context.problems.error(path, "not-qualifying", f"{key} is not qualifying: true")
        return Metric(
            key=QUALIFICATION,
            id=_hash(QUALIFICATION, "earned", key, tiers.per),
            kind=MetricKind.SUM,
            events=frozenset(),
            where=None,
            value=None,
            by=None,
            over=over,
            previous=True,  # it is kept long enough for what comes late, see `tier_memory`
            half_life=None,
        )
    path, key = "tiers.qualify.metric", tiers.qualify.metric or ""
    if not context.refers(path, "metric", "metrics", key, document.metrics) or key not in metrics:
        return None
    metric = metrics[key]
    if metric.kind not in _ADDING_UP:
        context.problems.error(path, "type", f"tiers need a metric that adds up (count or sum), {key} is {metric.kind}")
    if metric.by is not None:
        context.problems.error(path, "split-metric", f"{key} is split by {metric.by.source}; nothing says which counts")
    return replace(metric, key=QUALIFICATION, id=_hash(QUALIFICATION, metric.id, tiers.per), over=over, previous=True)


def _multiplied(context: Context, tiers: written.Tiers) -> frozenset[str]:
    currencies = context.document.currencies
    if tiers.multiplies is None:
        return frozenset(key for key, each in currencies.items() if each.spendable)
    for position, key in enumerate(tiers.multiplies):
        context.refers(f"tiers.multiplies.{position}", "currency", "currencies", key, currencies)
    return frozenset(tiers.multiplies)


def _level(context: Context, key: str, each: written.TierLevel, rank: int, scale: int, rewards: RewardBuilder) -> Level:
    path = f"tiers.levels.{key}"
    locale = context.document.program.locale
    at = Decimal(repr(each.at))
    if at == 0 and each.rewards:
        context.problems.error(
            f"{path}.rewards", "never-given", f"{key} is everybody's from the start: nobody reaches it"
        )
    return Level(
        key=key,
        rank=rank,
        at=at,
        threshold=int((at * scale).to_integral_value(ROUND_CEILING)),
        earn_rate=Decimal(repr(each.earn_rate)),
        name=texts(each.name, locale=locale, fallback=key),
        description=texts(each.description, locale=locale, fallback="") if each.description else {},
        image=texts(each.image, locale=locale, fallback="") if each.image else {},
        benefits={name: texts(text, locale=locale, fallback="") for name, text in each.benefits.items()},
        rewards=rewards.build(each.rewards, f"{path}.rewards"),
    )


def _hash(*parts: Any) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
