"""What metrics read: by table, and against readings from the list of all events."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.play import metric_cases as cases
from tests.domain.play.metric_cases import BERLIN, Seen, after, days, metric, months, reading, state_of, stored

from rewards.domain.periods import Calendar, Lifetime, Rolling, Span
from rewards.domain.play.metrics import (
    INVERTIBLE,
    contribute,
    contribution,
    merge,
    read,
    read_previous,
    recompute,
    retract,
)
from rewards.domain.program.compiled import Metric, MetricKind

DAY, MONTH, LIFETIME = Calendar.DAY, Calendar.MONTH, Lifetime.LIFETIME
APIA = ZoneInfo("Pacific/Apia")


def seen(*rows: tuple[float, Any]) -> list[Seen]:
    return [Seen(hour, value, order=f"{number:03}") for number, (hour, value) in enumerate(rows)]


@pytest.mark.parametrize(
    ("kind", "over", "rows", "hour", "expected"),
    [
        ("count", days(1), [(0, 1), (1, 1), (20, 1)], 20, 3),
        ("count", days(1), [(0, 1), (1, 1), (20, 1)], 24, 2),
        ("count", days(1), [(0, 1), (1, 1), (20, 1)], 44, 0),
        ("count", DAY, [(10.99, 1), (11, 1), (12, 1)], 12, 2),  # midnight in Berlin is at hour 11
        ("count", DAY, [(12, 1), (10.99, 1)], 10.99, 1),  # as of yesterday
        ("count", LIFETIME, [(0, 1), (9_000, 1)], 9_000, 2),
        ("sum", days(7), [(0, 0.1), (1, 0.2), (2, 3)], 3, 3.3),
        ("sum", days(7), [(0, 0.5), (1, 1.5)], 3, 2),
        ("sum", LIFETIME, [(0, Decimal("0.10")), (1, Decimal("0.20"))], 1, 0.3),
        ("sum", LIFETIME, [(0, -3), (1, 1.25)], 1, -1.75),
        ("max", LIFETIME, [(0, 3), (1, 9), (2, 4)], 2, 9),
        ("max", days(1), [(0, 9), (20, 4)], 30, 4),
        ("max", DAY, [(20, 4)], 40, None),
        ("last", LIFETIME, [(5, "new"), (1, "old")], 5, "new"),  # a late event does not overwrite
        ("last", days(1), [(5, "x")], 40, None),
        ("distinct", LIFETIME, [(0, "a"), (1, "b"), (2, "a"), (3, 1), (4, 1.0), (5, True)], 5, 4),
        ("distinct", days(1), [(0, "a"), (20, "b"), (21, "a")], 30, 2),
        ("favorite", LIFETIME, [(0, "x"), (1, "y"), (2, "y")], 2, "y"),
        ("favorite", LIFETIME, [(0, 42), (1, 42), (2, "y")], 2, 42),
        ("favorite", LIFETIME, [(0, True)], 2, True),
        ("favorite", LIFETIME, [(0, "b"), (1, "a")], 2, "a"),  # a tie: the first by name
        ("favorite", days(1), [(0, "x"), (1, "x"), (30, "y")], 30, "y"),
        ("score", LIFETIME, [(0, 8)], 0, 8.0),
        ("score", LIFETIME, [(0, 8)], 48, 4.0),
        ("score", LIFETIME, [(0, 8), (48, 1)], 96, 2.5),
        ("score", days(3), [(0, 8)], 80, 0.0),
        ("score", DAY, [(10.75, 8), (11, 4)], 11, 4.0),  # yesterday is in the same sub-window, yet another day
        ("count", months(1), [(0, 1)], 29 * 24, 1),
        ("count", months(1), [(0, 1)], 31 * 24, 0),
    ],
)
def test_a_metric_reads_its_window(
    kind: str, over: Span, rows: list[tuple[float, Any]], hour: float, expected: object
) -> None:
    one = metric(kind, over)
    value = read(one, state_of(one, seen(*rows)), at=after(hour), zone=BERLIN)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "nothing"),
    [("count", 0), ("sum", 0), ("distinct", 0), ("score", 0.0), ("max", None), ("last", None), ("favorite", None)],
)
@pytest.mark.parametrize("over", [days(1), DAY, LIFETIME])
@pytest.mark.parametrize("split", [False, True])
def test_nothing_seen_reads_as_nothing(kind: str, nothing: object, over: Span, split: bool) -> None:
    one = metric(kind, over, previous=True, split=split)
    elsewhere = state_of(one, [Seen(0, 5, by="elsewhere")]) if split else None
    for state in (None, elsewhere):
        assert read(one, state, at=after(0), zone=BERLIN, by="here") == nothing
        assert read_previous(one, state, at=after(0), zone=BERLIN, by="here") == nothing


@pytest.mark.parametrize(
    ("over", "rows", "hour", "now", "before"),
    [
        (days(1), [(0, 1), (1, 2), (30, 4)], 30, 4, 3),
        (days(1), [(0, 1), (1, 2), (30, 4)], 54, 0, 4),
        (DAY, [(0, 1), (11, 2), (12, 4)], 12, 6, 1),
        (DAY, [(0, 1), (11, 2), (12, 4)], 36, 0, 6),
        (DAY, [(0, 1)], 36, 0, 0),
        (MONTH, [(0, 1)], 24 * 20, 0, 1),
        (months(1), [(0, 1)], 24 * 40, 0, 1),
        (LIFETIME, [(0, 1)], 24, 1, 0),
    ],
)
def test_the_window_before(over: Span, rows: list[tuple[float, Any]], hour: float, now: object, before: object) -> None:
    one = metric("sum", over, previous=True)
    state = state_of(one, seen(*rows))
    assert read(one, state, at=after(hour), zone=BERLIN) == now
    assert read_previous(one, state, at=after(hour), zone=BERLIN) == before


def test_the_day_before_a_skipped_day_is_the_one_that_existed() -> None:
    one = metric("count", DAY, previous=True)
    eve, next_day = datetime(2011, 12, 30, 9, 59, tzinfo=UTC), datetime(2011, 12, 30, 10, tzinfo=UTC)
    state = contribute(one, None, occurred_at=eve, value=None, by=None, zone=APIA, order="1")
    assert read(one, state, at=next_day, zone=APIA) == 0
    assert read_previous(one, state, at=next_day, zone=APIA) == 1


@pytest.mark.parametrize(
    ("by", "expected"),
    [("a", 3), ("b", 4), ("c", 0), (None, 7)],
)
@pytest.mark.parametrize("over", [days(1), DAY, LIFETIME])
def test_a_split_metric_reads_one_value_or_all(by: str | None, expected: int, over: Span) -> None:
    one = metric("sum", over, split=True)
    state = state_of(one, [Seen(0, 1, "a"), Seen(0, 2, "a"), Seen(1, 4, "b")])
    assert read(one, state, at=after(1), zone=BERLIN, by=by) == expected


def test_an_event_without_the_split_value_adds_nothing() -> None:
    one = metric("count", LIFETIME, split=True)
    assert contribute(one, None, occurred_at=after(0), value=1, by=None, zone=BERLIN, order="1") is None
    assert contribution(one, occurred_at=after(0), value=1, by=None, zone=BERLIN) is None


@pytest.mark.parametrize("kind", ["sum", "max", "score"])
@pytest.mark.parametrize("value", ["9", None, True, float("nan"), float("inf"), [1], Decimal("NaN")])
def test_what_is_no_number_adds_nothing(kind: str, value: object) -> None:
    one = metric(kind, LIFETIME)
    before = state_of(one, [Seen(0, 5)])
    assert contribute(one, before, occurred_at=after(1), value=value, by=None, zone=BERLIN, order="1") == before
    assert contribution(one, occurred_at=after(1), value=value, by=None, zone=BERLIN) is None


@pytest.mark.parametrize("kind", ["last", "distinct", "favorite"])
@pytest.mark.parametrize("value", [None, [1], {"a": 1}, float("nan")])
def test_what_is_no_single_value_adds_nothing(kind: str, value: object) -> None:
    assert contribution(metric(kind, LIFETIME), occurred_at=after(1), value=value, by=None, zone=BERLIN) is None


@given(one=st.one_of(cases.metrics, cases.current_metrics), events=cases.events, hour=cases.hours, data=st.data())
def test_any_order_of_arrival_gives_the_reading_of_the_list(
    one: Metric, events: list[Seen], hour: float, data: st.DataObject
) -> None:
    state = state_of(one, data.draw(st.permutations(events)))
    # Exact as of the newest event and later, and as of a late event too while the state is within bounds.
    for at in (after(hour), after(72), after(72 + 20), after(24 * 40)):
        assert read(one, state, at=at, zone=BERLIN) == pytest.approx(reading(one, events, at), abs=1e-5)
        if one.previous:
            before = read_previous(one, state, at=at, zone=BERLIN)
            if one.kind is not MetricKind.SCORE:
                assert before == reading(one, events, at, previous=True)


@given(one=cases.current_metrics, events=cases.events, data=st.data())
def test_the_state_is_the_same_in_any_order(one: Metric, events: list[Seen], data: st.DataObject) -> None:
    assert state_of(one, data.draw(st.permutations(events))) == state_of(one, events)


@given(one=cases.current_metrics, events=cases.events, quarters=st.integers(0, 24 * 4))
def test_a_rolling_window_is_at_most_a_sixtieth_off(one: Metric, events: list[Seen], quarters: int) -> None:
    """Independent of how sub-windows lie: all that is surely inside counts, nothing that is surely outside does."""
    length = timedelta(hours=12)
    counting, at = metric("count", Rolling(length)), after(72 + quarters / 4)
    value = read(counting, state_of(counting, events), at=at, zone=BERLIN)
    surely = sum(at - length * 59 / 60 < each.at <= at for each in events)
    perhaps = sum(at - length < each.at <= at for each in events)
    assert surely <= value <= perhaps


@given(
    one=st.builds(metric, st.sampled_from(sorted(kind.value for kind in INVERTIBLE)), cases.spans, split=st.booleans()),
    events=cases.events,
    data=st.data(),
)
def test_taking_a_contribution_back_leaves_the_others(one: Metric, events: list[Seen], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.sampled_from(events))) if events else set()
    kept = [each for each in events if each not in gone]
    state = state_of(one, events)
    for each in gone:
        state = retract(one, state, stored(one, each), zone=BERLIN)
    for by in ("a", "b", None):
        expected = read(one, state_of(one, kept), at=after(72), zone=BERLIN, by=by)
        assert read(one, state, at=after(72), zone=BERLIN, by=by) == expected
    if not kept:
        assert state is None


@pytest.mark.parametrize("kind", sorted(kind.value for kind in set(MetricKind) - INVERTIBLE))
def test_what_cannot_be_taken_back_must_be_recomputed(kind: str) -> None:
    one = metric(kind, LIFETIME)
    with pytest.raises(ValueError, match="recomputed"):
        retract(one, state_of(one, [Seen(0)]), stored(one, Seen(0)), zone=BERLIN)


def test_taking_back_what_is_long_forgotten_changes_nothing() -> None:
    one = metric("count", days(1))
    state = state_of(one, [Seen(0), Seen(24 * 300)])
    assert retract(one, state, stored(one, Seen(0)), zone=BERLIN) == state


def test_a_member_who_has_moved_gets_the_event_taken_out_of_its_own_day() -> None:
    one = metric("count", DAY, previous=True)
    event = Seen(12)  # already tomorrow in Berlin, still today in New York
    kept = stored(one, event)
    state = retract(one, state_of(one, [event]), kept, zone=ZoneInfo("America/New_York"))
    assert state is None


@given(one=st.one_of(cases.metrics, cases.current_metrics), events=cases.events, data=st.data())
def test_recomputing_from_stored_contributions_gives_the_state(
    one: Metric, events: list[Seen], data: st.DataObject
) -> None:
    contributions = [stored(one, each) for each in data.draw(st.permutations(events))]
    assert recompute(one, contributions, zone=BERLIN) == state_of(one, events)


@given(
    one=st.builds(metric, cases.kinds, cases.spans, split=st.booleans()),
    mine=cases.events,
    other=cases.events,
)
def test_merging_two_members_is_as_if_one_had_done_it_all(one: Metric, mine: list[Seen], other: list[Seen]) -> None:
    other = [Seen(each.hour, each.value, each.by, order=f"other {each.order}") for each in other]
    merged = merge(one, state_of(one, mine), state_of(one, other))
    together = state_of(one, [*mine, *other])
    for by in ("a", "b", None):
        value = read(one, merged, at=after(72), zone=BERLIN, by=by)
        assert value == read(one, together, at=after(72), zone=BERLIN, by=by)


@given(one=st.builds(metric, cases.kinds, cases.spans, split=st.booleans()), events=cases.events, hour=cases.hours)
def test_states_are_plain_and_never_changed_in_place(one: Metric, events: list[Seen], hour: float) -> None:
    state = state_of(one, events)
    encoded = msgspec.msgpack.encode(state)
    later = contribute(one, state, occurred_at=after(hour), value=3, by="a", zone=BERLIN, order="z")
    if one.kind in INVERTIBLE:
        retract(one, later, stored(one, Seen(hour, 3, "a", "z")), zone=BERLIN)
    merge(one, state, later)
    assert msgspec.msgpack.encode(state) == encoded
    assert msgspec.msgpack.decode(encoded) == state
    assert msgspec.json.decode(msgspec.json.encode(state)) == state
