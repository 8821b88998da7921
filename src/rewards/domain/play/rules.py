"""Which rules fire for an event, and why the others do not.

Gates are asked in one order: paused, schedule, condition, exclusive, limit, cooldown, budget. The trace names the first
that said no, with what it saw.

A rule whose actions change nothing has `no_effect`: an amount that comes to zero, an attribute that has the value already,
nothing to take back. It uses up no limit, cooldown or budget, for the member got nothing; of an exclusive group it is the
one that was chosen, all the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rewards.domain.effects import EFFECTS_MAX
from rewards.domain.errors import Refusal
from rewards.domain.outcome import Reservation
from rewards.domain.play.actions import CannotCompute, Firing, cost, perform
from rewards.domain.play.budgets import counter_key
from rewards.domain.play.limits import allowed, record
from rewards.domain.program.compiled import Bound, Missing, Rule
from rewards.domain.work import Work


def run_rules(work: Work, rules: tuple[Rule, ...], bound: Bound, *, occurred_at: datetime) -> None:
    """Decides the candidates in order of priority. `bound` is one snapshot for all of their conditions."""
    taken: set[str] = set()
    for rule in rules:
        line: dict[str, Any] = {"rule": rule.key}
        line["result"] = _run(work, rule, bound, occurred_at, taken, line)
        work.trace.append(line)


def _run(
    work: Work,
    rule: Rule,
    bound: Bound,
    occurred_at: datetime,
    taken: set[str],
    line: dict[str, Any],
) -> str:
    if rule.key in work.program.paused:
        return "paused"
    if (rule.starts is not None and occurred_at < rule.starts) or (rule.ends is not None and occurred_at > rule.ends):
        return "schedule"
    when = rule.when
    if when is not None:
        verdict = when.test(bound)
        line["seen"] = when.seen(bound)
        if verdict is not True:
            if isinstance(verdict, Missing):
                line["missing"] = verdict.field
            if rule.otherwise:
                line["otherwise"] = _act(Firing(work, rule, bound, occurred_at), otherwise=True, line=line)
            return "condition_false"
    if rule.exclusive is not None and rule.exclusive in taken:
        line["group"] = rule.exclusive
        return "exclusive"
    if rule.limit or rule.cooldown is not None:
        blocked = allowed(rule.limit, rule.cooldown, work.limits.get(rule.key), at=occurred_at, zone=work.zone)
        if blocked is not None:
            line.update(blocked.details())
            return "cooldown" if blocked.limit is None else "limit"
    result = _act(Firing(work, rule, bound, occurred_at), otherwise=False, line=line)
    if rule.exclusive is not None and result in {"fired", "no_effect"}:
        taken.add(rule.exclusive)
    return result


def _act(firing: Firing, *, otherwise: bool, line: dict[str, Any]) -> str:
    """Performs the actions, all or none of them."""
    work, rule = firing.work, firing.rule
    actions = rule.otherwise if otherwise else rule.then
    if len(work.effects) + len(actions) > EFFECTS_MAX:
        line["most"] = EFFECTS_MAX
        return "effects_exceeded"
    effects = len(work.effects)
    risky = len(actions) > 1 or rule.budget is not None
    point = work.savepoint() if risky else None
    try:
        if not otherwise and rule.budget is not None and not _reserve(firing, line):
            return "budget"
        perform(firing, actions)
    except Refusal as refusal:
        # A single action refuses before it changes anything.
        if point is not None:
            work.rollback(point)
        line["code"] = refusal.code
        line["why"] = refusal.message
        return "cannot_compute" if isinstance(refusal, CannotCompute) else "refused"
    if len(work.effects) == effects:
        if point is not None:
            work.rollback(point)
        return "no_effect"
    if not otherwise and (rule.limit or rule.cooldown is not None):
        work.set_limit(
            rule.key,
            record(
                rule.limit,
                rule.cooldown,
                work.limits.get(rule.key),
                at=firing.occurred_at,
                zone=work.zone,
                late_seconds=work.program.late_seconds,
            ),
        )
    return "fired"


def _reserve(firing: Firing, line: dict[str, Any]) -> bool:
    """Claims the firing's cost on the shared counter; the database has the last word at commit."""
    work, rule = firing.work, firing.rule
    assert rule.budget is not None
    amount = cost(rule, work, firing.bound)
    if amount == 0:
        return True
    key = counter_key(rule.key, rule.budget, firing.occurred_at, work.program.zone)
    used = work.used(key)
    if used + amount > rule.budget.total:
        line.update(used=used, needed=amount, total=rule.budget.total)
        return False
    work.reservations.append(Reservation(key, amount, rule.budget.total))
    return True
