"""Quests: what their steps count, what comes before them, and what they give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from rewards.domain.program.binding import Needs, Plans
from rewards.domain.program.compiled import SUM_SCALE, Condition, Metric, MetricKind, Value
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.events import Catalogue, resolve_events
from rewards.domain.program.compiling.rewards import RewardBuilder
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.compiling.segments import MEMBER, check_memberships, check_splits, splits_out_of_reach
from rewards.domain.program.conditions import CelCondition, compile_condition
from rewards.domain.program.expressions.fields import Kind
from rewards.domain.program.models import quests as written
from rewards.domain.program.models.actions import Action
from rewards.domain.program.models.base import Localised, span, texts
from rewards.domain.program.quest import DISTINCT_TARGET_MAX, Again, Order, Quest, QuestBook, Step
from rewards.domain.program.values import compile_value

COUNTABLE: Final = frozenset({MetricKind.COUNT, MetricKind.SUM, MetricKind.DISTINCT, MetricKind.MAX})


@dataclass(slots=True)
class QuestBuilder:
    """Builds the quests of a document. What steps read is bound with what metrics read, before the event counts."""

    context: Context
    catalogue: Catalogue
    scopes: Scopes
    inputs: Plans
    plans: Plans
    metrics: Mapping[str, Metric]
    rewards: RewardBuilder

    def build(self) -> QuestBook:
        """Those that are in order, by key: a stored document does not keep the order of its names."""
        document = self.context.document
        for key in _cyclic(document.quests):
            self.context.problems.error(f"quests.{key}.requires.quests", "cycle", f"quest {key} waits for itself")
        joined = {action.quest.key for action in _actions_of(document) if action.quest is not None}
        built = {}
        for key, each in sorted(document.quests.items()):
            quest = self._quest(key, each, by_rule=key in joined)
            if quest is not None:
                built[key] = quest
        return QuestBook(built)

    def _quest(self, key: str, each: written.Quest, *, by_rule: bool) -> Quest | None:
        path = f"quests.{key}"
        before = len(self.context.problems.errors)
        steps = [self._step(f"{path}.steps.{at}", at + 1, step) for at, step in enumerate(each.steps)]
        requires = each.requires or written.Requires()
        document = self.context.document
        for required in requires.quests:
            known = self.context.refers(f"{path}.requires.quests", "quest", "quests", required, document.quests)
            if known and document.quests[required].team is not each.team:
                message = f"{required} is {_of_whom(not each.team)}, this one is {_of_whom(each.team)}"
                self.context.problems.error(f"{path}.requires.quests", "team", message)
        for required in requires.badges:
            self.context.refers(f"{path}.requires.badges", "badge", "badges", required, document.badges)
        when = self._when(f"{path}.when", each.when)
        rewards = self.rewards.build(each.rewards, f"{path}.rewards")
        starts, ends = self._moment(each.starts), self._moment(each.ends)
        if starts is not None and ends is not None and ends <= starts:
            self.context.problems.warn(f"{path}.ends", "never-begins", "the quest ends before it starts")
        if len(self.context.problems.errors) > before:
            return None
        whole = [step for step in steps if step is not None]
        locale = document.program.locale
        return Quest(
            key=key,
            names=texts(each.name, locale=locale, fallback=key),
            descriptions=_texts(each.description, locale),
            images=_texts(each.image, locale),
            definition=_definition(each, whole),
            steps=tuple(whole),
            order=Order(each.order),
            window=span(each.window),
            again=None if each.repeat is None else Again(span(each.repeat.after), each.repeat.times),
            quests=tuple(dict.fromkeys(requires.quests)),
            badges=tuple(dict.fromkeys(requires.badges)),
            when=when,
            opt_in=each.opt_in,
            joined_by_rule=by_rule,
            starts=starts,
            ends=ends,
            secret=each.secret,
            revocable=each.revocable,
            team=each.team,
            rewards=rewards,
        )

    def _step(self, path: str, number: int, each: written.QuestStep) -> Step | None:
        """None after reporting what is wrong."""
        before = len(self.context.problems.errors)
        counted = self._of_metric(path, each) if each.metric is not None else self._of_events(path, each)
        rewards = self.rewards.build(each.rewards, f"{path}.rewards")
        if counted is None or len(self.context.problems.errors) > before:
            return None
        kind, events, conditions, value = counted
        if kind is MetricKind.DISTINCT and each.target > DISTINCT_TARGET_MAX:
            message = f"a step tells at most {DISTINCT_TARGET_MAX} different values apart"
            self.context.problems.error(f"{path}.target", "too-large", message)
        if kind in {MetricKind.COUNT, MetricKind.DISTINCT} and each.target != int(each.target):
            self.context.problems.error(f"{path}.target", "value", "is a whole number where events are counted")
        goal = int(Decimal(repr(each.target)) * SUM_SCALE) if kind is MetricKind.SUM else each.target
        names = texts(each.name, locale=self.context.document.program.locale, fallback=_told(each))
        return Step(number, names, kind, events, conditions, value, each.target, goal, rewards)

    def _of_metric(
        self, path: str, each: written.QuestStep
    ) -> tuple[MetricKind, frozenset[str], tuple[Condition, ...], Value | None] | None:
        key = each.metric
        assert key is not None
        if not self.context.refers(f"{path}.metric", "metric", "metrics", key, self.context.document.metrics):
            return None
        metric = self.metrics.get(key)
        if metric is None:
            return None  # reported where it is declared
        if metric.kind not in COUNTABLE:
            message = f"{key} is a {metric.kind.value}; a step counts, sums, tells apart or takes the largest"
            self.context.problems.error(f"{path}.metric", "type", message)
            return None
        where = self._where(path, each, tuple(sorted(metric.events)))
        conditions = tuple(condition for condition in (metric.where, where) if condition is not None)
        return metric.kind, metric.events, conditions, metric.value

    def _of_events(
        self, path: str, each: written.QuestStep
    ) -> tuple[MetricKind, frozenset[str], tuple[Condition, ...], Value | None] | None:
        assert each.event is not None
        events = resolve_events(self.context, self.catalogue, each.event, f"{path}.event")
        where = self._where(path, each, events)
        value = None
        source = each.value
        if source is not None:
            scope = self.scopes.metric(events, each)
            where_value = f"{path}.{each.kind}"
            value = self.context.expression(where_value, source, lambda: compile_value(source, scope))
            if value is not None:
                self._check_kind(where_value, each.kind, value.kind)
                self._bind(events, value.needs)
        if events is None:
            return None
        return MetricKind(each.kind), frozenset(events), (where,) if where is not None else (), value

    def _check_kind(self, path: str, kind: str, found: Kind) -> None:
        if kind != "distinct" and found not in {Kind.NUMBER, Kind.ANY}:
            self.context.problems.error(path, "type", f"{kind} needs a number, this is {found.value}")
        elif found not in {Kind.NUMBER, Kind.TEXT, Kind.FLAG, Kind.MOMENT, Kind.ANY}:
            self.context.problems.error(path, "type", f"{kind} needs one value, this is {found.value}")

    def _where(self, path: str, each: written.QuestStep, events: tuple[str, ...] | None) -> CelCondition | None:
        source = each.where
        if source is None:
            return None
        scope = self.scopes.metric(events, each)
        condition = self.context.expression(f"{path}.where", source, lambda: compile_condition(source, scope))
        if condition is not None:
            self._bind(events, condition.needs)
        return condition

    def _bind(self, events: tuple[str, ...] | None, needs: Needs) -> None:
        if events is not None:
            self.inputs.add(events, needs)

    def _when(self, path: str, source: str | None) -> CelCondition | None:
        if source is None:
            return None
        check_memberships(self.context, path, source)
        scope = self.scopes.segment()
        condition = self.context.expression(path, source, lambda: compile_condition(source, scope))
        if condition is not None:
            check_splits(self.context, path, condition.fields, splits_out_of_reach(self.metrics, ()))
            self.plans.add((MEMBER,), condition.needs)
        return condition

    def _moment(self, text: str | None) -> datetime | None:
        if text is None:
            return None
        moment = datetime.fromisoformat(text)
        zone = ZoneInfo(self.context.document.program.timezone)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _actions_of(written: Any) -> Iterator[Action]:
    """All actions within a part of the document: of rules, and all rewards."""
    if isinstance(written, Action):
        yield written
    elif isinstance(written, BaseModel):
        for name in type(written).model_fields:
            yield from _actions_of(getattr(written, name))
    elif isinstance(written, list | tuple):
        for each in written:
            yield from _actions_of(each)
    elif isinstance(written, dict):
        for each in written.values():
            yield from _actions_of(each)


def _texts(localised: Localised | None, locale: str) -> dict[str, str]:
    return {} if localised is None else texts(localised, locale=locale, fallback="")


def _told(each: written.QuestStep) -> str:
    """What a step without a name is called."""
    return each.metric or ", ".join(each.event or ())


def _of_whom(team: bool) -> str:  # noqa: FBT001 - the key of the document
    return "a team quest" if team else "a quest of single members"


def _definition(each: written.Quest, steps: list[Step]) -> str:
    """The hash of what is counted, how far and within which time; names, rewards and gates do not matter."""
    counted: list[Any] = [
        [
            step.kind.value,
            sorted(step.events),
            [condition.source for condition in step.conditions],
            step.value.source if step.value is not None else None,
            step.target,
        ]
        for step in steps
    ]
    whose = ["team"] if each.team else []
    text = json.dumps([counted, each.order, each.window, *whose], separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _cyclic(quests: Mapping[str, written.Quest]) -> list[str]:
    """The quests that wait for themselves."""
    waits = {key: set(each.requires.quests) if each.requires is not None else set() for key, each in quests.items()}
    found = []
    for key, needed in waits.items():
        reached: set[str] = set()
        ahead = list(needed)
        while ahead:
            other = ahead.pop()
            if other not in reached:
                reached.add(other)
                ahead.extend(waits.get(other, ()))
        if key in reached:
            found.append(key)
    return found
