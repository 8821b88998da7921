"""Clawback by the three policies, and refunds."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from tests.domain.ledger.desk import API, NOON, Desk, hours, movements
from tests.domain.ledger.model import ZONE, currency

from rewards.domain.errors import RewardsError
from rewards.domain.ledger.accounts import AMOUNT_MAX, Account, Book, Kind, Posting
from rewards.domain.ledger.entry import AmountOverflow, InvalidAmount
from rewards.domain.ledger.hold import capture, place_hold
from rewards.domain.ledger.reverse import AlreadyReversed, NotReversible, Original, ReversalExceedsOriginal, reverse
from rewards.domain.ledger.wallet import Draft, Unloaded, Wallet
from rewards.domain.program.currency import (
    Clawback,
    ExpiresInactive,
)

PENDING_ONLY, WITHIN_BALANCE, ALLOW_DEBT = Clawback.PENDING_ONLY, Clawback.WITHIN_BALANCE, Clawback.ALLOW_DEBT


@pytest.mark.parametrize(
    ("spent", "policy", "posted", "balance", "requested"),
    [
        # the original issued 5 that expire last, another lot 4 that expire earlier
        (0, PENDING_ONLY, [], "9/0/0/0", 5),
        (0, WITHIN_BALANCE, ["AVAILABLE>REVOKED 5"], "4/0/0/0", None),
        (0, ALLOW_DEBT, ["AVAILABLE>REVOKED 5"], "4/0/0/0", None),
        (6, PENDING_ONLY, [], "3/0/0/0", 5),
        (6, WITHIN_BALANCE, ["AVAILABLE>REVOKED 3"], "0/0/0/0", 5),
        (6, ALLOW_DEBT, ["AVAILABLE>REVOKED 3", "DEBT>REVOKED 2"], "0/0/0/2", None),
        (9, WITHIN_BALANCE, [], "0/0/0/0", 5),
        (9, ALLOW_DEBT, ["DEBT>REVOKED 5"], "0/0/0/5", None),
    ],
)
def test_clawback_of_available_points(
    spent: int, policy: Clawback, posted: list[str], balance: str, requested: int | None
) -> None:
    desk = Desk()
    original = desk.earn(5, "late", expires=hours(90))
    desk.earn(4, "soon", expires=hours(9))
    if spent:
        desk.spend(spent)
    made = desk.reverse(original, policy=policy)
    assert (movements(made), desk.balance, made.requested) == (posted, balance, requested)
    assert made.amount == sum(item.amount for item in made.postings)
    assert (made.kind, made.reverses) == (Kind.CLAWBACK, original.id)
    assert desk.sound()


@pytest.mark.parametrize("policy", list(Clawback))
def test_clawback_of_pending_points_is_the_same_under_every_policy(policy: Clawback) -> None:
    desk = Desk()
    desk.earn(4)
    original = desk.earn(5, until_matured=True)
    made = desk.reverse(original, 3, policy)
    assert (movements(made), desk.balance) == (["PENDING>REVOKED 3"], "4/2/0/0")
    assert desk.sound()


def test_other_lots_give_their_available_points_in_spending_order_and_keep_pending_and_held_ones() -> None:
    desk = Desk()
    original = desk.earn(9, "original")
    desk.spend(9)
    desk.earn(3, "late", expires=hours(90))
    desk.earn(2, "soon", expires=hours(9))
    desk.earn(2, "held", expires=hours(8))
    desk.earn(7, "waits", until_matured=True)
    desk.run(lambda draft: place_hold(draft, desk.currency, 2, API, expires_at=hours(50)))
    desk.reverse(original, 4)
    left = sorted((lot.rule, lot.open) for lot in desk.wallet.lots.values() if lot.open)
    assert left == [("held", 2), ("late", 1), ("waits", 7)]
    desk.reverse(original)
    assert desk.balance == "0/7/2/4"
    assert desk.sound()


def test_new_points_pay_debt_before_anybody_can_spend_them() -> None:
    desk = Desk()
    original = desk.earn(5)
    desk.spend(5)
    desk.reverse(original)
    assert movements(desk.earn(3)) == ["ISSUED>AVAILABLE 3", "AVAILABLE>DEBT 3"]
    assert movements(desk.earn(9, until_matured=True)) == ["ISSUED>PENDING 9"]
    assert movements(desk.earn(9, expires=hours(-1))) == ["ISSUED>EXPIRED 9"]
    assert desk.balance == "0/9/0/2"
    assert movements(desk.earn(4)) == ["ISSUED>AVAILABLE 4", "AVAILABLE>DEBT 2"]
    assert desk.balance == "2/9/0/0"
    assert desk.sound()


@pytest.mark.parametrize(
    ("parts", "refusal"),
    [
        ([5, None], AlreadyReversed),
        ([None, 1], AlreadyReversed),
        ([2, 3, 1], AlreadyReversed),
        ([6], ReversalExceedsOriginal),
        ([2, 4], ReversalExceedsOriginal),
        ([AMOUNT_MAX], ReversalExceedsOriginal),
        ([0], InvalidAmount),
        ([AMOUNT_MAX + 1], InvalidAmount),
    ],
)
@pytest.mark.parametrize("what", ["earn", "spend"])
def test_never_more_than_the_original(what: str, parts: list[int | None], refusal: type[RewardsError]) -> None:
    desk = Desk()
    original = desk.earn(5)
    if what == "spend":
        original = desk.spend(5)
    for amount in parts[:-1]:
        desk.reverse(original, amount)
    before = len(desk.history)
    with pytest.raises(refusal):
        desk.reverse(original, parts[-1])
    assert len(desk.history) == before
    assert desk.sound()


def test_what_a_policy_forgave_is_not_asked_for_again() -> None:
    desk = Desk(currency("points", clawback=WITHIN_BALANCE))
    original = desk.earn(5)
    desk.spend(4)
    made = desk.reverse(original, 3)
    assert (made.amount, made.requested) == (1, 3)
    desk.earn(50)
    with pytest.raises(ReversalExceedsOriginal):
        desk.reverse(original, 3)
    assert desk.reverse(original).amount == 2
    with pytest.raises(AlreadyReversed):
        desk.reverse(original)
    assert desk.sound()


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.EARN, Kind.IMPORT, Kind.SPEND, Kind.CAPTURE}))
def test_only_issuing_and_spending_can_be_taken_back(kind: Kind) -> None:
    original = Original(UUID(int=1), kind, "points", 5, (), 0, NOON)
    with pytest.raises(NotReversible):
        reverse(Desk().draft(), original, API, currency=currency("points"), zone=ZONE)


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        # spent were a1 (expires at 20), b2 (expires at 30) and c3; the last spent comes back first
        ([None], "a1 b2 c3"),
        ([2], "c2"),
        ([2, 2], "b1 c3"),
        ([4, 1], "b2 c3"),
        ([4, None], "a1 b2 c3"),
    ],
)
def test_refunds_go_back_to_the_lots(parts: list[int | None], left: str) -> None:
    desk = _spent_from_three_lots()
    for amount in parts:
        made = desk.reverse(desk.history[3], amount)
        assert (made.kind, made.reverses, made.requested) == (Kind.REFUND, desk.history[3].id, None)
    found = sorted((lot.rule, lot.available) for lot in desk.wallet.lots.values() if lot.available)
    assert " ".join(f"{rule}{available}" for rule, available in found) == left
    assert desk.sound()


@pytest.mark.parametrize(
    ("hour", "posted"),
    [
        (19, ["REDEEMED>AVAILABLE 3", "REDEEMED>AVAILABLE 2", "REDEEMED>AVAILABLE 1"]),
        (20, ["REDEEMED>AVAILABLE 3", "REDEEMED>AVAILABLE 2", "REDEEMED>EXPIRED 1"]),
        (31, ["REDEEMED>AVAILABLE 3", "REDEEMED>EXPIRED 2", "REDEEMED>EXPIRED 1"]),
    ],
)
def test_a_refund_to_an_expired_lot_is_expired(hour: float, posted: list[str]) -> None:
    desk = _spent_from_three_lots()
    assert movements(desk.at(hour).reverse(desk.history[3])) == posted
    assert desk.sound()


def test_a_refund_after_inactivity_is_expired_and_is_no_activity() -> None:
    desk = Desk(currency("points", expires=ExpiresInactive(timedelta(hours=9), 0)))
    desk.earn(5)
    spent = desk.spend(5)
    assert movements(desk.at(8).reverse(spent, 1)) == ["REDEEMED>AVAILABLE 1"]
    assert movements(desk.at(9).reverse(spent, 1)) == ["REDEEMED>EXPIRED 1"]
    assert desk.sound()


def test_a_refund_pays_debt() -> None:
    desk = Desk()
    earned = desk.earn(5)
    spent = desk.spend(5)
    desk.reverse(earned, 3)
    assert movements(desk.reverse(spent)) == ["REDEEMED>AVAILABLE 5", "AVAILABLE>DEBT 3"]
    assert desk.balance == "2/0/0/0"
    assert desk.sound()


def test_a_full_reversal_of_both_nets_to_zero() -> None:
    desk = Desk()
    earned = desk.earn(5)
    spent = desk.spend(5)
    desk.reverse(earned)
    desk.reverse(spent)
    account = desk.wallet.accounts["points"]
    assert (desk.balance, account.issued, account.revoked, account.redeemed) == ("0/0/0/0", 5, 5, 0)
    assert desk.sound()


def test_a_capture_is_refunded_like_a_spend() -> None:
    desk = Desk()
    desk.earn(5)
    hold = desk.run(lambda draft: place_hold(draft, desk.currency, 4, API, expires_at=hours(50))).hold
    assert hold is not None
    captured = desk.run(lambda draft: capture(draft, hold, 3, API))
    desk.reverse(captured, 2)
    assert desk.balance == "3/0/1/0"
    assert desk.sound()


@pytest.mark.parametrize(
    ("account", "policy", "kind", "asks_for"),
    [
        (Account("points", 5, issued=5), ALLOW_DEBT, Kind.EARN, "lots"),
        (Account("points", 5, issued=5), WITHIN_BALANCE, Kind.EARN, "lots"),
        (Account("points", 0, 5, issued=5), PENDING_ONLY, Kind.EARN, "lots"),
        (Account("points", 5, issued=5), PENDING_ONLY, Kind.EARN, None),
        (Account("points", issued=5, redeemed=5), ALLOW_DEBT, Kind.EARN, None),
        (Account("points", issued=5, redeemed=5), None, Kind.SPEND, "transaction"),
    ],
)
def test_a_wallet_that_is_not_all_there_asks_only_for_what_matters(
    account: Account, policy: Clawback | None, kind: Kind, asks_for: str | None
) -> None:
    wallet = Wallet({"points": account}, complete=False)
    draft = Draft(wallet, now=NOON, seq=0, next_id=lambda: UUID(int=1), lot_id=lambda _: UUID(int=1))
    sides = (Book.ISSUED, Book.AVAILABLE) if kind is Kind.EARN else (Book.AVAILABLE, Book.REDEEMED)
    original = Original(UUID(int=8), kind, "points", 5, (Posting(*sides, 5, UUID(int=9)),), 0, NOON)

    def attempt() -> None:
        reverse(draft, original, API, currency=currency("points"), zone=ZONE, policy=policy)

    if asks_for is None:
        attempt()
        assert len(draft.transactions) == 1
        return
    with pytest.raises(Unloaded) as asked:
        attempt()
    assert (asked.value.lots, asked.value.transaction) == (
        asks_for == "lots",
        UUID(int=8) if asks_for == "transaction" else None,
    )
    assert (draft.accounts, draft.transactions) == ({}, [])


def test_a_refund_to_a_day_lot_of_which_only_the_addition_is_known_asks_for_the_stored_one() -> None:
    desk = Desk()
    desk.earn(5)
    spent = desk.spend(5)
    desk.wallet = Wallet(desk.wallet.accounts, {}, {})  # the lot is spent, hence not among the open ones
    desk.earn(2)
    with pytest.raises(Unloaded) as asked:
        desk.reverse(spent)
    assert asked.value.transaction == spent.id


def test_debt_never_passes_the_largest_amount() -> None:
    account = Account("points", debt=AMOUNT_MAX - 1, revoked=AMOUNT_MAX - 1)
    draft = Draft(
        Wallet({"points": account}), now=NOON, seq=0, next_id=lambda: UUID(int=1), lot_id=lambda _: UUID(int=1)
    )
    original = Original(
        UUID(int=8), Kind.EARN, "points", 2, (Posting(Book.ISSUED, Book.AVAILABLE, 2, UUID(int=9)),), 0, NOON
    )
    with pytest.raises(AmountOverflow):
        reverse(draft, original, API, currency=currency("points"), zone=ZONE)
    reverse(draft, original, API, currency=currency("points"), zone=ZONE, amount=1)
    assert draft.account("points").debt == AMOUNT_MAX


def _spent_from_three_lots() -> Desk:
    desk = Desk()
    desk.earn(3, "c")
    desk.earn(2, "b", expires=hours(30))
    desk.earn(1, "a", expires=hours(20))
    desk.spend(6)
    return desk
