"""Segments: conditions over a member that hold or do not, decided anew whenever something they read may have changed."""

from __future__ import annotations

from datetime import datetime

from rewards.domain.outcome import Outcome
from rewards.domain.play.facts import MemberFacts
from rewards.domain.play.metrics import next_change
from rewards.domain.work import Work


def reassess(work: Work) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decides every conditional segment as of `work.now`; returns (entered, left) and updates `work.segments`.

    A condition that cannot be decided for want of a field leaves the member outside. `top` segments are the job's to set.
    """
    program = work.program
    if not program.segments:
        return (), ()
    before = work.segments
    bound = program.bind_member(MemberFacts(work, at=work.now))
    now_in = tuple(
        segment.key
        for segment in program.segments
        if (segment.key in before if segment.when is None else segment.when.test(bound) is True)
    )
    if now_in == before:
        return (), ()
    work.segments = now_in
    return (
        tuple(key for key in now_in if key not in before),
        tuple(key for key in before if key not in now_in),
    )


def schedule_silence(work: Work, outcome: Outcome, *, anew: bool = False) -> None:
    """Asks to be woken when silence changes what a segment reads, unless an earlier wake-up is already arranged.

    `anew` asks in any case: a wake-up that is being settled may be the very one that another command moved on meanwhile.
    One that comes too early does no harm: it decides the same and arranges the next one.
    """
    state = outcome.state
    arranged = work.state.silence_at
    if arranged is not None and arranged <= work.now:
        arranged = None
    moment = silence_at(work)
    if moment is not None and (arranged is None or moment < arranged):
        outcome.wake_at = moment
        arranged = moment
    elif anew:
        outcome.wake_at = arranged
    state.silence_at = arranged


def silence_at(work: Work) -> datetime | None:
    """When, without any further event, a metric that a segment reads changes its value: the moment to decide anew."""
    program = work.program
    moments = []
    for metric_key in program.silent_metrics:
        metric = program.metrics[metric_key]
        state = work.metrics.get(metric.id)
        if state is not None:
            moment = next_change(metric, state, at=work.now, zone=work.zone)
            if moment is not None:
                moments.append(moment)
    return min(moments, default=None)
