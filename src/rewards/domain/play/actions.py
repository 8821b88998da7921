"""What a rule does once it fires: each action changes the draft and leaves an effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final, TypeAlias

from rewards.domain.errors import Refusal, SchemaViolation
from rewards.domain.ledger.accounts import AMOUNT_MAX, Book, Kind
from rewards.domain.ledger.earn import earn
from rewards.domain.ledger.entry import AmountOverflow
from rewards.domain.ledger.spend import spend
from rewards.domain.ledger.upkeep import mature
from rewards.domain.play.tier_held import tier_at
from rewards.domain.program.amounts import rated, rounded
from rewards.domain.program.compiled import (
    Action,
    Bound,
    BudgetUnit,
    Cause,
    EarnAction,
    EmitAction,
    MatureAction,
    Missing,
    Rule,
    SetAction,
    SpendAction,
    Value,
)
from rewards.domain.work import Work


class CannotCompute(Refusal):
    """An action needs a value that the event does not carry, or one that is no amount. The rule does not fire."""

    code = "cannot-compute"


@dataclass(slots=True)
class Firing:
    """A rule, or whatever else of the document has something to give, about to act."""

    work: Work
    cause: Cause
    bound: Bound
    occurred_at: datetime
    reference: str | None = None
    """What ledger entries carry whose action names none."""
    tier_rate: Decimal | None = None
    """By what the tier held has multiplied what was earned, for the trace."""


Perform: TypeAlias = Callable[[Firing, Any], None]


def points(action: EarnAction | SpendAction, bound: Bound, tier_rate: Decimal | None = None) -> int:
    """The integer amount, in decimal arithmetic with explicit rounding; `tier_rate` multiplies it before it is rounded.

    Raises `CannotCompute` when a field is missing or the result is negative, `AmountOverflow` past `AMOUNT_MAX`: the rule
    does not fire, as when the sum of what was earned would pass it.
    """
    if action.always is not None and tier_rate is None:
        return action.always
    amount = action.amount
    raw = amount.compute(bound)
    if isinstance(raw, Missing):
        raise CannotCompute(f"{raw.field} is {raw.why}", field=raw.field)
    exact = rated(raw, action.rate if tier_rate is None else action.rate * tier_rate)
    if not exact.is_finite() or exact < 0:
        raise CannotCompute(f"{amount.source} gives {exact}, which is no amount", field=amount.source)
    if exact > AMOUNT_MAX:
        raise AmountOverflow(f"{amount.source} gives more than {AMOUNT_MAX}", most=AMOUNT_MAX)
    return rounded(exact, action.round)


def tier_rate(firing: Firing, action: EarnAction) -> Decimal | None:
    """By what the tier held at the event multiplies what a rule earns; None where it leaves it as it is."""
    ladder = firing.work.program.tiers
    if ladder is None or firing.cause.kind != "rule" or action.currency not in ladder.multiplies:
        return None
    tier = tier_at(ladder, firing.work.play, firing.occurred_at)
    return None if tier is None or tier.earn_rate == 1 else tier.earn_rate


def cost(rule: Rule, firing: Firing) -> int:
    """What one firing takes from the rule's budget, in the budget's unit; an action's own currency worth decides money."""
    budget = rule.budget
    assert budget is not None
    if budget.unit is BudgetUnit.TIMES:
        return 1
    total = Decimal(0)
    for action in rule.then:
        if isinstance(action, EarnAction) and budget.currency in (None, action.currency):
            issued = points(action, firing.bound, tier_rate(firing, action))
            worth = firing.work.program.currencies[action.currency].worth if budget.unit is BudgetUnit.MONEY else 1
            total += issued * worth
    return int(total.to_integral_value(ROUND_CEILING))


def performs(kind: type) -> Callable[[Perform], Perform]:
    """Marks how actions of `kind` are performed, for mechanics that have some of their own."""

    def marked(how: Perform) -> Perform:
        _PERFORM[kind] = how
        return how

    return marked


def perform(firing: Firing, actions: tuple[Action, ...]) -> None:
    """All actions of a rule in order. A refusal leaves as it came; the caller undoes what was done before it."""
    for action in actions:
        _PERFORM[type(action)](firing, action)


def read_text(value: Value | None, bound: Bound) -> str | None:
    """What an action says of itself, such as its reference. Raises `CannotCompute` where it is missing."""
    if value is None:
        return None
    found = value.read(bound)
    if isinstance(found, Missing):
        raise CannotCompute(f"{found.field} is {found.why}", field=found.field)
    return str(found)


def _earn(firing: Firing, action: EarnAction) -> None:
    rate = tier_rate(firing, action)
    amount = points(action, firing.bound, rate)
    if amount == 0:
        return
    work = firing.work
    transaction = earn(
        work.draft,
        work.program.currencies[action.currency],
        amount,
        work.origin(firing.cause.source, reference=read_text(action.reference, firing.bound) or firing.reference),
        zone=work.program.zone,
        effective_at=firing.occurred_at,
        hold=action.hold,
        until_matured=action.until_matured,
        expires=action.expires,
    )
    work.note_earning(transaction)
    effect = work.ledger_effect(transaction, name="earn", cause=firing.cause)
    if rate is not None:
        firing.tier_rate = rate
        effect["tier_rate"] = str(rate)
    if transaction.postings[0].credit is Book.PENDING:  # issuing comes first; what follows only pays debt
        effect["pending"] = True


def _spend(firing: Firing, action: SpendAction) -> None:
    amount = points(action, firing.bound)
    if amount == 0:
        return
    work = firing.work
    transaction = spend(
        work.draft,
        work.program.currencies[action.currency],
        amount,
        work.origin(firing.cause.source, reference=read_text(action.reference, firing.bound) or firing.reference),
    )
    work.ledger_effect(transaction, name="spend", cause=firing.cause)


def _mature(firing: Firing, action: MatureAction) -> None:
    reference = read_text(action.reference, firing.bound)
    assert reference is not None
    work = firing.work
    lots = [
        posting.lot
        for original in work.carrying(reference)
        if original.kind is Kind.EARN
        for posting in original.postings
        if posting.credit is Book.PENDING and posting.lot is not None
    ]
    first = len(work.draft.transactions)
    mature(work.draft, lots, work.origin(firing.cause.source, reference=reference))
    for transaction in work.draft.transactions[first:]:
        work.ledger_effect(transaction, name="mature", cause=firing.cause)


def _set(firing: Firing, action: SetAction) -> None:
    found = action.value.read(firing.bound)
    if isinstance(found, Missing):
        raise CannotCompute(f"{found.field} is {found.why}", field=found.field)
    work = firing.work
    try:
        value = work.program.attributes[action.attribute].accept(found)
    except SchemaViolation as violation:
        raise CannotCompute(violation.message, field=action.attribute) from violation
    if work.attributes.get(action.attribute) != value:
        work.set_attribute(action.attribute, value)
        work.effects.append(
            {"type": "set", "attribute": action.attribute, "value": value, firing.cause.kind: firing.cause.key}
        )


def _emit(firing: Firing, action: EmitAction) -> None:
    properties = {}
    for name, value in action.properties.items():
        found = value.read(firing.bound)
        if not isinstance(found, Missing):
            properties[name] = found
    firing.work.emitted.append((action.type, properties))
    firing.work.effects.append({"type": "event", "event": action.type, firing.cause.kind: firing.cause.key})


_PERFORM: Final[dict[type, Perform]] = {
    EarnAction: _earn,
    SpendAction: _spend,
    MatureAction: _mature,
    SetAction: _set,
    EmitAction: _emit,
}
