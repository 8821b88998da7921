"""Issuing and spending: lots, merging, maturity, refusals."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.domain.ledger.desk import API, NOON, Desk, hours, movements
from tests.domain.ledger.model import ZONE, currency

from rewards.domain.errors import RewardsError
from rewards.domain.ledger.accounts import AMOUNT_MAX, Account, Kind, Lot, Origin
from rewards.domain.ledger.earn import earn
from rewards.domain.ledger.entry import AmountOverflow, InvalidAmount
from rewards.domain.ledger.spend import InsufficientPoints, LotsDisagree, NotSpendable, spend
from rewards.domain.ledger.upkeep import post_due
from rewards.domain.ledger.wallet import Draft, Unloaded, Wallet
from rewards.domain.program.currency import (
    ExpiresAfter,
    Round,
)

DAYS_3 = timedelta(days=3)


@pytest.mark.parametrize(
    ("options", "balance", "posted"),
    [
        ({}, "5/0/0/0", "ISSUED>AVAILABLE 5"),
        ({"hold": DAYS_3}, "0/5/0/0", "ISSUED>PENDING 5"),
        ({"until_matured": True}, "0/5/0/0", "ISSUED>PENDING 5"),
        ({"until_matured": True, "hold": timedelta(0)}, "0/5/0/0", "ISSUED>PENDING 5"),
        ({"hold": DAYS_3, "effective_at": hours(-71)}, "0/5/0/0", "ISSUED>PENDING 5"),
        ({"hold": DAYS_3, "effective_at": hours(-72)}, "5/0/0/0", "ISSUED>AVAILABLE 5"),  # waited long enough
        ({"expires": hours(1)}, "5/0/0/0", "ISSUED>AVAILABLE 5"),
        ({"expires": hours(0)}, "0/0/0/0", "ISSUED>EXPIRED 5"),  # booked too late to be anybody's
        ({"expires": hours(0), "hold": DAYS_3}, "0/0/0/0", "ISSUED>EXPIRED 5"),
    ],
)
def test_where_issued_points_go(options: dict[str, Any], balance: str, posted: str) -> None:
    desk = Desk()
    made = desk.earn(5, **options)
    assert (desk.balance, movements(made)) == (balance, [posted])
    assert made.effective_at == options.get("effective_at", NOON)
    assert desk.sound()


def test_the_currency_decides_hold_and_expiry_unless_the_earn_does() -> None:
    desk = Desk(currency("points", hold=DAYS_3, expires=ExpiresAfter(timedelta(days=9), 0, Round.NONE)))
    usual = desk.lot(desk.earn(1))
    chosen = desk.lot(desk.earn(1, hold=timedelta(0), expires=ExpiresAfter(timedelta(days=1), 0, Round.NONE)))
    assert (usual.pending, usual.matures_at, usual.expires_at) == (1, hours(72), hours(9 * 24))
    assert (chosen.available, chosen.matures_at, chosen.expires_at) == (1, None, hours(24))


@pytest.mark.parametrize(
    ("second", "merges"),
    [
        ({}, True),
        ({"rule": "rule:b"}, False),
        ({"expires": hours(99)}, False),
        ({"hold": DAYS_3}, False),
        ({"effective_at": hours(-13.9)}, True),  # 00:06 in Amsterdam
        ({"effective_at": hours(-14.1)}, False),  # the evening before
    ],
)
def test_lots_at_once_available_merge_per_rule_expiry_and_local_day(second: dict[str, Any], merges: bool) -> None:
    desk = Desk()
    desk.earn(3)
    desk.earn(4, **second)
    assert sorted(lot.amount for lot in desk.wallet.lots.values()) == ([7] if merges else [3, 4])
    assert desk.sound()


def test_pending_lots_never_merge() -> None:
    desk = Desk()
    assert desk.earn(3, hold=DAYS_3).postings[0].lot != desk.earn(3, hold=DAYS_3).postings[0].lot


def test_a_day_lot_that_was_not_loaded_is_written_as_what_to_add() -> None:
    """The draft knows nothing of the stored lot: it leaves an unstored one that holds only what is new."""
    desk = Desk()
    lot_id = desk.earn(3).postings[0].lot
    assert lot_id is not None
    account = desk.wallet.accounts["points"]
    desk.wallet = Wallet({"points": account}, {}, {}, complete=False)
    desk.earn(4)
    delta = desk.wallet.lots[lot_id]
    assert (delta.amount, delta.available, delta.stored) == (4, 4, False)
    assert desk.wallet.accounts["points"].available == 7


@pytest.mark.parametrize(
    ("amount", "left"),
    [
        # lots: a 4 expires at 9 · b 3 expires at 5 · c 2 never · d 1 expires at 9, opened later than a
        (1, "a4 b2 c2 d1"),
        (3, "a4 c2 d1"),
        (7, "c2 d1"),
        (8, "c2"),
        (9, "c1"),
        (10, ""),
    ],
)
def test_spending_takes_the_earliest_expiry_first(amount: int, left: str) -> None:
    desk = Desk()
    desk.earn(4, "a", expires=hours(9), effective_at=hours(-48))
    desk.earn(2, "c")
    desk.earn(3, "b", expires=hours(5))
    desk.earn(1, "d", expires=hours(9))
    made = desk.spend(amount)
    found = sorted((lot.rule, lot.available) for lot in desk.wallet.lots.values() if lot.available)
    assert " ".join(f"{rule}{available}" for rule, available in found) == left
    assert len({posting.lot for posting in made.postings}) == len(made.postings)
    assert desk.sound()


def test_equal_expiry_and_opening_are_decided_by_id() -> None:
    desk = Desk()
    first, second = sorted((desk.earn(1, rule).postings[0].lot or UUID(int=0)) for rule in ("a", "b"))
    desk.spend(1)
    assert (desk.wallet.lots[first].available, desk.wallet.lots[second].available) == (0, 1)


@pytest.mark.parametrize(
    ("amount", "refusal"),
    [
        (6, InsufficientPoints),
        (AMOUNT_MAX, InsufficientPoints),
        (0, InvalidAmount),
        (-1, InvalidAmount),
        (AMOUNT_MAX + 1, InvalidAmount),
        (True, InvalidAmount),
        (1.0, InvalidAmount),
    ],
)
def test_a_spend_that_cannot_be_is_refused_and_leaves_nothing(amount: Any, refusal: type[RewardsError]) -> None:
    desk = Desk()
    desk.earn(5)
    desk.earn(9, until_matured=True)
    draft = desk.draft()
    with pytest.raises(refusal):
        spend(draft, desk.currency, amount, API)
    assert (draft.accounts, draft.lots, draft.transactions, draft.seq) == ({}, {}, [], 2)


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1, True, 1.0])
def test_an_earn_of_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(InvalidAmount):
        Desk().earn(amount)


def test_an_account_that_disagrees_with_its_lots_pays_nothing() -> None:
    desk = Desk()
    desk.earn(5)
    desk.wallet.accounts["points"].available = 6
    with pytest.raises(LotsDisagree):
        desk.spend(1)


def test_insufficient_points_say_what_was_found() -> None:
    desk = Desk()
    desk.earn(5)
    with pytest.raises(InsufficientPoints) as refused:
        desk.spend(6)
    assert refused.value.details == {"currency": "points", "available": 5, "requested": 6}


def test_a_currency_that_only_counts_cannot_be_spent() -> None:
    desk = Desk(currency("status", spendable=False))
    desk.earn(5)
    with pytest.raises(NotSpendable):
        desk.spend(1)


def test_spending_from_a_wallet_that_is_not_all_there_asks_for_the_rest() -> None:
    draft = Draft(
        Wallet({"points": Account("points", 5, issued=5)}, complete=False),
        now=NOON,
        seq=0,
        next_id=lambda: UUID(int=1),
        lot_id=lambda _: UUID(int=1),
    )
    with pytest.raises(InsufficientPoints):  # the account alone can tell
        spend(draft, currency("points"), 6, API)
    with pytest.raises(Unloaded) as asked:
        spend(draft, currency("points"), 5, API)
    assert asked.value.lots
    assert (draft.accounts, draft.transactions) == ({}, [])


@pytest.mark.parametrize(
    ("account", "amount", "refused"),
    [
        (Account("points"), AMOUNT_MAX, False),
        (Account("points", AMOUNT_MAX, issued=AMOUNT_MAX), 1, True),
        (Account("points", issued=AMOUNT_MAX, redeemed=AMOUNT_MAX), 1, True),
        (Account("points", issued=1, received=AMOUNT_MAX - 2, redeemed=AMOUNT_MAX - 1), 1, False),
        (Account("points", issued=1, received=AMOUNT_MAX - 1, redeemed=AMOUNT_MAX), 1, True),
    ],
)
def test_totals_never_pass_the_largest_amount(account: Account, amount: int, refused: bool) -> None:
    draft = Draft(
        Wallet({"points": account}), now=NOON, seq=0, next_id=lambda: UUID(int=1), lot_id=lambda _: UUID(int=1)
    )

    def attempt() -> None:
        earn(draft, currency("points"), amount, API, zone=ZONE, effective_at=NOON)

    if refused:
        with pytest.raises(AmountOverflow):
            attempt()
        assert draft.transactions == []
    else:
        attempt()
        assert draft.transactions[0].amount == amount


def test_transactions_carry_balances_sequence_and_cause() -> None:
    desk = Desk()
    desk.earn(5)
    draft = desk.at(1).draft()
    origin = Origin("rule:r", "ann", "because", "order-1", "a note", UUID(int=77))
    made = earn(
        draft, desk.currency, 3, origin, zone=ZONE, effective_at=hours(0.5), until_matured=True, kind=Kind.IMPORT
    )
    assert (made.seq, made.kind, made.origin) == (2, Kind.IMPORT, origin)
    assert (made.available, made.pending, made.held, made.debt) == (5, 3, 0, 0)
    assert (made.effective_at, made.recorded_at) == (hours(0.5), hours(1))
    assert desk.wallet.accounts["points"].pending == 0, "a draft changes nothing until it is committed"


@pytest.mark.parametrize(
    ("activity", "counts"),
    [("earn", True), ("spend", True), ("mature", False), ("reverse", False)],
)
def test_earning_and_spending_are_activity(activity: str, counts: bool) -> None:
    desk = Desk()
    made = desk.earn(5, hold=timedelta(hours=1))
    desk.earn(5)
    desk.at(2)
    if activity == "earn":
        desk.earn(1, effective_at=hours(-5))
    elif activity == "spend":
        desk.spend(1)
    elif activity == "mature":
        desk.pass_time(2)
    else:
        desk.reverse(made)
    last: datetime | None = desk.wallet.accounts["points"].last_activity_at
    assert last == (hours(2) if counts else hours(0))


def test_post_due_on_an_empty_wallet_posts_nothing() -> None:
    draft = Desk().draft()
    post_due(draft, {}, ZONE)
    assert (draft.transactions, draft.accounts) == ([], {})


def test_lots_say_how_much_is_open() -> None:
    assert Lot(UUID(int=1), "points", "r", NOON, 9, pending=1, available=2, held=3, redeemed=3).open == 6
