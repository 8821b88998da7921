"""The actions of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rewards.domain.program.amounts import DecimalAmount, always, compile_amount
from rewards.domain.program.badge import BadgeAction
from rewards.domain.program.binding import Needs
from rewards.domain.program.board import ScoreAction
from rewards.domain.program.compiled import (
    Action,
    EarnAction,
    EmitAction,
    MatureAction,
    ReverseAction,
    Rounding,
    SetAction,
    SpendAction,
)
from rewards.domain.program.compiling.context import Context
from rewards.domain.program.compiling.currencies import build_expiry, build_own_expiry, warn_of_term
from rewards.domain.program.compiling.events import Catalogue
from rewards.domain.program.compiling.segments import check_memberships, check_splits
from rewards.domain.program.currency import OwnExpiry
from rewards.domain.program.expressions.fields import Kind
from rewards.domain.program.expressions.nodes import ExpressionError
from rewards.domain.program.expressions.scope import Scope
from rewards.domain.program.models import actions as written
from rewards.domain.program.models.base import duration
from rewards.domain.program.quest import BeginQuest
from rewards.domain.program.streak import FreezesAction
from rewards.domain.program.values import CelValue, Constant, FieldValue, compile_value

AnyValue = FieldValue | CelValue | Constant


@dataclass(slots=True)
class ActionBuilder:
    """Builds actions of one rule; `needs` gathers what must be bound for them.

    `out_of_reach` are metrics that the rule cannot read, and why; `triggers` the events that it is about, if any.
    """

    context: Context
    catalogue: Catalogue
    scope: Scope
    out_of_reach: Mapping[str, str]
    triggers: tuple[str, ...] = ()
    needs: list[Needs] = field(default_factory=list)

    def build(self, action: written.Action, path: str) -> Action | None:
        """None after reporting what is wrong."""
        content = action.content
        path = f"{path}.{action.kind}"
        if isinstance(content, written.Earn | written.Spend):
            return self._paying(content, path)
        if isinstance(content, written.Reverse | written.Mature):
            reference = self._reference(content.reference, f"{path}.reference")
            kind = ReverseAction if isinstance(content, written.Reverse) else MatureAction
            return kind(reference, content.bind) if reference is not None else None
        if isinstance(content, written.Set):
            return self._set(content, path)
        if isinstance(content, written.GiveBadge):
            return self._badge(content, path)
        if isinstance(content, written.BeginQuest):
            known = self.context.refers(f"{path}.key", "quest", "quests", content.key, self.context.document.quests)
            return BeginQuest(content.key, content.bind, self._completion()) if known else None
        if isinstance(content, written.Score):
            return self._score(content, path)
        if isinstance(content, written.GiveFreezes):
            return self._freezes(content, path)
        assert isinstance(content, written.Emit)
        return self._emit(content, path)

    def _paying(self, content: written.Earn | written.Spend, path: str) -> EarnAction | SpendAction | None:
        declared = self.context.document.currencies
        known = self.context.refers(f"{path}.currency", "currency", "currencies", content.currency, declared)
        amount = self._amount(content.amount, f"{path}.amount")
        reference = self._reference(content.reference, f"{path}.reference") if content.reference else None
        expires = None
        if isinstance(content, written.Earn):
            expires = build_own_expiry(self.context, content.expires, f"{path}.expires")
            if known:
                self._warn_of_term(content, expires, path)
        if not known or amount is None or (content.reference and reference is None):
            return None
        rate, rounding = Decimal(repr(content.rate)), Rounding(content.round)
        constant = always(amount, rate, rounding)
        if isinstance(content, written.Spend):
            if not declared[content.currency].spendable:
                message = f"{content.currency} is not spendable"
                self.context.problems.error(f"{path}.currency", "not-spendable", message)
            return SpendAction(content.currency, amount, rate, rounding, reference, content.bind, constant)
        matured = content.hold == "until_matured"
        return EarnAction(
            currency=content.currency,
            amount=amount,
            rate=rate,
            round=rounding,
            reference=reference,
            hold=None if matured else duration(content.hold),
            until_matured=matured,
            expires=expires,
            bind=content.bind,
            always=constant,
        )

    def _warn_of_term(self, content: written.Earn, expires: OwnExpiry, path: str) -> None:
        """Of what the action says itself; of what its currency says, that is told there."""
        if content.hold == "until_matured" or (content.hold is None and content.expires is None):
            return
        currency = self.context.document.currencies[content.currency]
        hold = duration(content.hold or currency.hold)
        where = f"{path}.{'expires' if content.hold is None else 'hold'}"
        warn_of_term(self.context, where, hold, expires or build_expiry(currency.expires))

    def _set(self, content: written.Set, path: str) -> SetAction | None:
        declared = self.context.document.attributes
        known = self.context.refers(f"{path}.attribute", "attribute", "attributes", content.attribute, declared)
        value = self._value(content.value, f"{path}.value")
        if not known or value is None:
            return None
        wanted = self.catalogue.attribute_types[content.attribute].kind
        self._fits(value, wanted, f"{path}.value", f"the attribute {content.attribute}")
        return SetAction(content.attribute, value, content.bind)

    def _emit(self, content: written.Emit, path: str) -> EmitAction | None:
        if not self.context.refers(f"{path}.type", "event", "events", content.type, self.context.document.events):
            return None
        event = self.context.document.events[content.type]
        declared = self.catalogue.properties[content.type]
        values: dict[str, Any] = {}
        for name, source in content.properties.items():
            where = f"{path}.properties.{name}"
            value = self._value(source, where)
            if name in declared:
                if value is not None:
                    self._fits(value, declared[name].kind, where, f"event.{name}")
            elif event.undeclared == "drop":
                self.context.problems.unknown(where, "property", name, declared)
            values[name] = value
        for name in event.required:
            if name not in content.properties:
                message = f"{content.type} requires {name}"
                self.context.problems.error(f"{path}.properties", "required", message)
        return EmitAction(content.type, values, content.bind) if None not in values.values() else None

    def _badge(self, content: written.GiveBadge, path: str) -> BadgeAction | None:
        declared = self.context.document.badges
        if not self.context.refers(f"{path}.key", "badge", "badges", content.key, declared):
            return None
        badge = declared[content.key]
        if badge.metric is not None:
            message = f"{content.key} is reached by metrics.{badge.metric}; no action gives it"
            self.context.problems.error(f"{path}.key", "not-given", message)
        most = len(badge.levels or (None,))
        if content.level > most:
            message = f"{content.key} has {most} level{'s' if most > 1 else ''}"
            self.context.problems.error(f"{path}.level", "value", message)
        return BadgeAction(content.key, content.level, content.bind)

    def _completion(self) -> tuple[AnyValue, AnyValue] | None:
        """What reads the completion that the rule may follow from; None where it can follow from none."""
        if "quest.completed" not in self.triggers:
            return None
        try:
            quest, instance = (compile_value(f"event.{name}", self.scope) for name in ("quest", "instance"))
        except ExpressionError:
            return None  # events of one rule that mean different things by it
        self.needs += [quest.needs, instance.needs]
        return quest, instance

    def _score(self, content: written.Score, path: str) -> ScoreAction | None:
        declared = self.context.document.leaderboards
        known = self.context.refers(f"{path}.leaderboard", "leaderboard", "leaderboards", content.leaderboard, declared)
        value = self._value(content.value, f"{path}.value")
        if value is not None and value.kind not in {Kind.NUMBER, Kind.ANY}:
            self.context.problems.error(f"{path}.value", "type", f"a score is a number, this is {value.kind.value}")
        return ScoreAction(content.leaderboard, value, content.bind) if known and value is not None else None

    def _freezes(self, content: written.GiveFreezes, path: str) -> FreezesAction | None:
        declared = self.context.document.streaks
        if not self.context.refers(f"{path}.key", "streak", "streaks", content.key, declared):
            return None
        if declared[content.key].freezes is None:
            self.context.problems.error(f"{path}.freezes", "no-freezes", f"the streak {content.key} has no freezes")
        return FreezesAction(content.key, content.freezes, content.bind)

    def _amount(self, source: str | int, path: str) -> DecimalAmount | None:
        amount = self.context.expression(path, str(source), lambda: compile_amount(source, self.scope))
        if amount is not None:
            self._bind(path, amount.needs)
        return amount

    def _reference(self, source: str, path: str) -> AnyValue | None:
        value = self._value(source, path)
        if value is not None and value.kind not in {Kind.TEXT, Kind.NUMBER, Kind.ANY}:
            self.context.problems.error(path, "type", f"a reference is a text, this is {value.kind.value}")
        return value

    def _value(self, source: str | float, path: str) -> AnyValue | None:
        if not isinstance(source, str):
            return Constant(source, Kind.FLAG if isinstance(source, bool) else Kind.NUMBER)
        check_memberships(self.context, path, source)
        value = self.context.expression(path, source, lambda: compile_value(source, self.scope))
        if value is not None:
            self._bind(path, value.needs)
        return value

    def _bind(self, path: str, needs: Needs) -> None:
        check_splits(self.context, path, needs.names, self.out_of_reach)
        self.needs.append(needs)

    def _fits(self, value: AnyValue, wanted: Kind, path: str, what: str) -> None:
        if Kind.ANY in {value.kind, wanted} or value.kind is wanted:
            return
        if {value.kind, wanted} <= {Kind.ITEMS, Kind.TEXTS, Kind.NUMBERS} or {value.kind, wanted} == _TEXTUAL:
            return
        self.context.problems.error(path, "type", f"{what} is {wanted.value}, this is {value.kind.value}")


_TEXTUAL = {Kind.TEXT, Kind.MOMENT}
