"""Streaks: what keeps them, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rewards.domain.periods import Calendar
from rewards.domain.program.amounts import exact
from rewards.domain.program.binding import Plans
from rewards.domain.program.compiled import SUM_SCALE, Action
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.events import Catalogue, resolve_events
from rewards.domain.program.compiling.rewards import RewardBuilder
from rewards.domain.program.compiling.scopes import Scopes
from rewards.domain.program.conditions import CelCondition, compile_condition
from rewards.domain.program.durations import in_words
from rewards.domain.program.expressions.fields import Kind
from rewards.domain.program.expressions.scope import Scope
from rewards.domain.program.models import streaks as written
from rewards.domain.program.models.base import Localised, duration, texts
from rewards.domain.program.streak import Freezes, Milestone, PauseTerms, Streak
from rewards.domain.program.values import CelValue, FieldValue, compile_value

PAUSE_MAX: Final = timedelta(days=400)
_SHORTEST: Final = {
    Calendar.DAY: timedelta(hours=23),
    Calendar.WEEK: timedelta(days=7, hours=-1),
    Calendar.MONTH: timedelta(days=28, hours=-1),
}


@dataclass(slots=True)
class StreakBuilder:
    """Builds the streaks of a document one by one."""

    context: Context
    catalogue: Catalogue
    scopes: Scopes
    inputs: Plans
    rewards: RewardBuilder

    def build_all(self) -> dict[str, Streak]:
        """Those that are in order, by key; what is wrong with the others is reported."""
        built = {key: self._build(key, each) for key, each in self.context.document.streaks.items()}
        return {key: streak for key, streak in built.items() if streak is not None}

    def _build(self, key: str, each: written.Streak) -> Streak | None:
        path = f"streaks.{key}"
        before = len(self.context.problems.errors)
        events = resolve_events(self.context, self.catalogue, each.on, f"{path}.on")
        scope = self.scopes.metric(events, each)
        where = self._where(each.where, f"{path}.where", scope)
        value = self._value(each.value, f"{path}.value", scope)
        freezes = self._freezes(each, path)
        milestones = tuple(self._milestone(one, f"{path}.milestones.{at}") for at, one in enumerate(each.milestones))
        rewards = self.rewards.build(each.rewards, f"{path}.rewards")
        pause = self._pause(each, f"{path}.pause")
        self._remarks(each, path)
        if events is None or len(self.context.problems.errors) > before:
            return None
        for part in (where, value):
            if part is not None:
                self.inputs.add(events, part.needs)
        target = exact(each.target)
        assert target is not None
        return Streak(
            key=key,
            name=texts(each.name, locale=self.context.document.program.locale, fallback=key),
            description=self._texts(each.description),
            image=self._texts(each.image),
            events=frozenset(events),
            where=where,
            value=value,
            target=max(1, int(target * SUM_SCALE)) if value is not None else int(target),
            per=Calendar(each.per),
            freezes=freezes,
            pause=pause,
            warn_before=duration(each.warn_before),
            milestones=milestones,
            rewards=rewards,
        )

    def _where(self, source: str | None, path: str, scope: Scope) -> CelCondition | None:
        if source is None:
            return None
        return self.context.expression(path, source, lambda: compile_condition(source, scope))

    def _value(self, source: str | None, path: str, scope: Scope) -> FieldValue | CelValue | None:
        if source is None:
            return None
        value = self.context.expression(path, source, lambda: compile_value(source, scope))
        if value is not None and value.kind not in {Kind.NUMBER, Kind.ANY}:
            self.context.problems.error(path, "type", f"a streak sums numbers, this is {value.kind.value}")
        return value

    def _freezes(self, each: written.Streak, path: str) -> Freezes:
        freezes = each.freezes
        if freezes is None:
            return Freezes(0, 0, 0)
        price = freezes.price
        if price is not None:
            declared = self.context.document.currencies
            where = f"{path}.freezes.price.currency"
            known = self.context.refers(where, "currency", "currencies", price.currency, declared)
            if known and not declared[price.currency].spendable:
                self.context.problems.error(where, "not-spendable", f"{price.currency} is not spendable")
        return Freezes(
            most=freezes.most,
            start=freezes.start,
            earn_every=freezes.earn_every or 0,
            currency=price.currency if price is not None else None,
            amount=price.amount if price is not None else 0,
        )

    def _milestone(self, each: written.Milestone, path: str) -> Milestone:
        rewards: tuple[Action, ...] = self.rewards.build(each.rewards, f"{path}.rewards")
        return Milestone(each.at or 0, each.every or 0, self._texts(each.name), rewards)

    def _texts(self, localised: Localised | None) -> dict[str, str] | None:
        if localised is None:
            return None
        return texts(localised, locale=self.context.document.program.locale, fallback="")

    def _pause(self, each: written.Streak, path: str) -> PauseTerms | None:
        if each.pause is None:
            return None
        longest, per_year = duration(each.pause.longest), duration(each.pause.per_year)
        assert longest is not None
        if longest > PAUSE_MAX:
            self.context.problems.error(f"{path}.longest", "too-long", "a pause is at most 400 days")
        terms = PauseTerms.of(Calendar(each.per), longest, per_year)
        needed = terms.counted_seconds(int(longest.total_seconds()))
        if per_year is not None and per_year > PAUSE_MAX:
            self.context.problems.error(f"{path}.per_year", "too-long", "of a year at most 400 days can be paused")
        elif terms.per_year_seconds < needed:
            message = f"the longest pause counts for {in_words(needed)}, which is more than per_year allows"
            self.context.problems.error(f"{path}.per_year", "too-short", message)
        return terms

    def _remarks(self, each: written.Streak, path: str) -> None:
        warn_before = duration(each.warn_before)
        if warn_before is not None and warn_before >= _SHORTEST[Calendar(each.per)]:
            message = f"a warning comes within the period, so less than the shortest {each.per} before its end"
            self.context.problems.error(f"{path}.warn_before", "too-long", message)
        known = [(one.at, one.every) for one in each.milestones]
        for position, one in enumerate(known):
            if one in known[:position]:
                message = "two milestones have the same length"
                self.context.problems.error(f"{path}.milestones.{position}", "duplicate-key", message)
