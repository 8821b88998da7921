"""The highest reading between two moments, against readings from the list of all events."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.play import metric_cases as cases
from tests.domain.play.metric_cases import BERLIN, Seen, after, days, metric, months, reading, state_of

from rewards.domain.periods import Calendar, Lifetime, Rolling
from rewards.domain.play.peaks import grounds, peak, reached_by
from rewards.domain.program.compiled import Metric, MetricKind

SPANS = [days(1), days(3), days(1 / 24), Rolling(timedelta(seconds=90)), *Calendar, Lifetime.LIFETIME]
rising = st.builds(metric, st.sampled_from(["count", "sum", "max", "distinct"]), st.sampled_from(SPANS))


def highest(one: Metric, events: list[Seen], since: float, until: float) -> float | None:
    """By definition: the readings at `since` and at every event after it; without windows there is only what is read now."""
    if isinstance(one.over, Lifetime):
        return float(found) if (found := reading(one, events, after(until))) is not None else None
    moments = [after(since), *(each.at for each in events if after(since) < each.at <= after(until))]
    readings = [found for moment in moments if (found := reading(one, events, moment)) is not None]
    return max(readings, default=None)


@given(rising, cases.events, cases.hours)
def test_the_highest_reading_since_an_event(one: Metric, events: list[Seen], since: float) -> None:
    state = state_of(one, events)
    found = peak(one, state, since=after(since), until=after(80), zone=BERLIN)
    assert found == pytest.approx(highest(one, events, since, 80))


@given(rising, cases.events)
def test_the_highest_reading_ever(one: Metric, events: list[Seen]) -> None:
    found = peak(one, state_of(one, events), until=after(80), zone=BERLIN)
    if not events:
        assert found in {0, None}
    else:
        assert found == pytest.approx(highest(one, events, 0, 80))


@given(rising, cases.events, cases.hours, st.sampled_from([1, 2, 5]))
def test_when_it_was_reached(one: Metric, events: list[Seen], since: float, threshold: int) -> None:
    """The sub-window that `reached_by` names the end of is the first that reads enough."""
    state, until = state_of(one, events), after(80)
    by = reached_by(one, state, threshold, since=after(since), until=until, zone=BERLIN)
    if by is None:
        assert (highest(one, events, since, 80) or 0) < threshold
        return
    assert (reading(one, events, by) or 0) >= threshold
    if not isinstance(one.over, Lifetime):
        earlier = [each.at for each in events if after(since) <= each.at <= by - _longest(one)]
        assert all((reading(one, events, moment) or 0) < threshold for moment in earlier)


def _longest(one: Metric) -> timedelta:
    """No sub-window is longer."""
    if isinstance(one.over, Calendar):
        return {Calendar.DAY: timedelta(days=1), Calendar.WEEK: timedelta(days=7)}.get(one.over, timedelta(days=366))
    return one.over.length / 60 + timedelta(seconds=1) if isinstance(one.over, Rolling) else timedelta(0)


@given(st.sampled_from(SPANS), cases.hours, cases.hours)
def test_what_a_reading_is_made_of(span: object, event: float, moment: float) -> None:
    one = metric("count", span)  # type: ignore[arg-type]
    seen = Seen(event)
    counted = reading(one, [seen], after(moment)) == 1
    assert grounds(one, seen.at, after(moment), BERLIN) is counted


@pytest.mark.parametrize(
    ("one", "rows", "since", "expected"),
    [
        (metric("count", days(1)), [(0, 1), (1, 1), (30, 1)], 0, 2),
        (metric("count", days(1)), [(0, 1), (1, 1), (30, 1)], 2, 2),
        (metric("count", days(1)), [(0, 1), (1, 1), (30, 1)], 26, 1),
        (metric("count", Calendar.DAY), [(0, 1), (1, 1), (30, 1)], 20, 1),  # the next day in Berlin
        (metric("sum", days(1)), [(0, 4), (1, -3)], 1, 1),
        (metric("max", Lifetime.LIFETIME), [], 0, None),
        (metric("count", months(1)), [(0, 1), (600, 1), (900, 1)], 800, 2),
        (metric("score", Lifetime.LIFETIME), [(0, 8), (48, 8)], 48, 12),  # half of the first is left
    ],
)
def test_by_table(one: Metric, rows: list[tuple[float, float]], since: float, expected: float | None) -> None:
    state = state_of(one, [Seen(hour, value) for hour, value in rows])
    assert peak(one, state, since=after(since), until=after(1_000), zone=BERLIN) == expected


@pytest.mark.parametrize("kind", [MetricKind.LAST, MetricKind.FAVORITE])
def test_nothing_is_highest_of_texts(kind: MetricKind) -> None:
    one = metric(kind.value, Lifetime.LIFETIME)
    with pytest.raises(ValueError, match="nothing is highest"):
        peak(one, state_of(one, [Seen(0, "audio")]), until=after(1), zone=BERLIN)


def test_nothing_says_which_part_of_a_split_metric_is_meant() -> None:
    one = metric("count", Lifetime.LIFETIME, split=True)
    with pytest.raises(ValueError, match="split"):
        peak(one, state_of(one, [Seen(0)]), until=after(1), zone=BERLIN)
