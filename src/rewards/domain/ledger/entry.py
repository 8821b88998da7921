"""One ledger entry in the making: each posting moves the account and the lot together, so they cannot drift apart."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from rewards.domain.errors import InvalidInput, Refusal
from rewards.domain.ledger.accounts import AMOUNT_MAX, Account, Book, Kind, Lot, Origin, Posting, Transaction
from rewards.domain.ledger.wallet import Draft, Unloaded

_Effect = tuple[str, int] | None


def _by_book(effects: dict[Book, tuple[str, int]]) -> tuple[_Effect, ...]:
    by_number = {int(book): effect for book, effect in effects.items()}
    return tuple(by_number.get(number) for number in range(max(Book) + 1))


_BUCKETS: Final = ((Book.AVAILABLE, "available"), (Book.PENDING, "pending"), (Book.HELD, "held"))

ACCOUNT_DEBIT: Final = _by_book(
    {book: (field, -1) for book, field in _BUCKETS}
    | {
        Book.DEBT: ("debt", 1),
        Book.ISSUED: ("issued", 1),
        Book.REDEEMED: ("redeemed", -1),
        Book.REVOKED: ("revoked", -1),
        Book.TRANSIT: ("received", 1),
    }
)
"""What a debit of a book does to the account, by the book's number: the field and its sign."""

ACCOUNT_CREDIT: Final = _by_book(
    {book: (field, 1) for book, field in _BUCKETS}
    | {
        Book.DEBT: ("debt", -1),
        Book.REDEEMED: ("redeemed", 1),
        Book.EXPIRED: ("expired", 1),
        Book.REVOKED: ("revoked", 1),
        Book.TRANSIT: ("sent", 1),
    }
)

LOT_DEBIT: Final = _by_book(
    {book: (field, -1) for book, field in _BUCKETS}
    | {Book.ISSUED: ("amount", 1), Book.TRANSIT: ("amount", 1), Book.REDEEMED: ("redeemed", -1)}
)

# What a lot pays towards debt is gone for the member as if it had been revoked when the debt arose.
LOT_CREDIT: Final = _by_book(
    {book: (field, 1) for book, field in _BUCKETS}
    | {
        Book.DEBT: ("revoked", 1),
        Book.REDEEMED: ("redeemed", 1),
        Book.EXPIRED: ("expired", 1),
        Book.REVOKED: ("revoked", 1),
        Book.TRANSIT: ("sent", 1),
    }
)


class InvalidAmount(InvalidInput):
    """An amount is an integer from 1 to 2^53 - 1."""

    code = "invalid-amount"


class AmountOverflow(Refusal):
    """A balance or lifetime total would pass 2^53 - 1, which readers of JSON could no longer tell exactly."""

    code = "amount-overflow"


def check_amount(amount: int) -> None:
    """Raise `InvalidAmount` unless `amount` is an integer (no bool) of 1 to `AMOUNT_MAX`."""
    if type(amount) is not int or not 1 <= amount <= AMOUNT_MAX:
        raise InvalidAmount(
            "an amount is an integer from 1 to 2^53-1", path="amount", expected=f"integer from 1 to {AMOUNT_MAX}"
        )


def check_room(account: Account, amount: int) -> None:
    """Raise `AmountOverflow` if `amount` more points coming in, or more debt, would pass `AMOUNT_MAX` anywhere.

    What came in bounds every bucket and every other total, except what clawback adds on top: revoked, hence debt.
    """
    if account.issued + account.received + amount > AMOUNT_MAX or account.revoked + amount > AMOUNT_MAX:
        raise AmountOverflow(f"{account.currency} would pass the largest amount", currency=account.currency)


class Entry:
    """A transaction being written: `post` moves account and lot, `close` appends the transaction to the draft."""

    __slots__ = ("account", "draft", "postings")

    def __init__(self, draft: Draft, currency: str) -> None:
        self.draft = draft
        self.account = draft.account(currency)
        self.postings: list[Posting] = []

    def post(self, debit: Book, credit: Book, amount: int, lot: Lot | None) -> None:
        """Move `amount` from `debit` to `credit`; `lot` must be one for changing (`Draft.lot`)."""
        account = self.account
        _move(account, ACCOUNT_DEBIT[debit], amount)
        _move(account, ACCOUNT_CREDIT[credit], amount)
        if lot is None:
            self.postings.append(Posting(debit, credit, amount, None))
            return
        _move(lot, LOT_DEBIT[debit], amount)
        _move(lot, LOT_CREDIT[credit], amount)
        self.postings.append(Posting(debit, credit, amount, lot.id))

    def settle(self, lot: Lot, amount: int) -> None:
        """Pay debt from `amount` points of `lot` that just became available: the two never coexist."""
        debt = self.account.debt
        if debt:
            self.post(Book.AVAILABLE, Book.DEBT, min(debt, amount), lot)

    def close(
        self,
        kind: Kind,
        amount: int,
        origin: Origin,
        *,
        effective_at: datetime | None = None,
        requested: int | None = None,
        reverses: UUID | None = None,
        hold: UUID | None = None,
    ) -> Transaction:
        """Append the transaction, with the next sequence number and the balances as they are now."""
        draft, account = self.draft, self.account
        draft.seq += 1
        transaction = Transaction(
            draft.next_id(),
            kind,
            account.currency,
            amount,
            draft.seq,
            origin,
            draft.now if effective_at is None else effective_at,
            draft.now,
            self.postings,
            account.available,
            account.pending,
            account.held,
            account.debt,
            requested,
            reverses,
            hold,
        )
        draft.transactions.append(transaction)
        return transaction

    def touch(self) -> None:
        """Note that the member earned or spent: the clock of inactivity starts anew."""
        last = self.account.last_activity_at
        if last is None or last < self.draft.now:
            self.account.last_activity_at = self.draft.now


def _move(target: Account | Lot, effect: _Effect, amount: int) -> None:
    if effect is not None:
        field, sign = effect
        setattr(target, field, getattr(target, field) + sign * amount)


def lot_for_change(draft: Draft, lot_id: UUID) -> Lot:
    """The lot, which the caller knows to exist. Raises `Unloaded` when it is not at hand."""
    lot = draft.lot(lot_id)
    if lot is None:
        raise Unloaded(lots=True)
    return lot


def spendable(draft: Draft, currency: str) -> list[Lot]:
    """The lots with available points in the order they are spent: earliest expiry first, those without one last."""
    lots = [lot for lot in draft.open_lots(currency) if lot.available]
    lots.sort(key=spend_order)
    return lots


def spend_order(lot: Lot) -> tuple[bool, datetime, datetime, int]:
    """Sorts by expiry (none last), then by opening, then by id."""
    expires_at = lot.expires_at
    return (expires_at is None, expires_at or lot.opened_at, lot.opened_at, lot.id.int)
