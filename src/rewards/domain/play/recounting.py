"""Counting metrics anew from the events that were recorded.

What an event contributed stands with it. Where it does not, since the metric is younger than the event, it is derived from
what was sent, as if the event came now: by today's schema and with the member's attributes as they are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from rewards.domain.errors import SchemaViolation
from rewards.domain.ledger.accounts import Kind
from rewards.domain.ledger.wallet import Unloaded
from rewards.domain.outcome import EventRecord, Outcome
from rewards.domain.periods import epoch_micros, from_epoch_micros
from rewards.domain.play.counting import contributed
from rewards.domain.play.facts import EventFacts
from rewards.domain.play.metrics import Stored, contribution, recompute
from rewards.domain.play.tier_held import FILLED_IN as TIERS_FILLED_IN
from rewards.domain.play.windows import reach_seconds
from rewards.domain.program.compiled import Metric
from rewards.domain.recorded import TIME_PASSED, History, PastEarning, Recorded, Wanted, WantedEarnings
from rewards.domain.work import Work, balances

PASSED: Final = "passed"
"""What begins the name of a contribution that time brought about, and not the event with which it is kept. The moment of it
in microseconds comes next, then the metric: `passed:1763712000000000:5e1f…`; of a mechanic's there is no moment."""
FILLED_IN: Final = "backfill"
"""Where a member remembers which metrics were filled in from recorded events, by metric id: until which event."""


def of_time(work: Work) -> list[Any]:
    """What time has counted so far, as it is kept with the command that comes next, whatever becomes of that one."""
    counted = [
        [f"{PASSED}:{epoch_micros(stored.occurred_at)}:{name}", *stored.contribution] for name, stored in work.counted
    ]
    metrics = {name for name, _ in work.counted}
    return counted + [[f"{PASSED}:{name}", *kept] for name, *kept in work.contributions if name not in metrics]


def without_event(work: Work, outcome: Outcome) -> EventRecord:
    """What came of a command that is no event, as it is kept of an event: to be explained, and counted anew."""
    answer = {"effects": outcome.effects, "balances": balances(outcome.state, work.program)}
    name = f"{TIME_PASSED}:{outcome.id}"
    return EventRecord(TIME_PASSED, name, work.now, {}, {}, work.contributions, answer=answer)


def metric_of(name: str) -> str:
    """The id of the metric in which something counted, by the name under which it is kept; be it time that did it."""
    return name.rpartition(":")[2] if name.startswith(f"{PASSED}:") else name


def contributions_of(work: Work, event: Recorded) -> Iterator[tuple[str, Stored]]:
    """All that an event counted in, by metric id or `mechanic:key`; also what was derived when a metric was filled in."""
    stored = set()
    for name, *kept in event.contributions:
        stored.add(name)
        yield name, Stored(event.occurred_at, event.id.hex, kept)
    for metric in work.program.metrics_by_event.get(event.type, ()):
        if metric.id not in stored and _was_filled_in(work, metric, event):
            derived = _derived(work, metric, event)
            if derived is not None:
                yield metric.id, derived
                if work.program.tiers is not None and metric.id == work.program.tiers.metric.id:
                    yield TIERS_FILLED_IN, derived


def recount(
    work: Work, metrics: Sequence[Metric], *, fill_in: bool = False, members: Iterable[UUID] | None = None
) -> int:
    """Sets what these metrics are to what the events that still count make of them; returns how many events those were.

    With `fill_in`, also events count that came before the metric did; where there are more events than are looked at, a
    metric that has counted all of these already keeps what it counted before them. `members` are those whose events count,
    by default this one and whom it has absorbed. Raises `Unloaded`.
    """
    owners = (work.state.id, *work.absorbed) if members is None else tuple(members)
    history = _history(work, metrics, owners, since=_since(work, metrics), fill_in=fill_in)
    events = [event for event in history.events if not _is_gone(work, event)]
    if not history.complete:
        keys = [metric.key for metric in metrics]
        work.trace.append({"metrics": keys, "result": "counted_from_the_newest", "events": len(history.events)})
    for metric in metrics:
        if fill_in and members is None and not history.complete and _has_counted(work, metric, events):
            continue
        found = _counted(work, metric, history.events, fill_in=fill_in)
        state = recompute(metric, found, zone=work.zone, late_seconds=work.program.late_seconds)
        work.set_metric(metric.id, state)
    return len(events)


def counted_since(work: Work, metric: Metric, since: datetime | None) -> list[Stored] | None:
    """What the events that still count and occurred at `since` (None: ever) or later contributed.

    None where they are too many to tell. Raises `Unloaded`.
    """
    history = _history(work, [metric], (work.state.id, *work.absorbed), since=since)
    if not history.complete:
        return None
    return _counted(work, metric, history.events)


def _counted(work: Work, metric: Metric, events: Iterable[Recorded], *, fill_in: bool = False) -> list[Stored]:
    """With what this command has counted itself. Of events that are gone, what time counted beside them."""
    found: list[Stored] = []
    for event in events:
        found += _passed(metric, event)
        if not _is_gone(work, event):
            derives = fill_in or _was_filled_in(work, metric, event)
            found += _contributions_to(work, metric, event, derives=derives)
    return [*found, *(stored for name, stored in work.counted if name == metric.id)]


def recount_earned(work: Work, metric: Metric, currency: str, *, members: Iterable[UUID] | None = None) -> None:
    """As `recount`, for a metric that sums what was earned of a currency: from the ledger. Raises `Unloaded`."""
    owners = (work.state.id, *work.absorbed) if members is None else tuple(members)
    wanted = WantedEarnings(owners, currency, _since(work, [metric]))
    past = work.state.past_earnings.get(wanted)
    if past is None:
        raise Unloaded(earnings=wanted)
    made = [
        PastEarning(each.id, each.effective_at, each.amount, 0)
        for each in work.draft.transactions
        if each.kind is Kind.EARN and each.currency == currency
    ]
    found = []
    for each in (*past, *made):
        amount = each.amount - work.reversed.get(each.transaction, each.reversed)
        kept = contribution(metric, occurred_at=each.at, value=amount, by=None, zone=work.zone) if amount else None
        if kept is not None:
            found.append(Stored(each.at, each.transaction.hex, kept))
    state = recompute(metric, found, zone=work.zone, late_seconds=work.program.late_seconds)
    work.set_metric(metric.id, state)


def _has_counted(work: Work, metric: Metric, events: Iterable[Recorded]) -> bool:
    """Whether the metric holds all of these by itself: it was filled in before, or none of them came before it."""
    if work.metrics.get(metric.id) is None:
        return False
    if metric.id in work.play.get(FILLED_IN, {}):
        return True
    return not any(
        event.type in metric.events
        and all(name != metric.id for name, *_ in event.contributions)
        and _derived(work, metric, event) is not None
        for event in events
    )


def _since(work: Work, metrics: Sequence[Metric]) -> datetime | None:
    """How far back any of these metrics reaches; None: to the beginning."""
    reaches = [reach_seconds(metric, work.program.late_seconds) for metric in metrics]
    known = [reach for reach in reaches if reach is not None]
    return work.now - timedelta(seconds=max(known)) if len(known) == len(reaches) else None


def _history(
    work: Work, metrics: Sequence[Metric], members: tuple[UUID, ...], *, since: datetime | None, fill_in: bool = False
) -> History:
    filled = [metric for metric in metrics if fill_in or metric.id in work.play.get(FILLED_IN, {})]
    wanted = Wanted(
        members=members,
        metrics=frozenset(metric.id for metric in metrics),
        types=frozenset(event for metric in filled for event in metric.events if event in work.program.events),
        since=since,
    )
    history = work.state.histories.get(wanted)
    if history is None:
        raise Unloaded(history=wanted)
    return history


def _is_gone(work: Work, event: Recorded) -> bool:
    return event.taken_back or event.id in work.taken_back


def _passed(metric: Metric, event: Recorded) -> Iterator[Stored]:
    for name, *kept in event.contributions:
        if name.startswith(f"{PASSED}:") and metric_of(name) == metric.id:
            micros = name.split(":")[1]  # what was kept at first had none
            at = from_epoch_micros(int(micros)) if micros != metric.id else event.occurred_at
            yield Stored(at, event.id.hex, kept)


def _contributions_to(work: Work, metric: Metric, event: Recorded, *, derives: bool) -> list[Stored]:
    found = [Stored(event.occurred_at, event.id.hex, kept) for name, *kept in event.contributions if name == metric.id]
    if not found and derives and event.type in metric.events:
        derived = _derived(work, metric, event)
        if derived is not None:
            found.append(derived)
    return found


def _was_filled_in(work: Work, metric: Metric, event: Recorded) -> bool:
    until = work.play.get(FILLED_IN, {}).get(metric.id)
    return until is not None and event.id.hex < until


def _derived(work: Work, metric: Metric, event: Recorded) -> Stored | None:
    """What the event would have contributed, had the metric existed."""
    kind = work.program.events.get(event.type)
    if kind is None:
        return None
    try:
        properties = kind.accept(event.properties)
    except SchemaViolation:
        return None  # today it would be no such event
    facts = EventFacts(work, event=properties, context=event.context, at=event.occurred_at)
    kept = contributed(metric, work.program.bind_inputs(event.type, facts), facts, zone=work.zone)
    return None if kept is None else Stored(event.occurred_at, event.id.hex, kept)
