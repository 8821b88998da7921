"""Events that count no longer: when all that an event earned has been taken back, it leaves the metrics as well.

Only what somebody sent is an event here: what came about without one was not earned, and stays.
What it earned is what the rules of its own type gave. What followed from that (a badge, say, and its rewards) is no ground
of the event, but the other way round: its mechanic is told of the changed metrics and decides for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from rewards.domain.ledger.accounts import Kind
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.play import mechanics
from rewards.domain.play.correcting import corrected
from rewards.domain.play.metrics import INVERTIBLE, Stored, retract
from rewards.domain.play.recounting import contributions_of, recount
from rewards.domain.program.compiled import Metric
from rewards.domain.recorded import TIME_PASSED, Earned, Recorded
from rewards.domain.work import Work

_RULE = "rule:"


def take_back_events(work: Work) -> None:
    """Looks at the events of which earnings were taken back since it was last asked. Raises `Unloaded`."""
    while work.withdrawn:
        noted, work.withdrawn = work.withdrawn, {}
        gone = [event for each, reversed_ in noted.items() if (event := _groundless(work, each, reversed_)) is not None]
        if not gone:
            continue
        for event in gone:
            work.taken_back[event.id] = event.member
            work.effects.append({"type": "taken_back", "event": str(event.id)})
        _retract(work, gone)
        mechanics.reassess(work, work.now)


def _groundless(work: Work, identifier: UUID, taken: tuple[UUID, ...]) -> Recorded | None:
    """The event, if it still counts and nothing is left of what it earned. The trace says why not."""
    state = work.state
    event = state.recorded.get(identifier)
    if event is None:
        if identifier not in state.absent:
            raise Unloaded(event=identifier)
        work.trace.append({"taken_back": str(identifier), "result": "not_recorded"})
        return None
    if event.taken_back or identifier in work.taken_back or event.type == TIME_PASSED:
        return None
    earned = [each for each in event.earned if _own(work, event, each.source)]
    if not any(each.transaction in taken for each in earned):
        return None  # only what followed from it was taken back
    left = sum(each.amount - _reversed(work, each) for each in earned) + _earned_now(work, event)
    if left > 0:
        work.trace.append({"taken_back": str(identifier), "result": "still_earned", "left": left})
        return None
    return event


def _own(work: Work, event: Recorded, source: str) -> bool:
    """Whether a rule gave it because of this event, and not of something that followed."""
    if not source.startswith(_RULE):
        return False
    rule = work.program.rules.get(source.removeprefix(_RULE))
    return rule is None or event.type in rule.triggers


def _reversed(work: Work, earned: Earned) -> int:
    return work.reversed.get(earned.transaction, earned.reversed)


def _earned_now(work: Work, event: Recorded) -> int:
    """What it earned in this very command: by a rule that had been waiting."""
    return sum(
        made.amount
        for made in work.draft.transactions
        if made.kind is Kind.EARN and made.origin.event == event.id and _own(work, event, made.origin.source)
    )


def _retract(work: Work, gone: Iterable[Recorded]) -> None:
    """Takes the events out of all that they counted in."""
    metrics = {metric.id: metric for metric in work.program.metrics.values()}
    anew: dict[str, list[Stored]] = {}
    for event in gone:
        for name, stored in contributions_of(work, event):
            metric = metrics.get(name)
            if metric is None:
                mechanic, _, key = name.partition(":")
                mechanics.take_back(work, mechanic, key, stored)
            elif metric.kind in INVERTIBLE:
                _without(work, metric, stored)
            else:
                anew.setdefault(metric.id, []).append(stored)
        work.trace.append({"taken_back": str(event.id), "result": "counts_no_longer"})
    if anew:
        before = {metric_id: work.metrics.get(metric_id) for metric_id in anew}
        recount(work, [metrics[metric_id] for metric_id in anew])
        for metric_id, lost in anew.items():
            rest = work.metrics.get(metric_id)
            left = corrected(metrics[metric_id], before[metric_id], rest, lost, zone=work.zone)
            work.set_metric(metric_id, left)


def _without(work: Work, metric: Metric, stored: Stored) -> None:
    work.set_metric(metric.id, retract(metric, work.metrics.get(metric.id), stored, zone=work.zone))
