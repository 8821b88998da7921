"""Members in memory: one case, one script of moments and commands, and what the wallets hold afterwards."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from rewards.domain.commands import Capture, Earn, Event, MemberRef, MergeOut, PlaceHold, Release, Reverse, Spend
from rewards.domain.errors import IdentityConflict, RewardsError
from rewards.domain.ledger.spend import InsufficientPoints
from rewards.domain.memory import Members, Remember
from rewards.domain.outcome import Outcome, Status
from rewards.domain.program import check, compile_program, read_document
from rewards.domain.program.compiled import Program
from rewards.domain.replay import Replay, Result, replay_id

DOCUMENT: Final = b"""
rewards: 1
program: {key: shop, timezone: UTC, late_window: 72h}
currencies:
  points: {expires: {after: 30d}, worth: 1}
  stars: {hold: 7d}
  sleepy: {expires: {inactive: 10d}}
types: {id: {type: string, maxLength: 64}}
events:
  order_placed: {properties: {order_id: id, total: money}, required: [order_id, total]}
  order_refunded: {properties: {order_id: id}, required: [order_id]}
  redeemed: {properties: {points: integer}, required: [points]}
  viewed: {}
  starred: {}
  dozed: {}
metrics:
  orders: {count: order_placed, over: 7d}
segments:
  buyer: metrics.orders > 0
rules:
  - {key: buy, on: order_placed, then: [{earn: {currency: points, amount: event.total, reference: event.order_id}}]}
  - {key: refund, on: order_refunded, then: [{reverse: {reference: event.order_id}}]}
  - {key: redeem, on: redeemed, then: [{spend: {currency: points, amount: event.points}}]}
  - {key: look, on: viewed, budget: {points: 10, currency: points, per: day}, then: [{earn: {currency: points, amount: 4}}]}
  - {key: star, on: starred, then: [{earn: {currency: stars, amount: 3}}]}
  - {key: doze, on: dozed, then: [{earn: {currency: sleepy, amount: 7}}]}
"""
START: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
DAY: Final = timedelta(days=1)


@pytest.fixture(scope="module")
def program() -> Program:
    report = check(read_document(DOCUMENT))
    assert report.document is not None, report.errors
    return compile_program(report.document, version=1)


def event(kind: str, number: int = 0, /, **properties: Any) -> Event:
    return Event(f"{kind}-{number}", kind, None, properties)


def order(number: int, total: int) -> Event:
    return event("order_placed", number, order_id=f"o{number}", total=total)


def refund(number: int) -> Event:
    return event("order_refunded", number, order_id=f"o{number}")


def redeem(points: int) -> Event:
    return event("redeemed", points, points=points)


def merge(other: str) -> MergeOut:
    ref = MemberRef.parse(other)
    return MergeOut(ref, replay_id(ref))


Step = tuple[float, str, Any]


@pytest.mark.parametrize(
    ("steps", "days", "expected"),
    [
        pytest.param([(0, "ada", order(1, 50))], 0, {"ada": {"points": 50}}, id="earned"),
        pytest.param([(0, "ada", order(1, 50)), (1, "ada", refund(1))], 1, {"ada": {"points": 0}}, id="taken back"),
        pytest.param(
            [(0, "ada", order(1, 50)), (1, "bob", refund(1))], 1, {"ada": {"points": 50}}, id="not bob's order"
        ),
        pytest.param([(0, "ada", order(1, 50))], 30, {"ada": {"points": 0}}, id="expired without a command"),
        pytest.param([(0, "ada", order(1, 50)), (20, "ada", order(2, 8))], 30, {"ada": {"points": 8}}, id="own days"),
        pytest.param([(0, "ada", event("starred"))], 6, {"ada": {"stars": 0}}, id="held back"),
        pytest.param([(0, "ada", event("starred"))], 7, {"ada": {"stars": 3}}, id="mature without a command"),
        pytest.param([(0, "ada", event("dozed"))], 9, {"ada": {"sleepy": 7}}, id="still active"),
        pytest.param([(0, "ada", event("dozed")), (12, "ada", order(1, 1))], 12, {"ada": {"sleepy": 0}}, id="inactive"),
        pytest.param(
            [(0, "ada", event("viewed")), (0, "bob", event("viewed")), (0, "cy", event("viewed"))],
            0,
            {"ada": {"points": 4}, "bob": {"points": 4}, "cy": {"points": 0}},
            id="a budget of ten is shared",
        ),
        pytest.param(
            [(0, "ada", event("viewed", 1)), (0, "ada", event("viewed", 2)), (1, "ada", event("viewed", 3))],
            1,
            {"ada": {"points": 12}},
            id="a budget a day",
        ),
        pytest.param(
            [(0, "ada", order(1, 50)), (0, "ada", redeem(20))], 0, {"ada": {"points": 30}}, id="spent by a rule"
        ),
        pytest.param([(0, "ada", order(1, 5)), (0, "ada", redeem(20))], 0, {"ada": {"points": 5}}, id="too little"),
        pytest.param(
            [(0, "ada", order(1, 50)), (0, "ada", redeem(50)), (0.1, "ada", order(2, 7)), (0.2, "ada", refund(1))],
            1,
            {"ada": {"points": 0}},
            id="a day's lot, emptied and filled again",
        ),
        pytest.param(
            [
                (0, "ada", order(1, 50)),
                (1, "ada", order(2, 30)),
                (2, "ada", Spend("points", 60)),
                (30, "ada", redeem(20)),
            ],
            30,
            {"ada": {"points": 0}},
            id="the first lot is spent before it expires",
        ),
        pytest.param(
            [
                (0, "anon:x", order(1, 50)),
                (1, "anon:x", merge("ada")),
                (2, "anon:x", order(2, 5)),
                (3, "ada", refund(1)),
            ],
            3,
            {"ada": {"points": 5}, "anon:x": {"points": 5}},
            id="merged: what came before is taken back from the one that it became",
        ),
    ],
)
def test_wallets(program: Program, steps: list[Step], days: float, expected: dict[str, dict[str, int]]) -> None:
    replay = Replay(program)
    for day, member, command in steps:
        assert isinstance(replay.submit(member, command, START + day * DAY), Outcome)
    replay.advance(START + days * DAY)
    for member, balances in expected.items():
        held = replay.balances(member)
        assert {currency: held[currency]["available"] for currency in balances} == balances


def test_a_purchase_by_api_is_taken_back_into_the_lots_it_came_from(program: Program) -> None:
    replay = Replay(program)
    replay.submit("ada", Earn("points", 50), START)
    bought = made(replay.submit("ada", Spend("points", 50), START))
    back = made(replay.submit("ada", Reverse(bought.transactions[0].id, 20), START + DAY))
    assert [posting.lot for posting in back.transactions[0].postings] == [
        posting.lot for posting in bought.transactions[0].postings
    ]
    assert replay.balances("ada")["points"]["available"] == 20
    replay.advance(START + 30 * DAY)
    assert replay.balances("ada")["points"]["available"] == 0, "given back points expire as they would have"


def test_holds_are_captured_released_and_run_out(program: Program) -> None:
    replay = Replay(program)
    replay.submit("ada", Earn("points", 50), START)
    placed = made(replay.submit("ada", PlaceHold("points", 30, timedelta(hours=2)), START))
    (hold,) = placed.holds
    assert replay.balances("ada")["points"] == {"available": 20, "pending": 0, "held": 30, "debt": 0}
    replay.submit("ada", Capture(hold, 10), START + timedelta(hours=1))
    assert replay.balances("ada")["points"]["held"] == 20
    replay.advance(START + timedelta(hours=2))
    assert replay.balances("ada")["points"] == {"available": 40, "pending": 0, "held": 0, "debt": 0}
    late = replay.submit("ada", Release(hold), START + timedelta(hours=3))
    assert isinstance(late, RewardsError)


@pytest.mark.parametrize(
    ("again", "answered"),
    [
        (order(1, 50), Status.DUPLICATE),
        (order(2, 50), Status.PROCESSED),
        (event("order_placed", 1, order_id="o1", total=51), IdentityConflict),
    ],
)
def test_events_count_once(program: Program, again: Event, answered: Any) -> None:
    replay = Replay(program)
    first = made(replay.submit("ada", order(1, 50), START))
    second = replay.submit("ada", again, START + DAY)
    if isinstance(second, Outcome):
        assert second.status is answered
        assert (second.effects == first.effects) is (answered is Status.DUPLICATE)
    else:
        assert isinstance(second, answered)
    paid = 100 if answered is Status.PROCESSED else 50
    assert replay.balances("ada")["points"]["available"] == paid


def test_refusals_are_returned_and_change_nothing(program: Program) -> None:
    replay = Replay(program)
    assert isinstance(replay.submit("ada", Spend("points", 1), START), InsufficientPoints)
    assert isinstance(replay.submit("", order(1, 1), START), RewardsError)
    assert replay.balances("ada")["points"]["available"] == 0


def test_silence_is_heard_at_its_moment(program: Program) -> None:
    heard: list[tuple[str, str, datetime]] = []
    replay = Replay(
        program,
        heard=lambda member, _, outcome: heard.extend(
            (member.state.external_id, effect["type"], outcome.now)
            for effect in outcome.effects
            if effect["type"].startswith("segment")
        ),
    )
    replay.submit("ada", order(1, 5), START)
    replay.submit("bob", order(1, 5), START + DAY)
    replay.submit("cy", event("viewed"), START + 20 * DAY)
    moments = [(member, kind) for member, kind, _ in heard]
    assert moments == [
        ("ada", "segment.entered"),
        ("bob", "segment.entered"),
        ("ada", "segment.left"),
        ("bob", "segment.left"),
    ]
    for (_, _, left), days in zip(heard[2:], (7, 8), strict=True):
        assert abs(left - (START + days * DAY)) <= 7 * DAY / 60, "to the grain of the window"


def test_the_same_commands_give_the_same_ids(program: Program) -> None:
    def run() -> list[Any]:
        replay = Replay(program)
        return [made(replay.submit("ada", order(number, 5), START + number * DAY)).transactions for number in range(3)]

    assert run() == run()


def test_what_nobody_can_ask_for_is_let_go(program: Program) -> None:
    members = Members(program, remember=Remember.NOTHING)
    ref = MemberRef.parse("ada")
    ada = members.member(replay_id(ref), ref)
    for number in range(5):
        members.decide(ada, order(number, 10), START + number * DAY)
    members.decide(ada, Spend("points", 35), START + 6 * DAY)
    assert [lot.available for lot in ada.lots.values()] == [5, 10]
    assert not ada.originals


def made(result: Result) -> Outcome:
    assert isinstance(result, Outcome), result
    return result
