"""Each invariant, broken on purpose in a history that is otherwise sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from tests.domain.ledger.desk import API, NOON, Desk, hours
from tests.domain.ledger.model import ZONE

from rewards.domain.ledger.accounts import Account, Book, Hold, Kind, Lot, Posting, Transaction
from rewards.domain.ledger.hold import capture, place_hold, release
from rewards.domain.ledger.verify import sequence_violations, spendable_violations, violations


class Books:
    """The stored rows of a member with a bit of everything; tests tamper with one of them."""

    def __init__(self) -> None:
        desk = Desk()
        desk.earn(5, "a", expires=hours(20))
        desk.earn(9, "b")
        desk.earn(3, "c", hold=timedelta(hours=9))
        spent = desk.spend(4)
        hold = desk.run(lambda draft: place_hold(draft, desk.currency, 5, API, expires_at=hours(50))).hold
        assert hold is not None
        desk.run(lambda draft: capture(draft, hold, 1, API))
        desk.run(lambda draft: release(draft, hold, 2, API, currency=desk.currency, zone=ZONE))
        desk.reverse(spent, 1)
        desk.reverse(desk.history[1], 4)
        self.account: Account = desk.wallet.accounts["points"]
        self.lots: list[Lot] = list(desk.wallet.lots.values())
        self.holds: list[Hold] = list(desk.wallet.holds.values())
        self.history: list[Transaction] = desk.history

    def lot(self, rule: str) -> Lot:
        return next(lot for lot in self.lots if lot.rule == rule)

    def of(self, kind: Kind) -> Transaction:
        return next(item for item in self.history if item.kind is kind)

    def violations(self) -> list[str]:
        return violations(self.account, self.lots, self.holds, self.history)


def test_a_sound_history_has_no_violations() -> None:
    books = Books()
    assert books.violations() == []
    assert books.account.debt == 0
    assert books.account.pending == 3


def put(thing: str, field: str, by: int) -> Callable[[Books], None]:
    """Changes a stored number."""

    def tamper(books: Books) -> None:
        target = {"account": books.account, "lot": books.lot("b"), "hold": books.holds[0]}[thing]
        setattr(target, field, getattr(target, field) + by)

    return tamper


def transaction(kind: Kind, **changes: object) -> Callable[[Books], None]:
    """Changes a transaction."""

    def tamper(books: Books) -> None:
        for field, value in changes.items():
            setattr(books.of(kind), field, value)

    return tamper


def posting(kind: Kind, **changes: object) -> Callable[[Books], None]:
    """Changes the first posting of a transaction."""

    def tamper(books: Books) -> None:
        postings = books.of(kind).postings
        postings[0] = replace(postings[0], **changes)  # type: ignore[arg-type]

    return tamper


def drop(kind: Kind) -> Callable[[Books], None]:
    return lambda books: books.history.remove(books.of(kind))


def swap_first_two(books: Books) -> None:
    books.history[0], books.history[1] = books.history[1], books.history[0]


def forget_lot(books: Books) -> None:
    books.lots.remove(books.lot("a"))


def strange_lot(books: Books) -> None:
    books.lots.append(Lot(UUID(int=5), "points", "x", NOON, 0))


def negative_part(books: Books) -> None:
    lot = books.lot("b")
    lot.available, lot.held = lot.available + lot.held + 1, -1


def spend_before_maturity(books: Books) -> None:
    books.lot("a").matures_at = hours(7)


def spend_after_expiry(books: Books) -> None:
    books.lot("a").expires_at = NOON


def spend_out_of_order(books: Books) -> None:
    books.lot("b").expires_at = hours(19)


def swap_hold_parts(books: Books) -> None:
    hold = books.holds[0]
    hold.parts = [(books.lot("a").id, hold.remaining)]


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        *((put("account", field, 1), f"account: {field} is") for field in ("available", "pending", "held", "debt")),
        *((put("account", field, 1), f"account: {field} is") for field in ("issued", "redeemed", "expired", "revoked")),
        *((put("account", field, 1), f"account: {field} is") for field in ("sent", "received")),
        (put("account", "available", -99), "account: available is -"),
        (put("account", "issued", 1), "lifetime totals"),
        (put("account", "debt", 1), "beside a debt"),
        *((put("lot", field, 1), f": {field} is") for field in ("amount", "available", "held", "redeemed", "revoked")),
        (put("lot", "expired", 1), "its parts do not sum"),
        (put("lot", "sent", 1), "lots sum to"),
        (negative_part, "has a negative part"),
        (forget_lot, "has postings but no row"),
        (strange_lot, "has no postings"),
        (put("hold", "captured", 9), "captured 10 and released 2 of 5"),
        (put("hold", "captured", 1), "capture is 2, transactions give 1"),
        (put("hold", "released", 1), "release is 3, transactions give 2"),
        (put("hold", "amount", 1), "its parts do not sum to 3"),
        (swap_hold_parts, "holds give"),
        (transaction(Kind.SPEND, available=11), "available after is 11"),
        (transaction(Kind.SPEND, debt=2), "debt after is 2"),
        (transaction(Kind.SPEND, seq=9), "seq 5 follows 9"),
        (transaction(Kind.SPEND, recorded_at=hours(1)), "recorded before"),
        (transaction(Kind.SPEND, postings=[]), "has no postings"),
        (transaction(Kind.CLAWBACK, requested=10), "10 of 9 were reversed"),
        (transaction(Kind.REFUND, requested=5), "5 of 4 were reversed"),
        (drop(Kind.REFUND), "postings give"),
        (swap_first_two, "seq 1 follows 2"),
        (posting(Kind.SPEND, amount=3), "postings give"),
        (posting(Kind.SPEND, credit=Book.EXPIRED), "postings give"),
        (posting(Kind.SPEND, credit=Book.ISSUED), "is no movement"),
        (posting(Kind.SPEND, amount=2**53), "is no movement"),
        (posting(Kind.SPEND, lot=None), "has lot None"),
        (posting(Kind.SPEND, lot=UUID(int=5)), "has postings but no row"),
        (posting(Kind.EARN, debit=Book.DEBT, credit=Book.REVOKED), "has lot"),
        (posting(Kind.SPEND, debit=Book.HELD), "a balance is negative"),
        (spend_before_maturity, "had not matured"),
        (spend_after_expiry, "had expired"),
        (spend_out_of_order, "to be spent earlier"),
    ],
)
def test_every_mistake_is_found(tamper: Callable[[Books], None], found: str) -> None:
    books = Books()
    tamper(books)
    assert any(found in sentence for sentence in books.violations()), books.violations()


def test_points_beside_debt_are_found() -> None:
    books = Books()
    books.of(Kind.HOLD).postings.append(Posting(Book.DEBT, Book.REVOKED, 1, None))
    assert any("leaves available points beside debt" in sentence for sentence in books.violations())


@pytest.mark.parametrize(
    ("numbers", "last", "found"),
    [
        ([], 0, []),
        ([1, 2, 3], 3, []),
        ([1, 3], 3, ["seq 3 stands where 2 is expected"]),
        ([1, 1], 1, ["seq 1 stands where 2 is expected"]),
        ([2], 2, ["seq 2 stands where 1 is expected"]),
        ([1, 2], 3, ["seq ends at 2, the member is at 3"]),
        ([1, 2, 3], 2, ["seq ends at 3, the member is at 2"]),
        ([], 1, ["seq ends at 0, the member is at 1"]),
    ],
)
def test_sequences(numbers: list[int], last: int, found: list[str]) -> None:
    assert sequence_violations(numbers, last) == found


@pytest.mark.parametrize(("hour", "due"), [(8.9, 0), (9, 1), (20, 2)])
def test_what_is_due_but_not_posted(hour: float, due: int) -> None:
    books = Books()
    assert len(spendable_violations(books.account, books.lots, hours(hour))) == due
