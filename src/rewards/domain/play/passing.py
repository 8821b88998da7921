"""What time does by itself: rules that have waited long enough, and segments that silence has ended.

All of it follows from the member's document. Every command first lets the time pass that has passed; a wake-up sees to it
that this happens when nobody sends one. Rules that waited see the balances and segments of the moment at which they are
run: points that matured or expired meanwhile are posted before them, segments are left after them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from rewards.domain.outcome import Outcome
from rewards.domain.play import mechanics, timers
from rewards.domain.play.deciding import follow_emitted, place_in_segments
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.metrics import next_change
from rewards.domain.play.rules import run_waited
from rewards.domain.program.compiled import Missing
from rewards.domain.work import Work

MOMENTS_MAX: Final = 200


def pass_time(work: Work) -> None:
    """Does what fell due by `work.now`, in the order in which it fell due."""
    taken: dict[int, set[str]] = {}
    for _ in range(MOMENTS_MAX):
        work.effects_before = len(work.effects)
        if not _pass_one(work, taken):
            break
    work.effects_before = len(work.effects)
    place_in_segments(work)
    follow_emitted(work, work.now)
    work.effects_before = len(work.effects)


def _pass_one(work: Work, taken: dict[int, set[str]]) -> bool:
    """Does what fell due first; False when nothing is due. `taken` are the exclusive groups of rules, by moment."""
    over = timers.next_at(work)
    playing = mechanics.next_of(work)
    if playing is not None and (over is None or playing[0] < over):
        moment, mechanic = playing
        if moment > work.now:
            return False
        mechanic.pass_to(work, moment)
        follow_emitted(work, moment)
        return True
    waited = timers.take_due(work)
    if waited is None:
        return False
    _end_waiting(work, *waited, taken)
    return True


def _end_waiting(work: Work, rule_key: str, waited: timers.Waiting, taken: dict[int, set[str]]) -> None:
    rule = work.program.rules[rule_key]
    facts = EventFacts(work, event=waited.properties, context=waited.context, at=waited.due_at)
    _split(work, waited.event_type, facts)
    work.cause = waited.event_id
    of_moment = taken.setdefault(waited.due_micros, set())
    run_waited(work, rule, work.program.bind(waited.event_type, facts), waited, of_moment)
    work.cause = work.id
    follow_emitted(work, waited.due_at)


def _split(work: Work, event_type: str, facts: EventFacts) -> None:
    """Says for which value the split metrics of the triggering event are read."""
    bound = work.program.bind_inputs(event_type, facts)
    for metric in work.program.metrics_by_event.get(event_type, ()):
        by = metric.by.read(bound) if metric.by is not None else None
        if by is not None and not isinstance(by, Missing):
            facts.split(metric.key, str(by))


def arrange(work: Work, outcome: Outcome, *, anew: bool) -> None:
    """Asks to be woken when time alone does something next, unless an earlier wake-up is already arranged.

    `anew` asks in any case: a wake-up that is being settled may be the very one that another command moved on meanwhile.
    One that comes too early does no harm: it decides the same and arranges the next one.
    """
    arranged = work.state.wake_at
    if arranged is not None and arranged <= work.now:
        arranged = None
    moment = next_at(work)
    if moment is not None and (arranged is None or moment < arranged):
        outcome.wake_at = arranged = moment
    elif anew:
        outcome.wake_at = arranged
    outcome.state.wake_at = arranged


def next_at(work: Work) -> datetime | None:
    """When time alone next does something."""
    moments = [*_silences(work)]
    over = timers.next_at(work)
    if over is not None:
        moments.append(over)
    playing = mechanics.next_of(work)
    if playing is not None:
        moments.append(playing[0])
    return min(moments, default=None)


def _silences(work: Work) -> list[datetime]:
    """When, without any further event, the metrics that segments read change their values."""
    moments = []
    for metric_key in work.program.silent_metrics:
        metric = work.program.metrics[metric_key]
        state = work.metrics.get(metric.id)
        moment = next_change(metric, state, at=work.now, zone=work.zone) if state is not None else None
        if moment is not None:
            moments.append(moment)
    return moments
