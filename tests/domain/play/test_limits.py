"""Limits, cooldowns and budgets, against firings counted one by one."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.domain.periods import Calendar, Lifetime, Rolling, Span, add_months, period_key
from rewards.domain.play.budgets import counter_key, remaining
from rewards.domain.play.limits import (
    EXACT_TIMES_MAX,
    MERGED_MOMENTS_MAX,
    SPARE_MOMENTS,
    Blocked,
    allowed,
    in_spans,
    merge,
    record,
)
from rewards.domain.program.compiled import Budget, BudgetUnit, Limit

BERLIN = ZoneInfo("Europe/Berlin")
APIA = ZoneInfo("Pacific/Apia")
START = datetime(2026, 11, 16, 12, tzinfo=UTC)  # a Monday, 13:00 in Berlin
LIFETIME = Lifetime.LIFETIME


def days(number: float) -> Rolling:
    return Rolling(timedelta(days=number))


def months(number: int) -> Rolling:
    return Rolling(timedelta(0), months=number)


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def fire(
    limits: tuple[Limit, ...],
    cooldown: timedelta | None,
    hours: list[float],
    *,
    late_hours: int = 72,
    state: object = None,
) -> tuple[object, list[float]]:
    """The state after trying to fire at each hour in turn, and the hours that were allowed."""
    fired = []
    for hour in hours:
        if allowed(limits, cooldown, state, at=after(hour), zone=BERLIN) is None:
            state = record(limits, cooldown, state, at=after(hour), zone=BERLIN, late_seconds=late_hours * 3_600)
            fired.append(hour)
    return state, fired


@pytest.mark.parametrize(
    ("limit", "tried", "fired"),
    [
        (Limit(1, days(1)), [0, 23.99, 24, 47.99, 48], [0, 24, 48]),
        (Limit(2, days(1)), [0, 1, 2, 24, 24.5, 25], [0, 1, 24, 25]),
        (Limit(1, days(1)), [30, 0, 6.01, 6, 54], [30, 0, 54]),  # late events, too, keep a day's distance
        (Limit(2, days(1)), [0, 30, 31, 20, 6.5], [0, 30, 31, 6.5]),  # 20 to 31 would hold three
        (Limit(1, Calendar.DAY), [0, 10.99, 11, 12], [0, 11]),  # 23:59 and 00:00 in Berlin
        (Limit(2, Calendar.DAY), [11, 12, 0, 13, 1, 2], [11, 12, 0, 1]),  # late ones count in their own day
        (Limit(1, Calendar.WEEK), [0, 24 * 6, 24 * 6 + 11], [0, 24 * 6 + 11]),
        (Limit(1, Calendar.MONTH), [0, 24 * 14, 24 * 15], [0, 24 * 15]),
        (Limit(1, Calendar.YEAR), [0, 24 * 45, 24 * 46], [0, 24 * 46]),
        (Limit(2, LIFETIME), [0, 1_000, 10_000], [0, 1_000]),
        (Limit(1, months(1)), [0, 24 * 29.99, 24 * 30], [0, 24 * 30]),  # 16 November to 16 December
    ],
)
def test_a_limit_counts_firings_at_the_time_of_their_event(
    limit: Limit, tried: list[float], fired: list[float]
) -> None:
    assert fire((limit,), None, tried)[1] == fired


@pytest.mark.parametrize(
    ("tried", "fired"),
    [
        ([0, 0.99, 1, 1.5, 2], [0, 1, 2]),
        ([5, 4.5, 4, 5.5, 6], [5, 4, 6]),
        ([0, 0], [0]),
    ],
)
def test_a_cooldown_keeps_its_distance_both_ways(tried: list[float], fired: list[float]) -> None:
    assert fire((), timedelta(hours=1), tried)[1] == fired


@pytest.mark.parametrize(
    ("limits", "cooldown", "fired", "at", "expected"),
    [
        ((Limit(1, days(1)),), None, [0], 1, Blocked(Limit(1, days(1)), after(24))),
        ((Limit(2, days(1)),), None, [0, 5], 6, Blocked(Limit(2, days(1)), after(24))),
        ((Limit(1, Calendar.DAY),), None, [0], 1, Blocked(Limit(1, Calendar.DAY), after(11))),
        ((Limit(1, LIFETIME),), None, [0], 1, Blocked(Limit(1, LIFETIME), None)),
        ((), timedelta(hours=2), [0], 1, Blocked(None, after(2))),
        # What holds back the longest is named.
        ((Limit(1, Calendar.DAY),), timedelta(hours=2), [0], 1, Blocked(Limit(1, Calendar.DAY), after(11))),
        ((Limit(1, Calendar.DAY),), timedelta(hours=30), [0], 1, Blocked(None, after(30))),
        ((Limit(1, days(9)), Limit(1, LIFETIME)), None, [0], 1, Blocked(Limit(1, LIFETIME), None)),
        ((Limit(1, days(1)),), None, [0], 24, None),
        ((), None, [0], 0, None),
    ],
)
def test_a_refusal_names_the_limit_and_its_end(
    limits: tuple[Limit, ...], cooldown: timedelta | None, fired: list[float], at: float, expected: Blocked | None
) -> None:
    state, _ = fire(limits, cooldown, fired)
    assert allowed(limits, cooldown, state, at=after(at), zone=BERLIN) == expected


@pytest.mark.parametrize(
    ("blocked", "details"),
    [
        (Blocked(Limit(3, days(7)), START), {"times": 3, "per": "604800s", "until": "2026-11-16T12:00:00Z"}),
        (Blocked(Limit(1, months(12)), START), {"times": 1, "per": "12mo", "until": "2026-11-16T12:00:00Z"}),
        (Blocked(Limit(1, LIFETIME), None), {"times": 1, "per": "lifetime"}),
        (Blocked(None, START), {"until": "2026-11-16T12:00:00Z"}),
    ],
)
def test_a_refusal_explains_itself(blocked: Blocked, details: dict[str, object]) -> None:
    assert blocked.details() == details


def test_a_skipped_day_is_no_day_of_a_limit() -> None:
    limit = (Limit(1, Calendar.DAY),)
    moments = [datetime(2011, 12, 30, 9, 59, tzinfo=UTC), datetime(2011, 12, 30, 10, 0, tzinfo=UTC)]
    state = record(limit, None, None, at=moments[0], zone=APIA)
    assert allowed(limit, None, state, at=moments[1], zone=APIA) is None


spans = st.sampled_from([days(1), days(3), months(1), Calendar.DAY, Calendar.WEEK, Calendar.MONTH, LIFETIME])
# Up to 72 hours out of order, as far as the late window reaches.
hours_tried = st.lists(st.floats(0, 72, allow_nan=False), max_size=40)


def holds(limit: Limit, moments: list[datetime]) -> bool:
    """The obvious way: counts all firings of every period, or of the window that begins at each firing."""
    per: Span = limit.per
    if isinstance(per, Lifetime):
        return len(moments) <= limit.times
    if isinstance(per, Calendar):
        keys = [period_key(per, moment, BERLIN) for moment in moments]
        return all(keys.count(key) <= limit.times for key in keys)
    for first in moments:
        end = add_months(first, per.months, BERLIN) if per.months else first + per.length
        if sum(first <= moment < end for moment in moments) > limit.times:
            return False
    return True


@given(per=spans, times=st.integers(1, 5), tried=hours_tried)
def test_exactly_the_firings_that_keep_every_window_are_allowed(per: Span, times: int, tried: list[float]) -> None:
    limit = Limit(times, per)
    state: object = None
    fired: list[datetime] = []
    for at in map(after, tried):
        blocked = allowed((limit,), None, state, at=at, zone=BERLIN)
        assert (blocked is None) == holds(limit, [*fired, at])
        if blocked is None:
            state = record((limit,), None, state, at=at, zone=BERLIN)
            fired.append(at)
        else:
            assert blocked.until is None or blocked.until > at


@given(per=spans, times=st.integers(1, 5), tried=hours_tried)
def test_a_refused_rule_may_fire_again_at_the_moment_named(per: Span, times: int, tried: list[float]) -> None:
    limit = (Limit(times, per),)
    ordered = sorted(tried)
    state, _ = fire(limit, None, ordered)
    blocked = allowed(limit, None, state, at=after(72), zone=BERLIN)
    if blocked is not None and blocked.until is not None:
        just_before = blocked.until - timedelta(microseconds=1)
        assert allowed(limit, None, state, at=blocked.until, zone=BERLIN) is None
        assert allowed(limit, None, state, at=just_before, zone=BERLIN) is not None


@given(
    minutes=st.lists(st.integers(0, 72 * 60), min_size=60, max_size=200),
    times=st.integers(1, 3),
)
def test_a_busy_rule_never_fires_too_often_though_its_memory_is_bounded(minutes: list[int], times: int) -> None:
    limit = Limit(times, Rolling(timedelta(minutes=10)))
    state, fired = fire((limit,), None, [minute / 60 for minute in minutes])
    assert holds(limit, [after(hour) for hour in fired])
    assert isinstance(state, dict)
    assert len(state["600s"]) <= times + SPARE_MOMENTS


@pytest.mark.parametrize(
    ("limit", "late_hours", "tried", "fired"),
    [
        # A quarantined event is as late as its quarantine was long: no replay passes a limit that once held.
        (Limit(1, days(1)), 72, [0, 2_400, 0.5], [0, 2_400]),
        (Limit(1, days(1)), 72, [0, 2_400, -0.5, 23.9, 24], [0, 2_400, 24]),
        (Limit(1, days(1)), 0, [0, 30, 60, 1, 25, 31, 37], [0, 30, 60]),
        (Limit(2, days(1)), 0, [0, 1, 60, 2, 25.1], [0, 1, 60, 25.1]),
        (Limit(1, months(1)), 72, [0, 24 * 90, 24 * 20, 24 * 30], [0, 24 * 90, 24 * 30]),
        (Limit(1, days(1)), 72, [0, 2_400, 2_328, 2_376], [0, 2_400, 2_328, 2_376]),  # not later than the late window
        (Limit(1, Calendar.DAY), 72, [0, 24, 48, 72, 96, 120, 1], [0, 24, 48, 72, 96, 120]),
        # However wide the program has made that, an event inside it counts in its own day.
        (Limit(1, Calendar.DAY), 240, [24, 48, 72, 96, 120, 0], [24, 48, 72, 96, 120, 0]),
        (Limit(1, Calendar.DAY), 240, [24, 48, 72, 96, 120, 0, 1], [24, 48, 72, 96, 120, 0]),
        (
            Limit(1, Calendar.WEEK),
            24 * 60,
            [24 * 7 * week for week in (1, 2, 3, 4, 5, 0)],
            [24 * 7 * week for week in (1, 2, 3, 4, 5, 0)],
        ),
    ],
)
def test_a_replay_long_after_passes_no_limit(
    limit: Limit, late_hours: int, tried: list[float], fired: list[float]
) -> None:
    assert fire((limit,), None, tried, late_hours=late_hours)[1] == fired


rolling = st.sampled_from([days(1), days(3), months(1)])
any_order = st.lists(st.floats(0, 24 * 90, allow_nan=False), max_size=30)


@given(per=rolling, times=st.integers(1, 4), tried=any_order, late_hours=st.sampled_from([0, 1, 72]))
def test_no_window_holds_more_than_its_times_in_whatever_order_events_come(
    per: Rolling, times: int, tried: list[float], late_hours: int
) -> None:
    limit = Limit(times, per)
    state: object = None
    fired: list[datetime] = []
    for at in map(after, tried):
        free = allowed((limit,), None, state, at=at, zone=BERLIN) is None
        if max(fired, default=at) - at <= timedelta(hours=late_hours):
            assert free == holds(limit, [*fired, at])  # in time, so neither more nor fewer
        if free:
            state = record((limit,), None, state, at=at, zone=BERLIN, late_seconds=late_hours * 3_600)
            fired.append(at)
    assert holds(limit, fired)


@given(
    per=rolling,
    times=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    tried=st.tuples(any_order, any_order, any_order),
    late_hours=st.tuples(st.sampled_from([0, 1, 72]), st.sampled_from([0, 1, 72])),
)
def test_neither_a_merge_nor_a_new_version_forgets_that_something_was_let_go(
    per: Rolling, times: tuple[int, int], tried: tuple[list[float], ...], late_hours: tuple[int, int]
) -> None:
    state, one = fire((Limit(times[0], per),), None, tried[0], late_hours=late_hours[0])
    other_state, other = fire((Limit(times[0], per),), None, tried[1], late_hours=late_hours[0])
    merged = merge(state, other_state)
    before = [after(hour) for hour in (*one, *other)]
    for hour in tried[2]:
        if allowed((Limit(times[1], per),), None, merged, at=after(hour), zone=BERLIN) is None:
            merged = record(
                (Limit(times[1], per),), None, merged, at=after(hour), zone=BERLIN, late_seconds=late_hours[1] * 3_600
            )
            before.append(after(hour))
            # What met at the merge may be too much already; nothing is added to a window that is full.
            assert around(per, before, after(hour)) <= times[1]


def around(per: Rolling, moments: list[datetime], at: datetime) -> int:
    """The most firings in any window that holds `at`."""
    most = 0
    for first in moments:
        end = add_months(first, per.months, BERLIN) if per.months else first + per.length
        if first <= at < end:
            most = max(most, sum(first <= moment < end for moment in moments))
    return most


def test_what_a_merge_has_no_room_for_is_not_taken_as_free() -> None:
    limit = Limit(600, days(365))
    one, other = (fire((limit,), None, [hour + half for hour in range(600)])[0] for half in (0, 0.5))
    merged = merge(one, other)
    assert merged is not None
    assert len(merged["31536000s"]) == MERGED_MOMENTS_MAX
    assert fire((limit,), None, [-24 * 200, 24 * 400], state=merged)[1] == [24 * 400]


def test_states_from_before_are_read() -> None:
    state = {"86400s": [int(after(0).timestamp() * 1_000_000)]}
    assert fire((Limit(1, days(1)),), None, [23, 24], state=state)[1] == [24]


def test_more_times_than_single_moments_are_kept_for_hold_too() -> None:
    times = EXACT_TIMES_MAX + 200
    limit = Limit(times, days(1))
    state, fired = fire((limit,), None, [number / 100 for number in range(6_000)])
    moments = sorted(fired)
    assert all(moments[at + times] - moments[at] >= 24 for at in range(len(moments) - times))
    assert len(fired) > times * 2  # it lets go again, at most a sixtieth of a day late
    assert len(msgspec.msgpack.encode(state)) < 2_000


@pytest.mark.parametrize(
    ("before", "now", "at", "free"),
    [
        (Limit(1, days(1)), Limit(2, days(1)), 1, True),
        (Limit(2, days(1)), Limit(1, days(1)), 1, False),
        # A rolling span of another length: what is known is judged by that.
        (Limit(1, days(1)), Limit(1, days(2)), 47.9, False),
        (Limit(1, days(1)), Limit(1, days(2)), 48, True),
        (Limit(1, days(2)), Limit(1, days(1)), 23.9, False),
        (Limit(1, days(2)), Limit(1, days(1)), 24, True),
        (Limit(1, days(1)), Limit(1, months(1)), 24 * 29.9, False),
        (Limit(1, months(1)), Limit(1, days(2)), 48, True),
        (Limit(EXACT_TIMES_MAX + 1, days(1)), Limit(1, days(2)), 47.9, False),
        (Limit(EXACT_TIMES_MAX + 1, days(1)), Limit(1, days(2)), 50, True),
        (Limit(EXACT_TIMES_MAX + 1, days(1)), Limit(EXACT_TIMES_MAX + 1, days(2)), 1, True),
        (Limit(1, days(1)), Limit(EXACT_TIMES_MAX + 1, days(2)), 1, True),
        (Limit(1, Calendar.DAY), Limit(1, days(1)), 1, True),  # of a calendar span no moments are kept
        (Limit(1, days(1)), Limit(EXACT_TIMES_MAX + 1, days(1)), 1, True),
        (Limit(EXACT_TIMES_MAX + 1, days(1)), Limit(1, days(1)), 1, False),
        (Limit(EXACT_TIMES_MAX + 1, days(1)), Limit(1, days(1)), 25, True),
    ],
)
def test_a_new_version_of_a_rule_reads_the_old_state(before: Limit, now: Limit, at: float, free: bool) -> None:
    state, _ = fire((before,), None, [0])
    assert (allowed((now,), None, state, at=after(at), zone=BERLIN) is None) == free
    again = record((now,), None, state, at=after(at), zone=BERLIN)
    assert allowed((Limit(1, now.per),), None, again, at=after(at), zone=BERLIN) is not None


@given(
    before=st.tuples(st.integers(1, 4), rolling),
    now=st.tuples(st.integers(1, 4), rolling),
    tried=st.tuples(hours_tried, hours_tried),
)
def test_a_new_length_judges_all_that_fired_under_the_old_one(
    before: tuple[int, Rolling], now: tuple[int, Rolling], tried: tuple[list[float], list[float]]
) -> None:
    """As long as nothing was let go of: here all is within the late window."""
    state, hours = fire((Limit(*before),), None, tried[0])
    fired = [after(hour) for hour in hours]
    times, per = now
    for at in map(after, tried[1]):
        free = allowed((Limit(times, per),), None, state, at=at, zone=BERLIN) is None
        assert free == (around(per, [*fired, at], at) <= times)
        if free:
            state = record((Limit(times, per),), None, state, at=at, zone=BERLIN)
            fired.append(at)


@pytest.mark.parametrize(
    ("times", "at", "free"),
    [
        # Fired every second day; without late events two are kept, and that there was one before them is known.
        (3, 97, False),
        (4, 97, True),
        (3, 24 * 30 - 0.1, False),
        (3, 24 * 30, True),
        (2, 24 * 30 + 47.9, False),
        (2, 24 * 30 + 48, True),
    ],
)
def test_what_was_let_go_of_a_shorter_span_is_one_firing_of_the_longer(times: int, at: float, free: bool) -> None:
    state, _ = fire((Limit(1, days(2)),), None, [0, 48, 96], late_hours=0)
    longer = (Limit(times, days(30)),)
    assert (allowed(longer, None, state, at=after(at), zone=BERLIN) is None) == free


def test_a_new_cooldown_judges_by_what_is_known_too() -> None:
    state, _ = fire((), timedelta(hours=1), [0])
    assert fire((), timedelta(hours=3), [2, 3, 5, 6], state=state)[1] == [3, 6]
    assert fire((Limit(1, days(1)),), timedelta(hours=1), [2, 24], state=state)[1] == [24]


@pytest.mark.parametrize(("times", "blocked"), [(2, True), (3, False)])
def test_merged_members_of_whom_one_fired_under_an_older_version(times: int, *, blocked: bool) -> None:
    one, other = fire((Limit(9, days(1)),), None, [0])[0], fire((Limit(9, days(2)),), None, [1])[0]
    limit = (Limit(times, days(2)),)
    merged = merge(in_spans(limit, None, one), in_spans(limit, None, other))
    assert (allowed(limit, None, merged, at=after(25), zone=BERLIN) is not None) == blocked


@pytest.mark.parametrize("per", [days(1), Calendar.DAY, LIFETIME])
def test_merged_members_share_their_firings(per: Span) -> None:
    limit = (Limit(2, per),)
    one, other = fire(limit, None, [0])[0], fire(limit, None, [1])[0]
    assert allowed(limit, None, merge(one, None), at=after(2), zone=BERLIN) is None
    assert allowed(limit, None, merge(one, other), at=after(2), zone=BERLIN) is not None


def test_state_is_never_changed_in_place_and_is_plain() -> None:
    limits = (Limit(3, days(1)), Limit(5, Calendar.DAY), Limit(9, LIFETIME), Limit(EXACT_TIMES_MAX + 5, days(2)))
    state, _ = fire(limits, timedelta(minutes=1), [0, 1])
    before = msgspec.msgpack.encode(state)
    after_one = record(limits, timedelta(minutes=1), state, at=after(2), zone=BERLIN)
    assert msgspec.msgpack.encode(state) == before
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(after_one)) == after_one


@pytest.mark.parametrize(
    ("budget", "at", "key"),
    [
        (Budget(BudgetUnit.MONEY, 100, Calendar.MONTH), "2026-11-30T22:59", "rule/money/2026-11"),
        (Budget(BudgetUnit.MONEY, 100, Calendar.MONTH), "2026-11-30T23:00", "rule/money/2026-12"),
        (Budget(BudgetUnit.POINTS, 100, Calendar.DAY, "coins"), "2026-11-30T23:00", "rule/points:coins/2026-12-01"),
        (Budget(BudgetUnit.TIMES, 100, Lifetime.LIFETIME), "2026-11-30T23:00", "rule/times/lifetime"),
    ],
)
def test_a_budget_counts_per_period_of_the_program(budget: Budget, at: str, key: str) -> None:
    assert counter_key("rule", budget, datetime.fromisoformat(at).replace(tzinfo=UTC), BERLIN) == key


def test_a_rolling_budget_has_no_counter() -> None:
    with pytest.raises(ValueError, match="calendar period or lifetime"):
        counter_key("rule", Budget(BudgetUnit.MONEY, 100, days(7)), START, BERLIN)


@pytest.mark.parametrize(("used", "left"), [({}, 100), ({"k": 30}, 70), ({"k": 100}, 0), ({"k": 130}, 0)])
def test_what_a_budget_has_left(used: dict[str, int], left: int) -> None:
    assert remaining(Budget(BudgetUnit.TIMES, 100, Calendar.DAY), used, "k") == left
