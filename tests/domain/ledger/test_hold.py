"""Holds: what they reserve, capture and give back, and when they refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from tests.domain.ledger.desk import API, NOON, Desk, hours, movements
from tests.domain.ledger.model import ZONE, currency

from rewards.domain.errors import InvalidInput, RewardsError
from rewards.domain.ledger.accounts import Hold, Transaction
from rewards.domain.ledger.entry import InvalidAmount
from rewards.domain.ledger.hold import (
    HOLDS_OPEN_MAX,
    HoldExceeded,
    HoldExpired,
    HoldNotFound,
    HoldResolved,
    TooManyHolds,
    capture,
    place_hold,
    release,
)
from rewards.domain.ledger.spend import InsufficientPoints, NotSpendable
from rewards.domain.ledger.wallet import Draft, Unloaded, Wallet
from rewards.domain.program.currency import (
    ExpiresInactive,
)


class Counter:
    """A desk with one hold."""

    def __init__(self, desk: Desk, amount: int, until: float = 10) -> None:
        self.desk = desk
        self.made = desk.run(lambda draft: place_hold(draft, desk.currency, amount, API, expires_at=hours(until)))
        assert self.made.hold is not None
        self.id = self.made.hold

    @property
    def hold(self) -> Hold:
        return self.desk.wallet.holds[self.id]

    def capture(self, amount: int | None = None) -> Transaction:
        return self.desk.run(lambda draft: capture(draft, self.id, amount, API))

    def release(self, amount: int | None = None) -> Transaction:
        desk = self.desk
        return desk.run(lambda draft: release(draft, self.id, amount, API, currency=desk.currency, zone=ZONE))


def three_lots() -> Desk:
    """1 point that expires at 20, 2 at 30, 4 never."""
    desk = Desk()
    desk.earn(4, "c")
    desk.earn(2, "b", expires=hours(30))
    desk.earn(1, "a", expires=hours(20))
    return desk


def by_rule(desk: Desk, part: str) -> str:
    found = sorted((lot.rule, getattr(lot, part)) for lot in desk.wallet.lots.values() if getattr(lot, part))
    return " ".join(f"{rule}{amount}" for rule, amount in found)


def test_a_hold_reserves_in_spending_order() -> None:
    desk = three_lots()
    counter = Counter(desk, 2)
    assert (desk.balance, by_rule(desk, "held"), by_rule(desk, "available")) == ("5/0/2/0", "a1 b1", "b1 c4")
    assert [amount for _, amount in counter.hold.parts] == [1, 1]
    assert (counter.made.kind, counter.made.amount, counter.made.hold) == ("hold", 2, counter.id)
    assert desk.sound()


@pytest.mark.parametrize(
    ("steps", "balance", "redeemed", "available"),
    [
        # all three lots held: captures take the earliest expiry first, releases give the latest back first
        ("capture", "0/0/0/0", "a1 b2 c4", ""),
        ("release", "7/0/0/0", "", "a1 b2 c4"),
        ("capture2", "0/0/5/0", "a1 b1", ""),
        ("release2", "2/0/5/0", "", "c2"),
        ("capture2 release", "5/0/0/0", "a1 b1", "b1 c4"),
        ("release5 capture", "5/0/0/0", "a1 b1", "b1 c4"),
        ("capture1 release1 capture1 release1", "2/0/3/0", "a1 b1", "c2"),
        ("capture3 capture4", "0/0/0/0", "a1 b2 c4", ""),
    ],
)
def test_capture_and_release(steps: str, balance: str, redeemed: str, available: str) -> None:
    desk = three_lots()
    counter = Counter(desk, 7)
    for step in steps.split():
        command: Callable[[int | None], Transaction] = counter.capture if step[0] == "c" else counter.release
        command(int(step[7:]) if step[7:] else None)
    assert (desk.balance, by_rule(desk, "redeemed"), by_rule(desk, "available")) == (balance, redeemed, available)
    assert counter.hold.captured + counter.hold.released + counter.hold.remaining == 7
    assert desk.sound()


@pytest.mark.parametrize(
    ("amount", "refusal"),
    [(8, InsufficientPoints), (0, InvalidAmount)],
)
def test_a_hold_is_refused_like_a_spend(amount: int, refusal: type[RewardsError]) -> None:
    with pytest.raises(refusal):
        Counter(three_lots(), amount)


def test_a_hold_of_what_cannot_be_spent_or_in_the_past_is_refused() -> None:
    counting = Desk(currency("status", spendable=False))
    counting.earn(5)
    with pytest.raises(NotSpendable):
        Counter(counting, 1)
    with pytest.raises(InvalidInput):
        Counter(three_lots(), 1, until=0)


@pytest.mark.parametrize("how", ["capture", "release"])
def test_open_holds_are_counted_and_resolved_ones_are_not(how: str) -> None:
    desk = Desk()
    desk.earn(3 * HOLDS_OPEN_MAX)
    draft = desk.draft()
    holds = [place_hold(draft, desk.currency, 2, API, expires_at=hours(10)).hold for _ in range(HOLDS_OPEN_MAX - 1)]
    desk.wallet = draft.commit()
    last = Counter(desk, 1)
    with pytest.raises(TooManyHolds) as refused:
        Counter(desk, 1)
    assert refused.value.details == {"most": HOLDS_OPEN_MAX}
    getattr(last, how)(1)
    other = Counter(desk, 1)
    with pytest.raises(TooManyHolds):
        Counter(desk, 1)
    assert other.id not in {last.id, *holds}
    desk.at(10)
    Counter(desk, 1, until=11)  # by then they have run out


@pytest.mark.parametrize("how", ["capture", "release"])
@pytest.mark.parametrize(
    ("before", "hour", "amount", "refusal"),
    [
        ("", 0, 3, HoldExceeded),
        ("capture1", 0, 2, HoldExceeded),
        ("", 0, 0, InvalidAmount),
        ("capture2", 0, None, HoldResolved),
        ("release2", 0, None, HoldResolved),
        ("capture1 release1", 0, 1, HoldResolved),
        ("capture2", 10, None, HoldResolved),  # it was captured in time
        ("", 10, None, HoldExpired),
        ("capture1", 11, 1, HoldExpired),
    ],
)
def test_a_hold_is_resolved_once(
    how: str, before: str, hour: float, amount: int | None, refusal: type[RewardsError]
) -> None:
    counter = Counter(three_lots(), 2)
    for step in before.split():
        getattr(counter, step[:7])(int(step[7:]))
    counter.desk.at(hour)
    with pytest.raises(refusal):
        getattr(counter, how)(amount)
    assert counter.desk.sound()


def test_a_hold_of_nobody() -> None:
    counter = Counter(three_lots(), 2)
    counter.id = UUID(int=999)
    with pytest.raises(HoldNotFound):
        counter.capture()
    with pytest.raises(HoldNotFound):
        counter.release()


def test_what_expires_while_held_can_be_captured_but_not_come_back() -> None:
    desk = three_lots()
    counter = Counter(desk, 7, until=99)
    desk.at(40)
    assert movements(counter.capture(2)) == ["HELD>REDEEMED 1", "HELD>REDEEMED 1"]
    assert movements(counter.release()) == ["HELD>AVAILABLE 4", "HELD>EXPIRED 1"]
    assert desk.sound()


def test_release_pays_debt() -> None:
    desk = Desk()
    desk.earn(5)
    counter = Counter(desk, 5)
    spent = desk.earn(3)
    desk.spend(3)
    desk.reverse(spent)
    assert desk.balance == "0/0/5/3"
    assert movements(counter.release(2)) == ["HELD>AVAILABLE 2", "AVAILABLE>DEBT 2"]
    assert desk.balance == "0/0/3/1"
    counter.release()
    assert desk.balance == "2/0/0/0"
    assert desk.sound()


@pytest.mark.parametrize(("act", "counts"), [("hold", True), ("capture", True), ("release", False)])
def test_reserving_and_capturing_are_activity(act: str, counts: bool) -> None:
    desk = Desk(currency("points", expires=ExpiresInactive(timedelta(hours=50), 0)))
    desk.earn(5)
    counter = Counter(desk, 2, until=40)
    desk.at(5)
    if act == "hold":
        Counter(desk, 1)
    else:
        getattr(counter, act)(1)
    assert desk.wallet.accounts["points"].last_activity_at == (hours(5) if counts else hours(0))


def test_points_held_through_inactivity_are_gone_when_released() -> None:
    desk = Desk(currency("points", expires=ExpiresInactive(timedelta(hours=9), 0)))
    desk.earn(5)
    counter = Counter(desk, 2, until=99)
    desk.pass_time(9)
    assert desk.balance == "0/0/2/0"
    assert movements(counter.release(1)) == ["HELD>EXPIRED 1"]
    counter.capture()
    assert desk.sound()


def test_a_hold_whose_lots_are_not_at_hand_asks_for_them() -> None:
    desk = three_lots()
    counter = Counter(desk, 2)
    wallet = Wallet(desk.wallet.accounts, {}, desk.wallet.holds, complete=False)
    draft = Draft(wallet, now=NOON, seq=9, next_id=lambda: UUID(int=1), lot_id=lambda _: UUID(int=1))
    with pytest.raises(Unloaded) as asked:
        capture(draft, counter.id, 1, API)
    assert asked.value.lots
    assert (draft.accounts, draft.holds, draft.transactions) == ({}, {}, [])
