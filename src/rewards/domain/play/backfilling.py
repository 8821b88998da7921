"""Filling in what the program did not count yet: a new metric counts what was recorded before it, and badges follow.

A metric is counted anew from all recorded events, those that it has counted itself included: so nothing counts twice,
whatever has happened since it was published, and doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from rewards.domain.commands import Backfill
from rewards.domain.outcome import EventRecord, Outcome, Status
from rewards.domain.play import mechanics
from rewards.domain.play.deciding import follow_emitted, place_in_segments
from rewards.domain.play.recounting import FILLED_IN, recount, recount_earned
from rewards.domain.play.segments import reassess
from rewards.domain.program.compiled import Metric
from rewards.domain.recorded import TIME_PASSED
from rewards.domain.work import Work

SOURCE: Final = "backfill"


def decide_backfill(work: Work, command: Backfill) -> Outcome:
    """Metrics that the program has no more are passed over. What it led to is kept like an event, to be explained.

    The answer tells how many `events` were counted, and how much was `achieved`.
    """
    known = {metric.id: metric for metric in work.program.metrics.values()}
    metrics = [known[each] for each in command.metrics if each in known]
    events = _fill_in(work, metrics) if metrics else 0
    work.silent, work.unrewarded = not command.announce, not command.rewards
    mechanics.reassess(work, work.now)
    if command.announce:
        place_in_segments(work)
        follow_emitted(work, work.now)
    else:
        reassess(work)
        work.emitted.clear()
    achieved = [each for each in work.achievements.values() if each.revoked_at is None]
    outcome = work.finish(Status.PROCESSED)
    if outcome.effects or outcome.trace:
        told = {SOURCE: [metric.key for metric in metrics]}
        outcome.event = EventRecord(TIME_PASSED, f"{SOURCE}:{outcome.id}", work.now, told, {}, work.contributions)
    outcome.answer = {"events": events, "achieved": len(achieved), "effects": outcome.effects}
    return outcome


def merge(work: Work, other: Mapping[str, Any], gone: Sequence[UUID]) -> None:
    """What was filled in for one of two members and not yet for the other is filled in for both.

    `other` is what the one that goes remembers, `gone` that member and those it had absorbed.
    """
    mine = work.play.get(FILLED_IN, {})
    for metric_id in mine.keys() & other.keys():
        work.set_play(FILLED_IN, metric_id, max(mine[metric_id], other[metric_id]))
    half = mine.keys() ^ other.keys()
    metrics = [metric for metric in work.program.metrics.values() if metric.id in half]
    if metrics:
        _fill_in(work, metrics, members=(work.state.id, *gone, *work.absorbed))


def _fill_in(work: Work, metrics: Sequence[Metric], members: Sequence[UUID] | None = None) -> int:
    counting = [metric for metric in metrics if metric.events]
    events = recount(work, counting, fill_in=True, members=members) if counting else 0
    ladder = work.program.tiers
    if ladder is not None and ladder.currency is not None and ladder.metric in metrics:
        recount_earned(work, ladder.metric, ladder.currency, members=members)
    ids = {metric.id for metric in work.program.metrics.values()}
    for forgotten in work.play.get(FILLED_IN, {}).keys() - ids:
        work.set_play(FILLED_IN, forgotten, None)
    for metric in metrics:
        work.set_play(FILLED_IN, metric.id, work.id.hex)
    return events
