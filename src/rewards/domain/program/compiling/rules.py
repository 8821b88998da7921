"""Rules, and remarks about rules that cannot work as meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from rewards.domain.program.binding import BoundFacts, Needs, Plan, Plans
from rewards.domain.program.compiled import Action, Budget, BudgetUnit, Limit, Metric, Missing, Rule, Wait
from rewards.domain.program.compiling.actions import ActionBuilder
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.events import Catalogue, resolve_events
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.compiling.segments import (
    check_memberships,
    check_splits,
    metrics_read,
    splits_out_of_reach,
)
from rewards.domain.program.conditions import CelCondition, compile_condition
from rewards.domain.program.expressions.scope import Scope
from rewards.domain.program.models import rules as written
from rewards.domain.program.models.actions import Action as WrittenAction
from rewards.domain.program.models.base import duration, span


@dataclass(slots=True)
class RuleBuilder:
    """Builds the rules of a document one by one."""

    context: Context
    catalogue: Catalogue
    scopes: Scopes
    plans: Plans
    metrics: Mapping[str, Metric]
    zone: ZoneInfo

    def build(self, position: int, rule: written.Rule) -> Rule | None:
        """None after reporting what is wrong."""
        path = f"rules.{rule.key}"
        before = len(self.context.problems.errors)
        triggers = resolve_events(self.context, self.catalogue, rule.on, f"{path}.on")
        starts, ends = self._moment(rule.starts), self._moment(rule.ends)
        budget = self._budget(rule, path)
        self._remarks(rule, path, starts, ends)
        scope = self.scopes.rule(triggers, rule)
        out_of_reach = splits_out_of_reach(self.metrics, triggers)
        when = self._condition(rule.when, f"{path}.when", rule, scope, out_of_reach)
        actions = ActionBuilder(self.context, self.catalogue, scope, out_of_reach, triggers or ())
        then = self._actions(actions, rule.then, f"{path}.then")
        otherwise = self._actions(actions, rule.otherwise, f"{path}.otherwise")
        of = resolve_events(self.context, self.catalogue, _silence_of(rule), f"{path}.quiet.of")
        unless = resolve_events(self.context, self.catalogue, rule.unless or [], f"{path}.unless")
        still = self._condition(rule.still, f"{path}.still", rule, scope, out_of_reach)
        if triggers is None or of is None or unless is None or len(self.context.problems.errors) > before:
            return None
        needs = [*actions.needs, *(condition.needs for condition in (when, still) if condition is not None)]
        for each in needs:
            self.plans.add(triggers, each)
        return Rule(
            key=rule.key,
            position=position,
            triggers=frozenset(triggers),
            when=when,
            limit=tuple(Limit(each.times, span(each.per)) for each in rule.limit),
            cooldown=duration(rule.cooldown),
            budget=budget,
            priority=rule.priority,
            exclusive=rule.exclusive,
            starts=starts,
            ends=ends,
            then=then,
            otherwise=otherwise,
            wait=self._wait(rule, triggers, of, unless, still or when, needs),
            stage=rule.stage,
            intent=rule.intent,
        )

    def _wait(
        self,
        rule: written.Rule,
        triggers: tuple[str, ...],
        of: tuple[str, ...],
        unless: tuple[str, ...],
        still: CelCondition | None,
        needs: list[Needs],
    ) -> Wait | None:
        length = duration(rule.quiet.length if rule.quiet is not None else rule.delay)
        if length is None:
            return None
        match = rule.quiet.match if rule.quiet is not None else None
        if match is not None:
            self._check_match(rule, match, (*triggers, *of, *unless))
        names = {name for each in needs for name in each.names}
        for metric in self.metrics.values():
            if metric.by is not None and metric.key in metrics_read(tuple(names)):
                names.update(metric.by.fields)
        properties = {name.split(".")[1] for name in names if name.startswith("event.")} | ({match} if match else set())
        context = {name.split(".")[1] for name in names if name.startswith("context.")}
        return Wait(
            length=length,
            of=frozenset(of),
            match=match,
            unless=frozenset(unless),
            still=still,
            properties=tuple(sorted(properties)),
            context=tuple(sorted(context)),
        )

    def _check_match(self, rule: written.Rule, match: str, events: tuple[str, ...]) -> None:
        """Some of the events must carry the property; those that do not are never of the same."""
        known = {name for event in events for name in self.catalogue.properties.get(event, {})}
        if match not in known:
            self.context.problems.unknown(f"rules.{rule.key}.quiet.match", "property", match, sorted(known))

    def _condition(
        self, source: str | None, path: str, rule: written.Rule, scope: Scope, out_of_reach: Mapping[str, str]
    ) -> CelCondition | None:
        if source is None:
            return None
        check_memberships(self.context, path, source)
        condition = self.context.expression(path, source, lambda: compile_condition(source, scope))
        if condition is None:
            return None
        check_splits(self.context, path, condition.fields, out_of_reach)
        if not condition.fields:
            outcome = condition.test(BoundFacts("", {}, Plan(scope.engine, ())))
            if isinstance(outcome, Missing):
                self.context.problems.error(path, "constant", f"can never be decided: {outcome.why}")
            elif not outcome and not rule.otherwise:
                self.context.problems.warn(path, "never-fires", "the condition is always false")
        return condition

    def _actions(self, builder: ActionBuilder, actions: list[WrittenAction], path: str) -> tuple[Action, ...]:
        names = [action.content.bind for action in actions if action.content.bind is not None]
        if len(names) != len(set(names)):
            self.context.problems.error(path, "duplicate-name", "two actions are bound to one name")
        built = [builder.build(action, f"{path}.{position}") for position, action in enumerate(actions)]
        return tuple(action for action in built if action is not None)

    def _budget(self, rule: written.Rule, path: str) -> Budget | None:
        budget = rule.budget
        if budget is None:
            return None
        path = f"{path}.budget"
        earned = list(dict.fromkeys(action.earn.currency for action in rule.then if action.earn is not None))
        declared = self.context.document.currencies
        if budget.times is not None:
            return Budget(BudgetUnit.TIMES, budget.times, span(budget.per))
        if not earned:
            self.context.problems.warn(path, "budget-without-cost", "the rule pays nothing that the budget could count")
        if budget.money is not None:
            for currency in earned:
                if currency in declared and declared[currency].worth == 0:
                    message = f"{currency} has no worth, so paying it costs this budget nothing"
                    self.context.problems.warn(path, "budget-without-cost", message)
            return Budget(BudgetUnit.MONEY, budget.money, span(budget.per))
        assert budget.points is not None
        counted = budget.currency or (earned[0] if len(earned) == 1 else None)
        if counted is None and earned:
            self.context.problems.error(path, "currency", f"say which currency it counts: {', '.join(earned)}")
        elif counted is not None and earned and counted not in earned:
            self.context.problems.unknown(f"{path}.currency", "currency", counted, earned)
        return Budget(BudgetUnit.POINTS, budget.points, span(budget.per), counted)

    def _remarks(self, rule: written.Rule, path: str, starts: datetime | None, ends: datetime | None) -> None:
        warn = self.context.problems.warn
        if starts is not None and ends is not None and ends <= starts:
            warn(f"{path}.ends", "never-fires", "the rule ends before it starts")
        if any(limit.times == 0 for limit in rule.limit):
            warn(f"{path}.limit", "never-fires", "a limit of 0 switches the rule off")
        if not rule.then and not rule.otherwise:
            warn(f"{path}.then", "no-effect", "the rule does nothing")
        if rule.exclusive is not None and _waits(rule):
            group = [each for each in self.context.document.rules if each.exclusive == rule.exclusive and _waits(each)]
            if len(group) == 1:
                message = "of its group it alone waits, and at the moment at which that is over it keeps no other rule from acting"
                warn(f"{path}.exclusive", "no-effect", message)
        if rule.otherwise and rule.when is None:
            warn(f"{path}.otherwise", "never-fires", "without a condition there is no otherwise")

    def _moment(self, text: str | None) -> datetime | None:
        if text is None:
            return None
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=self.zone)


def _waits(rule: written.Rule) -> bool:
    return rule.delay is not None or rule.quiet is not None


def _silence_of(rule: written.Rule) -> list[str]:
    """The events whose absence a rule waits for."""
    if rule.quiet is None:
        return []
    return rule.quiet.of if rule.quiet.of is not None else rule.on
