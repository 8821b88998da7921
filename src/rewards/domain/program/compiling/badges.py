"""Badges: what their levels need, and remarks about badges that nobody can earn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from rewards.domain.program.badge import Badge, Badges, Level
from rewards.domain.program.compiled import EarnAction, Metric, MetricKind
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.events import Catalogue
from rewards.domain.program.compiling.rewards import RewardBuilder
from rewards.domain.program.models import badges as written
from rewards.domain.program.models.actions import GiveBadge
from rewards.domain.program.models.base import Localised, texts

_UNFIT = {
    MetricKind.LAST: "follows the latest value, down as well as up: take a max, or give the badge by a rule",
    MetricKind.FAVORITE: "is no number: give the badge by a rule",
    MetricKind.SCORE: "fades with time: give the badge by a rule, when metrics.{key} is high enough",
}


def build_badges(
    context: Context, catalogue: Catalogue, metrics: Mapping[str, Metric], rewards: RewardBuilder
) -> Badges:
    """The badges that are in order, by key: a stored document does not keep the order of its names."""
    declared = sorted(context.document.badges.items())
    built = {key: _badge(context, metrics, rewards, key, each) for key, each in declared}
    by_event: dict[str, tuple[Badge, ...]] = {}
    for badge in built.values():
        for event in sorted(badge.metric.events) if badge.metric is not None else ():
            by_event[event] = (*by_event.get(event, ()), badge)
    _warn_of_falling(context, catalogue, built)
    _warn_of_idle(context)
    return Badges(built, by_event)


def _badge(
    context: Context, metrics: Mapping[str, Metric], rewards: RewardBuilder, key: str, each: written.Badge
) -> Badge:
    path = f"badges.{key}"
    locale = context.document.program.locale
    metric = _metric(context, metrics, f"{path}.metric", each.metric) if each.metric is not None else None
    own = rewards.build(each.rewards, f"{path}.rewards")
    levels = []
    for position, level in enumerate(each.levels or [written.BadgeLevel()]):
        given = own
        if level.rewards is not None:
            given = rewards.build(level.rewards, f"{path}.levels.{position}.rewards")
        if each.revocable and any(isinstance(action, EarnAction) and action.reference is not None for action in given):
            message = "rewards with a reference of their own are not taken back when the badge is revoked"
            context.problems.warn(f"{path}.revocable", "not-taken-back", message)
        name, image = _texts(level.name, locale), _texts(level.image, locale)
        levels.append(Level(position + 1, level.at, name, image, given))
    return Badge(
        key=key,
        name=texts(each.name, locale=locale, fallback=key),
        description=_texts(each.description, locale),
        image=_texts(each.image, locale),
        metric=metric,
        levels=tuple(levels),
        secret=each.secret,
        revocable=each.revocable,
        announce=each.announce,
    )


def _texts(localised: Localised | None, locale: str) -> dict[str, str]:
    return {} if localised is None else texts(localised, locale=locale, fallback="")


def _metric(context: Context, metrics: Mapping[str, Metric], path: str, key: str) -> Metric | None:
    if not context.refers(path, "metric", "metrics", key, context.document.metrics) or key not in metrics:
        return None
    metric = metrics[key]
    if metric.by is not None:
        message = f"metrics.{key} is split by {metric.by.source}, and a badge has no event to say which"
        context.problems.error(path, "split-metric", message)
    if metric.kind in _UNFIT:
        message = f"metrics.{key} is a {metric.kind.value} and {_UNFIT[metric.kind].format(key=key)}"
        context.problems.error(path, "unfit-metric", message)
    return metric


def _warn_of_falling(context: Context, catalogue: Catalogue, badges: Mapping[str, Badge]) -> None:
    """Sums that an event may lower: how high they were at most depends on which events came first."""
    for key, badge in badges.items():
        metric = badge.metric
        if metric is not None and metric.kind is MetricKind.SUM and not _only_rises(catalogue, metric):
            source = metric.value.source if metric.value is not None else ""
            message = (
                f"{source} may be negative, and then a level depends on the order in which events arrive; "
                "declare that it is not: minimum: 0"
            )
            context.problems.warn(f"badges.{key}.metric", "may-fall", message)


def _only_rises(catalogue: Catalogue, metric: Metric) -> bool:
    value = metric.value
    assert value is not None, "a sum has a value"
    if "-" in value.source:
        return False
    return all(_not_negative(catalogue, metric.events, field) for field in value.fields)


def _not_negative(catalogue: Catalogue, events: Iterable[str], field: str) -> bool:
    """Whether each event that carries the property declares that it is at least 0."""
    whose, _, name = field.partition(".")
    if whose != "event":
        return False
    declared = [catalogue.properties[event][name].schema for event in events if name in catalogue.properties[event]]
    lowest = [schema.get("minimum", schema.get("exclusiveMinimum", -1)) for schema in declared]
    return bool(lowest) and min(lowest) >= 0


def _warn_of_idle(context: Context) -> None:
    """Badges without a metric that no action anywhere gives."""
    idle = [key for key, each in context.document.badges.items() if each.metric is None]
    if not idle or context.broken:
        return
    given = {action.key for action in _given(context.document)}
    for key in idle:
        if key not in given:
            message = "no metric reaches it and no action gives it"
            context.problems.warn(f"badges.{key}", "never-given", message)


def _given(part: Any) -> Iterator[GiveBadge]:
    if isinstance(part, GiveBadge):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _given(getattr(part, name))
    elif isinstance(part, Mapping):
        for each in part.values():
            yield from _given(each)
    elif isinstance(part, list | tuple):
        for each in part:
            yield from _given(each)
