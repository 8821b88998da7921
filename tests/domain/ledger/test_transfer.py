"""All that one member owns, given to another."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from tests.domain.ledger.desk import API, Desk, hours, movements
from tests.domain.ledger.model import ZONE, currency

from rewards.domain.ledger.accounts import AMOUNT_MAX, Account, Book, Origin, Transaction
from rewards.domain.ledger.entry import AmountOverflow
from rewards.domain.ledger.hold import place_hold
from rewards.domain.ledger.reverse import Original, asked, reverse
from rewards.domain.ledger.transfer import Parcel, pass_on, receive, send_all
from rewards.domain.ledger.wallet import Unloaded, Wallet
from rewards.domain.program.currency import (
    Clawback,
    ExpiresInactive,
)

MERGE = Origin("merge")
HOUR = timedelta(hours=1)


def send(desk: Desk) -> Parcel:
    return desk.run(lambda draft: send_all(draft, desk.currency.key, MERGE, currencies=desk.currencies, zone=ZONE))


def merge(source: Desk, target: Desk) -> None:
    parcel = send(source)
    target.run(lambda draft: receive(draft, parcel, MERGE))
    assert source.sound()
    assert target.sound()
    in_transit = sum(
        (item.credit is Book.TRANSIT) * item.amount - (item.debit is Book.TRANSIT) * item.amount
        for made in (*source.history, *target.history)
        for item in made.postings
    )
    assert in_transit == 0, "transit nets to zero"
    assert source.balance == "0/0/0/0"


def in_debt(amount: int) -> Desk:
    desk = Desk()
    made = desk.earn(amount)
    desk.spend(amount)
    desk.reverse(made)
    return desk


def with_points(amount: int) -> Desk:
    desk = Desk()
    desk.earn(amount)
    return desk


def with_pending(amount: int) -> Desk:
    desk = in_debt(3)
    desk.earn(amount, until_matured=True)
    return desk


@pytest.mark.parametrize(
    ("source", "target", "balance"),
    [
        (with_points(5), Desk(), "5/0/0/0"),
        (with_points(5), with_points(2), "7/0/0/0"),
        (with_points(5), in_debt(2), "3/0/0/0"),
        (with_points(2), in_debt(5), "0/0/0/3"),
        (in_debt(5), with_points(2), "0/0/0/3"),
        (in_debt(2), with_points(5), "3/0/0/0"),
        (in_debt(2), in_debt(5), "0/0/0/7"),
        (with_pending(4), Desk(), "0/4/0/3"),
        (with_pending(4), with_points(5), "2/4/0/0"),
    ],
)
def test_points_and_debt_travel(source: Desk, target: Desk, balance: str) -> None:
    merge(source, target)
    assert target.balance == balance


def test_lots_keep_their_facts() -> None:
    source, target = Desk(), Desk()
    waits = source.earn(1, "rule:w", hold=9 * HOUR, expires=hours(50))
    until = source.earn(2, "rule:u", until_matured=True)
    ready = source.earn(4, "rule:r", expires=hours(30), effective_at=hours(-60))
    for desk in (source, target):
        desk.at(2)
    merge(source, target)
    for made, pending in ((waits, True), (until, True), (ready, False)):
        before, after = source.lot(made), target.lot(made)
        assert (after.id, after.rule, after.opened_at) == (before.id, before.rule, before.opened_at)
        assert (after.matures_at, after.expires_at) == (before.matures_at, before.expires_at)
        assert (after.pending if pending else after.available) == before.sent == made.amount
    target.pass_time(9)
    assert target.balance == "5/2/0/0"


@pytest.mark.parametrize(
    ("arrives_at", "balance", "posted"),
    [
        (3, "0/5/0/0", ["TRANSIT>PENDING 5"]),
        (4, "5/0/0/0", ["TRANSIT>AVAILABLE 5"]),
        (9, "0/0/0/0", ["TRANSIT>EXPIRED 5"]),
    ],
)
def test_time_passes_on_the_way_too(arrives_at: float, balance: str, posted: list[str]) -> None:
    source, target = Desk(), Desk()
    source.earn(5, hold=4 * HOUR, expires=hours(9))
    parcel = send(source)
    target.at(arrives_at).run(lambda draft: receive(draft, parcel, MERGE))
    assert (target.balance, movements(target.history[-1])) == (balance, posted)
    assert target.sound()


def test_holds_are_released_and_what_expired_in_them_does_not_travel() -> None:
    source, target = Desk(), Desk()
    source.earn(5)
    source.earn(2, expires=hours(3))
    made = source.run(lambda draft: place_hold(draft, source.currency, 4, API, expires_at=hours(50)))
    assert made.hold is not None
    source.at(4)
    target.at(4)
    merge(source, target)
    assert (target.balance, source.wallet.holds[made.hold].remaining) == ("5/0/0/0", 0)
    assert source.log(3) == ["release 4 @4", "send 5 @4"]


def test_what_expires_first_pays_debt_first() -> None:
    source, target = Desk(), in_debt(3)
    late, soon = source.earn(3, "late", expires=hours(50)), source.earn(3, "soon", expires=hours(9))
    merge(source, target)
    assert (target.lot(soon).revoked, target.lot(late).revoked) == (3, 0)


def test_debt_asks_for_the_lots_that_are_to_pay_it() -> None:
    target = with_points(5)
    parcel = send(in_debt(2))
    target.wallet = Wallet(target.wallet.accounts, complete=False)
    draft = target.draft()
    with pytest.raises(Unloaded):
        receive(draft, parcel, MERGE)
    assert (draft.accounts, draft.transactions) == ({}, [])


def test_a_clawback_after_the_merge_finds_the_lot() -> None:
    source, target = Desk(), with_points(9)
    made = source.earn(5, until_matured=True)
    merge(source, target)
    assert movements(target.reverse(made, policy=Clawback.PENDING_ONLY)) == ["PENDING>REVOKED 5"]
    assert target.sound()


def refunded(source: Desk, target: Desk, made: Transaction, amount: int | None = None) -> Transaction:
    """What the source had spent before it was merged goes back to the target, by way of transit."""
    lots = tuple(lot for lot in source.wallet.lots.values() if lot.id in {posting.lot for posting in made.postings})
    identifier = UUID(int=made.id.int << 64)  # each desk counts its own from 1
    so_far = sum(asked(item) for item in target.history if item.reverses == identifier)
    original = Original(
        identifier,
        made.kind,
        made.currency,
        made.amount,
        tuple(made.postings),
        so_far,
        made.effective_at,
        owner=UUID(int=1),
        lots=lots,
    )
    refund = target.run(lambda draft: reverse(draft, original, API, currency=target.currency, zone=ZONE, amount=amount))
    moved = [posting for posting in refund.postings if posting.debit is Book.TRANSIT]
    shares = [(posting.lot, posting.amount) for posting in moved if posting.lot is not None]
    source.run(lambda draft: pass_on(draft, made.currency, shares, MERGE, transaction=made.id))
    assert source.sound()
    assert target.sound()
    return refund


@pytest.mark.parametrize(
    ("spent", "target", "refunds", "posted", "balance"),
    [
        # five points that expire after 9 hours, then five that never do
        (3, Desk(), [None], ["TRANSIT>AVAILABLE 3"], "10/0/0/0"),
        (10, Desk(), [None], ["TRANSIT>AVAILABLE 5", "TRANSIT>AVAILABLE 5"], "10/0/0/0"),
        (7, with_points(4), [None], ["TRANSIT>AVAILABLE 2", "TRANSIT>AVAILABLE 5"], "14/0/0/0"),
        (7, Desk(), [3, None], ["TRANSIT>AVAILABLE 2", "TRANSIT>AVAILABLE 1", "TRANSIT>AVAILABLE 4"], "10/0/0/0"),
        (
            10,
            in_debt(7),
            [None],
            ["TRANSIT>AVAILABLE 5", "AVAILABLE>DEBT 5", "TRANSIT>AVAILABLE 5", "AVAILABLE>DEBT 2"],
            "3/0/0/0",
        ),
    ],
)
def test_what_was_spent_before_a_merge_comes_back_as_if_it_had_come_along(
    spent: int, target: Desk, refunds: list[int | None], posted: list[str], balance: str
) -> None:
    source = Desk()
    source.earn(5, "soon", expires=hours(9))
    source.earn(5, "never")
    made = source.spend(spent)
    merge(source, target)
    done = [refunded(source, target, made, amount) for amount in refunds]
    assert ([move for each in done for move in movements(each)], target.balance) == (posted, balance)
    soon, never = (next(lot for lot in target.wallet.lots.values() if lot.rule == rule) for rule in ("soon", "never"))
    assert (soon.amount, soon.expires_at, never.amount, never.expires_at) == (5, hours(9), 5, None)
    assert (source.wallet.accounts["points"].redeemed, source.wallet.accounts["points"].sent) == (0, 10)
    target.pass_time(10)
    assert target.sound()


def test_what_would_have_expired_meanwhile_is_not_given_back() -> None:
    source, target = Desk(), Desk()
    source.earn(5, expires=hours(9))
    made = source.spend(4)
    merge(source, target)
    for desk in (source, target):
        desk.pass_time(9)
    assert (movements(refunded(source, target, made)), target.balance) == (["TRANSIT>EXPIRED 4"], "0/0/0/0")


def test_a_refund_that_the_wallet_has_no_room_for_changes_nothing() -> None:
    source, target = Desk(), Desk()
    source.earn(5)
    made = source.spend(5)
    target.wallet.accounts["points"] = Account("points", issued=AMOUNT_MAX, redeemed=AMOUNT_MAX)
    with pytest.raises(AmountOverflow):
        refunded(source, target, made)
    assert target.history == []


def test_the_later_activity_stands() -> None:
    idle = currency("points", expires=ExpiresInactive(9 * HOUR, 0))
    for source_at, target_at, gone_at in ((1, 2, 11), (2, 1, 11)):
        source, target = Desk(idle), Desk(idle)
        source.at(source_at).earn(1)
        target.at(target_at).earn(1)
        merge(source.at(4), target.at(4))
        assert target.pass_time(gone_at - 0.1).balance == "2/0/0/0"
        assert target.pass_time(gone_at).balance == "0/0/0/0"


def test_nothing_to_give_posts_nothing() -> None:
    source = Desk()
    source.earn(5)
    source.spend(5)
    before = len(source.history)
    merge(source, Desk())
    assert len(source.history) == before


def test_more_than_the_largest_amount_is_refused() -> None:
    target = Desk()
    target.wallet.accounts["points"] = Account("points", issued=AMOUNT_MAX, redeemed=AMOUNT_MAX)
    parcel = send(with_points(1))
    with pytest.raises(AmountOverflow):
        target.run(lambda draft: receive(draft, parcel, MERGE))
