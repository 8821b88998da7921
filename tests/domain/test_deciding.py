"""What one command after another makes of a member, where the ledger, the rules and the program meet."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from rewards.domain.commands import (
    Command,
    Due,
    Event,
    Import,
    MemberRef,
    MergeOut,
    ReverseReference,
    SetProfile,
    SetSegments,
)
from rewards.domain.memory import Members
from rewards.domain.outcome import Outcome
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program
from rewards.domain.replay import Replay, replay_id

DOCUMENT: Final = """
rewards: 1
program: {key: shop, timezone: UTC}
currencies:
  points: {expires: {after: 30d}, hold: 7d}
  stars: {expires: {inactive: 10d}}
events:
  ordered: {properties: {total: number, order: string}}
  refunded: {properties: {order: string}}
metrics:
  orders: {count: ordered, over: 7d}
segments:
  quiet: metrics.orders == 0
  best: {top: 10%, of: orders}
rules:
  - {key: third, on: ordered, then: [{earn: {currency: stars, amount: event.total / 3, rate: RATE, round: ROUND}}]}
  - {key: kept, on: ordered, then: [{earn: {currency: points, amount: 5, expires: EXPIRES, reference: event.order}}]}
  - {key: back, on: refunded, then: [{reverse: {reference: event.order}}]}
  - {key: miss, on: segment.entered, when: 'event.segment == "quiet"', then: [{earn: {currency: stars, amount: 1}}]}
"""
START: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
DAY: Final = timedelta(days=1)


def program(*, drop: str = "", **words: str) -> Program:
    text = "\n".join(line for line in DOCUMENT.splitlines() if not drop or drop not in line)
    for word, made in {"RATE": "3", "ROUND": "down", "EXPIRES": "never", **words}.items():
        text = text.replace(word, made)
    return written(text)


def written(text: str) -> Program:
    report = check(read_document(text.encode()))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


def ordered(total: float) -> Event:
    return Event(f"order-{total}", "ordered", None, {"total": total, "order": "o1"})


def submit(replay: Replay, command: Command, at: datetime = START, member: str = "ada") -> Outcome:
    outcome = replay.submit(member, command, at)
    assert isinstance(outcome, Outcome), outcome
    return outcome


@pytest.mark.parametrize(
    ("total", "rate", "rounding", "stars"),
    [
        (100, "3", "down", 100),  # not 99 for a third that is a hair too small
        (200, "3", "up", 200),  # nor 201 for one that is a hair too large
        (100, "1", "down", 33),
        (100, "1", "up", 34),
        (0.3, "1.5", "half_even", 0),
    ],
)
def test_a_part_and_its_rate_make_a_whole(total: float, rate: str, rounding: str, stars: int) -> None:
    replay = Replay(program(RATE=rate, ROUND=rounding))
    submit(replay, ordered(total))
    assert replay.balances("ada")["stars"]["available"] == stars


@pytest.mark.parametrize(
    ("expires", "days", "points"),
    [
        ("never", 400, 5),  # whatever the currency says
        ("{after: 60d}", 59, 5),
        ("{after: 60d}", 60, 0),
    ],
)
def test_an_earn_expires_as_it_says_itself(expires: str, days: int, points: int) -> None:
    replay = Replay(program(EXPIRES=expires))
    submit(replay, ordered(3))
    replay.advance(START + days * DAY)
    assert replay.balances("ada")["points"]["available"] == points


def test_an_opening_balance_is_available_at_once() -> None:
    replay = Replay(program())
    submit(replay, Import("points", 40))
    assert replay.balances("ada")["points"] == {"available": 40, "pending": 0, "held": 0, "debt": 0}


def test_who_was_merged_away_is_paid_no_more() -> None:
    replay = Replay(program())
    submit(replay, ordered(3), member="anon:x")
    ref = MemberRef.parse("ada")
    submit(replay, MergeOut(ref, replay_id(ref)), START + DAY, "anon:x")
    outcome = submit(replay, MergeOut(ref, replay_id(ref)), START + 20 * DAY, "anon:x")
    assert outcome.effects == []
    assert not any(account.available or account.pending for account in outcome.state.wallet.accounts.values())


@pytest.mark.parametrize(
    ("segments", "left"),
    [({"best"}, {"best"}), ({"best", "quiet"}, {"best"}), ({"quiet"}, set[str]())],
)
def test_a_job_takes_members_out_of_segments_by_rank_only(segments: set[str], left: set[str]) -> None:
    members = Members(program())
    ref = MemberRef.parse("ada")
    ada = members.member(replay_id(ref), ref)
    ada.state.segments = tuple(sorted(segments))
    outcome = members.decide(ada, SetSegments(left=("best", "quiet")), START)
    assert {effect["segment"] for effect in outcome.effects} == left


CLUB: Final = """
rewards: 1
program: {key: club, timezone: UTC}
currencies: {points: {}}
events: {came: {}, went: {}}
metrics: {visits: {count: came}}
segments: {SEGMENTS}
rules:
  - {key: farewell, on: segment.left, when: 'event.segment == "regulars"', then: [{earn: {currency: points, amount: 3}}]}
"""
BOTH: Final = "regulars: metrics.visits > 0, guests: metrics.visits > 0"


NOTHING_COUNTS: Final = Event("2", "went", None, {})


@pytest.mark.parametrize(
    ("declared", "left", "command"),
    [
        ("guests: metrics.visits > 0", ["regulars"], Event("2", "came", None, {})),
        ("guests: metrics.visits > 0", ["regulars"], SetProfile({})),
        ("guests: metrics.visits > 0", ["regulars"], Due()),
        ("", ["regulars", "guests"], Event("2", "came", None, {})),
        ("", ["regulars", "guests"], NOTHING_COUNTS),
        ("", ["regulars", "guests"], SetProfile({})),
        ("", ["regulars", "guests"], Due()),
        (BOTH, [], Event("2", "came", None, {})),
        (BOTH, [], Due()),
    ],
)
def test_segments_that_the_program_has_no_more_are_left(declared: str, left: list[str], command: Command) -> None:
    replay = Replay(written(CLUB.replace("SEGMENTS", BOTH)))
    submit(replay, Event("1", "came", None, {}))
    replay.members.program = replay.program = written(CLUB.replace("SEGMENTS", declared))
    effects = submit(replay, command).effects
    assert [effect["segment"] for effect in effects if effect["type"] == "segment.left"] == left
    assert replay.balances("ada")["points"]["available"] == (3 if "regulars" in left else 0)
    assert set(replay.member("ada").state.segments) == {"regulars", "guests"} - set(left)
    assert submit(replay, Due()).effects == [], "they are left once"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (ReverseReference("o1"), "not-reversible"),
        (Event("r", "refunded", None, {"order": "o1"}), None),  # the event counts, its rule is refused
    ],
)
def test_points_of_a_currency_that_is_gone_stay(command: Any, code: str | None) -> None:
    replay = Replay(program())
    submit(replay, ordered(3))
    replay.members.program = replay.program = program(drop="points")
    result = replay.submit("ada", command, START)
    assert getattr(result, "code", None) == code
    if isinstance(result, Outcome):
        assert result.trace[-1]["result"] == "refused"
