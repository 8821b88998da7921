"""Metrics and events for tests, and readings the obvious way: from a list of all events."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from rewards.domain.periods import Calendar, Lifetime, Rolling, Span, add_months, period_key, period_start
from rewards.domain.play.metrics import Stored, contribute, contribution
from rewards.domain.program.compiled import Bound, Metric, MetricKind

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 11, 16, 12, tzinfo=UTC)  # a Monday, 13:00 in Berlin
HALF_LIFE = timedelta(days=2)


@dataclass(frozen=True)
class ProductOf:
    """A value of the event; the metrics only ask whether there is one."""

    source: str = "event.product"
    fields: tuple[str, ...] = ("event.product",)

    def read(self, bound: Bound) -> Any:
        return bound


@dataclass(frozen=True)
class Seen:
    """One event: hours after START, a value, and what a split metric splits by."""

    hour: float
    value: Any = 1
    by: str = "a"
    order: str = ""

    @property
    def at(self) -> datetime:
        return after(self.hour)


def after(hours: float) -> datetime:
    return START + timedelta(seconds=round(hours * 3_600))


def days(number: float) -> Rolling:
    return Rolling(timedelta(days=number))


def months(number: int) -> Rolling:
    return Rolling(timedelta(0), months=number)


def metric(kind: str, over: Span, *, previous: bool = False, split: bool = False) -> Metric:
    return Metric(
        key="m",
        id="m",
        kind=MetricKind(kind),
        events=frozenset({"seen"}),
        where=None,
        value=ProductOf(),
        by=ProductOf() if split else None,
        over=over,
        previous=previous,
        half_life=HALF_LIFE if kind == "score" else None,
    )


def state_of(one: Metric, events: Iterable[Seen], zone: ZoneInfo = BERLIN) -> Any:
    state = None
    for seen in events:
        state = contribute(one, state, occurred_at=seen.at, value=seen.value, by=seen.by, zone=zone, order=seen.order)
    return state


def stored(one: Metric, seen: Seen, zone: ZoneInfo = BERLIN) -> Stored:
    kept = contribution(one, occurred_at=seen.at, value=seen.value, by=seen.by, zone=zone)
    assert kept is not None
    return Stored(seen.at, seen.order, kept)


def sub_window(one: Metric, moment: datetime) -> int:
    """Sixtieths of the window since 1970."""
    over, seconds = one.over, int(moment.timestamp())
    length = timedelta(days=400)
    if isinstance(over, Rolling):
        length = timedelta(days=31 * over.months) if over.months else over.length
    if isinstance(over, Calendar):
        length = timedelta(days={Calendar.DAY: 1, Calendar.WEEK: 7, Calendar.MONTH: 28, Calendar.YEAR: 365}[over])
    if one.kind is MetricKind.SCORE:
        length = min(length, 20 * HALF_LIFE)
    return seconds * 60 // int(length.total_seconds())


def in_window(one: Metric, seen: Seen, at: datetime, *, previous: bool) -> bool:
    over = one.over
    if isinstance(over, Calendar):
        moment = period_start(over, at, BERLIN) - timedelta(seconds=1) if previous else at
        if one.kind is MetricKind.SCORE and sub_window(one, seen.at) > sub_window(one, at):
            return False
        return period_key(over, seen.at, BERLIN) == period_key(over, moment, BERLIN)
    if isinstance(over, Lifetime) and one.kind is not MetricKind.SCORE:
        return not previous
    back = 1 if previous else 0
    if isinstance(over, Rolling) and over.months:
        begin = sub_window(one, add_months(at, -over.months * (back + 1), BERLIN))
        end = sub_window(one, add_months(at, -over.months * back, BERLIN))
        return begin < sub_window(one, seen.at) <= end
    newest = sub_window(one, at) - 60 * back
    return newest - 60 < sub_window(one, seen.at) <= newest


def reading(one: Metric, events: Iterable[Seen], at: datetime, *, previous: bool = False) -> Any:
    """The reading by definition."""
    window = [seen for seen in events if in_window(one, seen, at, previous=previous)]
    values = [seen.value for seen in window]
    match one.kind:
        case MetricKind.COUNT:
            return len(values)
        case MetricKind.SUM:
            return float(sum(Decimal(repr(value)) for value in values))
        case MetricKind.MAX:
            return max(values, default=None)
        case MetricKind.LAST:
            return max(window, key=lambda seen: (seen.at, seen.order)).value if window else None
        case MetricKind.DISTINCT:
            return len(set(values))
        case MetricKind.FAVORITE:
            counts = Counter(values)
            return min(counts, key=lambda value: (-counts[value], str(value)), default=None)
        case MetricKind.SCORE:
            return sum(seen.value * 0.5 ** ((at - seen.at) / HALF_LIFE) for seen in window)


# Hours on a grid that hits edges of sub-windows and days, up to as late as events may be.
hours = st.integers(0, 72 * 4).map(lambda quarter: quarter / 4)
events = st.lists(st.tuples(hours, st.sampled_from([0, 1, 2.5, 0.1, 7, 40]), st.sampled_from("ab")), max_size=30).map(
    lambda rows: [Seen(hour, value, by, order=f"{number:03}") for number, (hour, value, by) in enumerate(rows)]
)
kinds = st.sampled_from([kind.value for kind in MetricKind])
rolling = st.sampled_from([days(1), days(3), days(30), days(1 / 24), Rolling(timedelta(seconds=90)), months(1)])
spans = st.one_of(rolling, st.sampled_from([*Calendar, Lifetime.LIFETIME]))
metrics = st.builds(metric, kinds, spans, previous=st.just(True))
current_metrics = st.builds(metric, kinds, spans)
