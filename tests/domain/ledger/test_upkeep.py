"""What time does by itself, posted in the order in which it fell due, and the projections of it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from tests.domain.ledger.desk import API, NOON, Desk, hours, movements
from tests.domain.ledger.model import ZONE, currency

from rewards.domain.ledger.accounts import Account, Lot, Transaction
from rewards.domain.ledger.hold import place_hold
from rewards.domain.ledger.upkeep import (
    Balances,
    lot_due_at,
    mature,
    next_due_at,
    post_due,
    project,
    schedule,
)
from rewards.domain.ledger.wallet import Draft, Unloaded, Wallet
from rewards.domain.program.currency import (
    ExpiresInactive,
)

HOUR = timedelta(hours=1)
IDLE_9 = currency("points", expires=ExpiresInactive(9 * HOUR, 0))


def hold(desk: Desk, amount: int, until: float) -> UUID:
    made = desk.run(lambda draft: place_hold(draft, desk.currency, amount, API, expires_at=hours(until)))
    assert made.hold is not None
    return made.hold


def test_everything_due_is_posted_in_time_order_before_the_command() -> None:
    desk = Desk()
    desk.earn(1, expires=hours(4))
    desk.earn(2, hold=2 * HOUR)
    desk.earn(4, hold=3 * HOUR, expires=hours(6))
    hold(desk, 1, until=5)
    first = len(desk.history)
    desk.at(7).spend(2)
    # The held point's lot expired at 4, so the hold that ran out at 5 gives nothing back.
    assert desk.log(first) == ["mature 2 @2", "mature 4 @3", "release 1 @5", "expire 4 @6", "spend 2 @7"]
    assert [item.recorded_at for item in desk.history[first:]] == [hours(7)] * 5
    assert desk.balance == "0/0/0/0"
    assert desk.wallet.accounts["points"].expired == 5
    assert desk.sound()


@pytest.mark.parametrize(
    ("expires", "matures", "posted", "balance"),
    [
        # at one moment, what expires does not mature first
        (3, 3, ["expire 5 @3"], "0/0/0/0"),
        (3, 4, ["expire 5 @3"], "0/0/0/0"),
        (4, 3, ["mature 5 @3", "expire 5 @4"], "0/0/0/0"),
        (6, 3, ["mature 5 @3"], "5/0/0/0"),
        (6, 7, [], "0/5/0/0"),
    ],
)
def test_pending_points_mature_and_expire(expires: int, matures: int, posted: list[str], balance: str) -> None:
    desk = Desk()
    desk.earn(5, hold=matures * HOUR, expires=hours(expires))
    desk.pass_time(5)
    assert (desk.log(1), desk.balance) == (posted, balance)
    assert desk.sound()


@pytest.mark.parametrize(
    ("hour", "expired"), [(2.999, False), (3, True), (3.001, True)]
)  # an expiry is the first moment without the points
def test_the_edge_of_an_expiry(hour: float, expired: bool) -> None:
    desk = Desk()
    desk.earn(5, expires=hours(3))
    assert (desk.pass_time(hour).balance == "0/0/0/0") is expired


def test_lots_of_one_moment_share_a_transaction_others_do_not() -> None:
    desk = Desk()
    desk.earn(1, "a", expires=hours(2))
    desk.earn(2, "b", expires=hours(2))
    desk.earn(4, "c", expires=hours(3))
    desk.pass_time(9)
    assert desk.log(3) == ["expire 3 @2", "expire 4 @3"]


@pytest.mark.parametrize(
    ("lot_expires", "released", "balance"),
    [
        (5, ["HELD>EXPIRED 3"], "0/0/0/0"),
        (6, ["HELD>EXPIRED 3"], "0/0/0/0"),
        (7, ["HELD>AVAILABLE 3"], "3/0/0/0"),
        (None, ["HELD>AVAILABLE 3"], "3/0/0/0"),
    ],
)
def test_a_hold_past_its_expiry_goes_back_to_where_its_lots_are(
    lot_expires: int | None, released: list[str], balance: str
) -> None:
    desk = Desk()
    desk.earn(3, expires=None if lot_expires is None else hours(lot_expires))
    hold(desk, 3, until=6)
    desk.pass_time(6)
    assert (movements(desk.history[-1]), desk.balance) == (released, balance)
    assert desk.sound()


def test_points_released_by_a_hold_expire_when_their_lot_does_even_within_one_upkeep() -> None:
    desk = Desk()
    desk.earn(3, expires=hours(7))
    hold(desk, 3, until=6)
    desk.pass_time(8)
    assert desk.log(2) == ["release 3 @6", "expire 3 @7"]


@pytest.mark.parametrize(
    ("again_at", "read_at", "balance", "reason"),
    [
        (None, 8.9, "5/2/0/0", None),
        (None, 9, "0/0/0/0", "inactive"),
        (5, 13.9, "6/2/0/0", None),
        (5, 14, "0/0/0/0", "inactive"),
    ],
)
def test_inactivity_expires_everything(again_at: int | None, read_at: float, balance: str, reason: str | None) -> None:
    desk = Desk(IDLE_9)
    desk.earn(5)
    desk.earn(2, until_matured=True)
    if again_at is not None:
        desk.at(again_at).earn(1)
    desk.pass_time(read_at)
    assert desk.balance == balance
    assert (desk.history[-1].origin.reason == reason) or reason is None
    assert desk.sound()


def test_inactivity_and_own_expiry_whichever_comes_first() -> None:
    desk = Desk(IDLE_9)
    desk.earn(1, expires=hours(4))
    desk.earn(2, expires=hours(40))
    desk.pass_time(20)
    assert [(line, item.origin.reason) for line, item in zip(desk.log(2), desk.history[2:], strict=True)] == [
        ("expire 1 @4", "expired"),
        ("expire 2 @9", "inactive"),
    ]


def test_inactivity_in_a_wallet_that_is_not_all_there_asks_for_the_rest() -> None:
    account = Account("points", 5, issued=5, last_activity_at=hours(-9))
    draft = Draft(
        Wallet({"points": account}, complete=False),
        now=NOON,
        seq=0,
        next_id=lambda: UUID(int=1),
        lot_id=lambda _: UUID(int=1),
    )
    with pytest.raises(Unloaded):
        post_due(draft, {"points": IDLE_9}, ZONE)
    post_due(draft, {"points": currency("points")}, ZONE)
    assert draft.transactions == []


def test_maturing_pays_debt_lot_by_lot_in_spending_order() -> None:
    desk = Desk()
    late = desk.earn(2, "a", hold=2 * HOUR)
    soon = desk.earn(2, "b", hold=2 * HOUR, expires=hours(50))
    desk.reverse(desk_spent(desk, 3))
    assert desk.balance == "0/4/0/3"
    desk.pass_time(2)
    assert desk.balance == "1/0/0/0"
    assert (desk.lot(soon).revoked, desk.lot(late).revoked) == (2, 1)
    assert desk.sound()


def desk_spent(desk: Desk, amount: int) -> Transaction:
    """An earn whose points are spent already."""
    made = desk.earn(amount, "rule:spent")
    desk.spend(amount)
    return made


def test_mature_makes_named_lots_available_now_once() -> None:
    desk = Desk()
    made = desk.earn(5, until_matured=True)
    other = desk.earn(2, until_matured=True)
    lots = [made.postings[0].lot, UUID(int=99)]
    ids = [lot for lot in lots if lot is not None]
    desk.at(3).run(lambda draft: mature(draft, [*ids, *ids], API))
    assert (desk.log(2), desk.balance) == (["mature 5 @3"], "5/2/0/0")
    assert desk.lot(made).matures_at == hours(3)
    desk.run(lambda draft: mature(draft, ids, API))
    assert desk.log(3) == []
    assert desk.lot(other).pending == 2
    assert desk.sound()


def test_projection_is_what_posting_would_give_and_changes_nothing() -> None:
    desk = Desk()
    desk.earn(1, expires=hours(4))
    desk.earn(2, hold=2 * HOUR)
    seen = [project(desk.wallet, desk.currencies, ZONE, hours(at))["points"] for at in (0, 2, 4)]
    assert seen == [Balances(1, 2, 0, 0), Balances(3, 0, 0, 0), Balances(2, 0, 0, 0)]
    assert desk.balance == "1/2/0/0"
    assert desk.pass_time(4).balance == "2/0/0/0"


def test_the_schedule_plays_the_whole_future_through() -> None:
    desk = Desk()
    desk.earn(1, "a", expires=hours(4))
    desk.earn(2, "b", expires=hours(4))
    desk.earn(4, hold=2 * HOUR, expires=hours(9))
    desk.earn(8)
    hold(desk, 1, until=6)
    assert schedule(desk.wallet, desk.currencies, ZONE) == {"points": [(hours(4), 2), (hours(6), 1), (hours(9), 4)]}


def test_the_schedule_knows_what_debt_will_swallow() -> None:
    desk = Desk()
    desk.earn(5, hold=2 * HOUR, expires=hours(9))
    desk.reverse(desk_spent(desk, 3))
    assert schedule(desk.wallet, desk.currencies, ZONE) == {"points": [(hours(9), 2)]}


def test_next_due() -> None:
    desk = Desk()
    assert next_due_at(desk.wallet, desk.currencies, ZONE) is None
    desk.earn(1)
    assert next_due_at(desk.wallet, desk.currencies, ZONE) is None
    desk.earn(4, expires=hours(9))
    assert next_due_at(desk.wallet, desk.currencies, ZONE) == hours(9)
    hold(desk, 1, until=6)
    assert next_due_at(desk.wallet, desk.currencies, ZONE) == hours(6)
    desk.earn(4, hold=2 * HOUR)
    assert next_due_at(desk.wallet, desk.currencies, ZONE) == hours(2)


@pytest.mark.parametrize(
    ("part", "matures", "expires", "due"),
    [
        ("available", None, None, None),
        ("available", None, 5, 5),
        ("held", None, 5, None),  # what is held waits for its hold
        ("redeemed", None, 5, None),
        ("pending", 3, 5, 3),
        ("pending", 3, None, 3),
        ("pending", 6, 5, 5),
        ("pending", None, 5, 5),
        ("pending", None, None, None),
        ("available", 3, 5, 5),  # matured before
    ],
)
def test_lot_due_at(part: str, matures: int | None, expires: int | None, due: int | None) -> None:
    lot = Lot(
        UUID(int=1),
        "points",
        "r",
        NOON,
        1,
        matures_at=None if matures is None else hours(matures),
        expires_at=None if expires is None else hours(expires),
    )
    setattr(lot, part, 1)
    assert lot_due_at(lot) == (None if due is None else hours(due))
