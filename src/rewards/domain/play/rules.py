"""Which rules fire for an event, and why the others do not.

Gates are asked in one order: paused, schedule, condition, exclusive, limit, cooldown, budget. The trace names the first
that said no, with what it saw. A rule that waits does so once its condition holds, and asks the rest when that is over;
of an exclusive group one acts for an event, and of those that wait one at a moment.

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
from rewards.domain.periods import rfc3339
from rewards.domain.play import timers
from rewards.domain.play.actions import CannotCompute, Firing, cost, perform
from rewards.domain.play.budgets import counter_key
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.limits import allowed, record
from rewards.domain.program.compiled import Bound, Condition, Missing, Rule
from rewards.domain.work import Work


def run_rules(work: Work, rules: tuple[Rule, ...], bound: Bound, facts: EventFacts, event_type: str) -> None:
    """Decides the candidates in order of priority. `bound` is one snapshot of `facts` for all of their conditions."""
    taken: set[str] = set()
    for rule in rules:
        line: dict[str, Any] = {"rule": rule.key}
        line["result"] = _run(work, rule, bound, facts, event_type, taken, line)
        work.trace.append(line)


def run_waited(work: Work, rule: Rule, bound: Bound, waited: timers.Waiting, taken: set[str]) -> None:
    """Decides a rule whose waiting is over, at the moment when it was. `taken` are the exclusive groups of that moment."""
    at = waited.due_at
    line: dict[str, Any] = {"rule": rule.key, "event": str(waited.event_id), "due_at": rfc3339(at)}
    if waited.event_type not in rule.triggers:
        line["result"] = "rule_changed"  # the event that began it starts this rule no more, and tells it nothing
    else:
        line["result"] = _closed(work, rule, at) or _after_waiting(work, rule, bound, at, taken, line)
    work.trace.append(line)


def _run(
    work: Work,
    rule: Rule,
    bound: Bound,
    facts: EventFacts,
    event_type: str,
    taken: set[str],
    line: dict[str, Any],
) -> str:
    occurred_at = facts.at
    if (rule.starts or rule.ends or work.program.paused) and (closed := _closed(work, rule, occurred_at)):
        return closed
    when = rule.when
    if when is not None and not _holds(when, bound, line):
        if rule.otherwise:
            line["otherwise"] = _act(rule, Firing(work, rule.cause, bound, occurred_at), otherwise=True, line=line)
        return "condition_false"
    if rule.wait is not None:
        due_at = timers.start(
            work,
            rule,
            event_type=event_type,
            properties=facts.event,
            context=facts.context,
            occurred_at=occurred_at,
        )
        if isinstance(due_at, timers.NotStarted):
            return due_at.value
        line["due_at"] = rfc3339(due_at)
        return "waiting"
    return _fire(work, rule, bound, occurred_at, taken, line)


def _closed(work: Work, rule: Rule, at: datetime) -> str | None:
    """Why the rule is not in force at a moment, if it is not."""
    if rule.key in work.program.paused:
        return "paused"
    if (rule.starts is not None and at < rule.starts) or (rule.ends is not None and at > rule.ends):
        return "schedule"
    return None


def _holds(condition: Condition, bound: Bound, line: dict[str, Any]) -> bool:
    verdict = condition.test(bound)
    line["seen"] = condition.seen(bound)
    if isinstance(verdict, Missing):
        line["missing"] = verdict.field
    return verdict is True


def _after_waiting(work: Work, rule: Rule, bound: Bound, at: datetime, taken: set[str], line: dict[str, Any]) -> str:
    assert rule.wait is not None
    if rule.wait.still is not None and not _holds(rule.wait.still, bound, line):
        return "condition_false"
    return _fire(work, rule, bound, at, taken, line)


def _fire(work: Work, rule: Rule, bound: Bound, at: datetime, taken: set[str], line: dict[str, Any]) -> str:
    if rule.exclusive is not None and rule.exclusive in taken:
        line["group"] = rule.exclusive
        return "exclusive"
    if rule.limit or rule.cooldown is not None:
        blocked = allowed(rule.limit, rule.cooldown, work.limits.get(rule.key), at=at, zone=work.zone)
        if blocked is not None:
            line.update(blocked.details())
            return "cooldown" if blocked.limit is None else "limit"
    result = _act(rule, Firing(work, rule.cause, bound, at), otherwise=False, line=line)
    if rule.exclusive is not None and result in {"fired", "no_effect"}:
        taken.add(rule.exclusive)
    return result


def _act(rule: Rule, firing: Firing, *, otherwise: bool, line: dict[str, Any]) -> str:
    """Performs the actions, all or none of them."""
    work = firing.work
    actions = rule.otherwise if otherwise else rule.then
    if len(actions) > work.room():
        line["most"] = EFFECTS_MAX
        return "effects_exceeded"
    effects = len(work.effects)
    risky = len(actions) > 1 or rule.budget is not None
    point = work.savepoint() if risky else None
    try:
        if not otherwise and rule.budget is not None and not _reserve(rule, firing, line):
            return "budget"
        perform(firing, actions)
        if firing.tier_rate is not None:
            line["tier_rate"] = str(firing.tier_rate)
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


def _reserve(rule: Rule, firing: Firing, line: dict[str, Any]) -> bool:
    """Claims the firing's cost on the shared counter; the database has the last word at commit."""
    work = firing.work
    assert rule.budget is not None
    amount = cost(rule, firing)
    if amount == 0:
        return True
    key = counter_key(rule.key, rule.budget, firing.occurred_at, work.program.zone)
    used = work.used(key)
    if used + amount > rule.budget.total:
        line.update(used=used, needed=amount, total=rule.budget.total)
        return False
    work.reservations.append(Reservation(key, amount, rule.budget.total))
    return True
