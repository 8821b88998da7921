"""When silence changes a reading, and how states stay small."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.play import metric_cases as cases
from tests.domain.play.metric_cases import BERLIN, Seen, after, days, metric, months, state_of

from rewards.domain.periods import Calendar, Lifetime, Rolling, Span
from rewards.domain.play.cells import DISTINCT_MAX, FAVORITES_MAX, INTEGER_MAX, TEXT_LENGTH_MAX
from rewards.domain.play.metric_upkeep import state_size
from rewards.domain.play.metrics import SPLITS_MAX, bounded, next_change, prune, read, read_previous
from rewards.domain.program.compiled import Metric, MetricKind

DAY, LIFETIME = Calendar.DAY, Lifetime.LIFETIME


@pytest.mark.parametrize(
    ("one", "events", "hour", "expected"),
    [
        (metric("count", days(1)), [Seen(0.1)], 1, 24),  # sub-windows of 24 minutes: gone at the full hour
        (metric("count", days(1)), [Seen(0.1), Seen(5)], 24, 28.8),
        (metric("count", days(1)), [Seen(0.1)], 25, None),
        (metric("count", days(1), previous=True), [Seen(0.1)], 25, 48),
        (metric("count", DAY), [Seen(0)], 1, 11),
        (metric("count", DAY), [Seen(0)], 11, None),
        (metric("count", DAY, previous=True), [Seen(0)], 11, 35),
        (metric("count", LIFETIME), [Seen(0)], 1, None),
        (metric("last", days(1)), [Seen(0.1), Seen(5)], 6, 28.8),  # the older one falling out changes nothing
        (metric("count", days(1)), [Seen(5)], 1, 4.8),  # as of a late event: the newer one begins to count
        (metric("score", LIFETIME), [Seen(0)], 1, 7),  # an eighth of two days
        (metric("score", LIFETIME), [Seen(0)], 24 * 60, None),
        (metric("count", days(1), split=True), [Seen(5, by="a"), Seen(0.1, by="b")], 6, 24),
        (metric("count", months(1)), [Seen(0)], 1, 24 * 30 - 9.6),  # its sub-window of 12.4 hours began at 2:24
    ],
)
def test_silence_changes_a_reading_at(one: Metric, events: list[Seen], hour: float, expected: float | None) -> None:
    moment = next_change(one, state_of(one, events), at=after(hour), zone=BERLIN)
    assert moment == (None if expected is None else after(expected))


@given(
    one=st.one_of(cases.metrics, cases.current_metrics), events=cases.events, hour=cases.hours, part=st.floats(0, 0.99)
)
def test_nothing_changes_before_the_next_change(one: Metric, events: list[Seen], hour: float, part: float) -> None:
    if one.kind is MetricKind.SCORE:
        return
    at, state = after(hour), state_of(one, events)
    for _ in range(5):
        moment = next_change(one, state, at=at, zone=BERLIN)
        assert moment is None or moment > at
        last = moment or at + timedelta(days=800)
        for between in (at + (last - at) * part, last - timedelta(microseconds=1)):
            assert readings(one, state, between) == readings(one, state, at)
        if moment is None:
            return
        at = moment


def readings(one: Metric, state: Any, at: datetime) -> tuple[Any, Any]:
    before = read_previous(one, state, at=at, zone=BERLIN) if one.previous else None
    return read(one, state, at=at, zone=BERLIN), before


@given(
    one=st.builds(metric, cases.kinds, cases.spans, previous=st.booleans(), split=st.booleans()),
    events=cases.events,
    quarters=st.integers(0, 40 * 24 * 4),
    later=st.integers(0, 40 * 24),
)
def test_pruning_changes_no_later_reading(one: Metric, events: list[Seen], quarters: int, later: int) -> None:
    state, at = state_of(one, events), after(72 + quarters / 4)
    pruned = prune(one, state, at=at, zone=BERLIN)
    for moment in (at, at + timedelta(hours=later)):
        assert readings(one, pruned, moment) == readings(one, state, moment)


@pytest.mark.parametrize("over", [days(1), DAY, Calendar.MONTH])
@pytest.mark.parametrize("split", [False, True])
def test_pruning_lets_go_of_what_cannot_be_read_again(over: Span, split: bool) -> None:
    one = metric("count", over, previous=True, split=split)
    assert prune(one, state_of(one, [Seen(0)]), at=after(24 * 200), zone=BERLIN) is None


def values(number: int) -> list[Seen]:
    return [
        Seen(step / 60, f"value {step % 2_500}", by=f"value {step % 2_500}", order=f"{step:05}")
        for step in range(number)
    ]


@pytest.mark.parametrize(
    ("one", "number", "expected"),
    [
        (metric("distinct", LIFETIME), 1_500, DISTINCT_MAX),
        (metric("distinct", days(30)), 1_500, DISTINCT_MAX),
        (metric("distinct", days(30)), 4_000, DISTINCT_MAX),
        (metric("distinct", Calendar.MONTH), 1_500, DISTINCT_MAX),
        (metric("distinct", LIFETIME), DISTINCT_MAX - 1, DISTINCT_MAX - 1),
        (metric("count", days(30)), 4_000, 4_000),
    ],
)
def test_sets_saturate(one: Metric, number: int, expected: int) -> None:
    state = state_of(one, values(number))
    assert read(one, state, at=after(number / 60), zone=BERLIN) == expected
    assert len(msgspec.msgpack.encode(state)) < 20_000


def test_values_that_come_again_in_every_sub_window_are_still_told_apart() -> None:
    one = metric("distinct", days(1))
    state = state_of(one, [Seen(hour, value) for hour in range(24) for value in range(200)])
    assert read(one, state, at=after(23), zone=BERLIN) == 200
    assert len(msgspec.msgpack.encode(state)) < 20_000


@pytest.mark.parametrize("over", [LIFETIME, days(1), DAY])
def test_a_favorite_outlives_the_many_seen_once(over: Span) -> None:
    one = metric("favorite", over)
    rare = [Seen(0.2 + step / 1_000, f"rare {step}") for step in range(FAVORITES_MAX * 3)]
    state = state_of(one, [Seen(0.1, "often"), Seen(0.1, "often"), *rare])
    assert read(one, state, at=after(1), zone=BERLIN) == "often"
    assert len(msgspec.msgpack.encode(state)) < 3_000


def test_a_split_metric_keeps_the_values_touched_last() -> None:
    one = metric("count", LIFETIME, split=True)
    state = state_of(one, [*values(SPLITS_MAX), Seen(0.0, by="late"), Seen(50, by="new")])
    assert len(state) == SPLITS_MAX
    assert {"new", "value 1"} <= state.keys()
    assert not {"late", "value 0"} & state.keys()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("sum", 10**30, INTEGER_MAX / 1_000_000),
        ("sum", -(10**30), -INTEGER_MAX / 1_000_000),
        ("max", 10**30, float(INTEGER_MAX)),
        ("last", "x" * 5_000, "x" * TEXT_LENGTH_MAX),
        ("favorite", "x" * 5_000, "x" * TEXT_LENGTH_MAX),
    ],
)
def test_large_values_saturate(kind: str, value: Any, expected: Any) -> None:
    one = metric(kind, LIFETIME)
    state = state_of(one, [Seen(0, value), Seen(0, value)])
    assert read(one, state, at=after(0), zone=BERLIN) == expected
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state)) == state


@pytest.mark.parametrize("kind", ["count", "sum", "max", "score", "last"])
@pytest.mark.parametrize("over", [days(1), Rolling(timedelta(seconds=90)), days(400), *Calendar])
@pytest.mark.parametrize("previous", [False, True])
def test_a_window_stays_small_however_busy_the_member(kind: str, over: Span, previous: bool) -> None:
    one = metric(kind, over, previous=previous)
    state = state_of(one, [Seen(step * 7.5, 123.456, order=f"{step:036}") for step in range(2_000)])
    assert len(state[0]) == len(state[1]) <= (180 if previous else 120)
    assert len(msgspec.msgpack.encode(state)) < 13_000


def test_documents_are_cut_to_size() -> None:
    program = [
        identified("big", metric("distinct", LIFETIME)),
        identified("split", metric("count", LIFETIME, split=True)),
        identified("window", metric("last", days(30), previous=True)),
        identified("small", metric("count", LIFETIME)),
    ]
    states = {each.id: state_of(each, values(1_500)) for each in program}
    states["gone"] = [1] * 100
    cut = bounded(states, program, bytes_max=8_000)
    assert len(msgspec.msgpack.encode(cut)) <= 8_000
    assert cut.keys() == {"big", "split", "window", "small"}
    assert cut["small"] == states["small"]
    assert set(cut["split"]) < set(states["split"])
    assert "value 1499" in cut["split"]
    at = after(1_500 / 60)
    assert read(program[2], cut["window"], at=at, zone=BERLIN) == read(program[2], states["window"], at=at, zone=BERLIN)
    assert bounded(states, program, bytes_max=1_000_000) == states
    assert bounded(states, program, bytes_max=0) == {}


def identified(name: str, one: Metric) -> Metric:
    return Metric(
        key=name,
        id=name,
        kind=one.kind,
        events=one.events,
        where=None,
        value=one.value,
        by=one.by,
        over=one.over,
        previous=one.previous,
        half_life=one.half_life,
    )


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-INTEGER_MAX, INTEGER_MAX), st.floats(), st.text(max_size=300)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(value=plain)
def test_the_estimate_of_a_size_is_never_too_small(value: Any) -> None:
    assert state_size(value) >= len(msgspec.msgpack.encode(value))
