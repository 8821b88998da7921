"""Spending available points, those that expire first before the others."""

from __future__ import annotations

from uuid import UUID

from rewards.domain.errors import Refusal, RewardsError
from rewards.domain.ledger.accounts import Book, Kind, Origin, Transaction
from rewards.domain.ledger.entry import Entry, check_amount, lot_for_change, spendable
from rewards.domain.ledger.wallet import Draft
from rewards.domain.program.currency import (
    Currency,
)


class InsufficientPoints(Refusal):
    """The wallet holds fewer available points than requested. `details`: currency, available, requested."""

    code = "insufficient-points"


class NotSpendable(Refusal):
    """The currency only counts; it cannot be spent or held."""

    code = "not-spendable"


class LotsDisagree(RewardsError):
    """Account and lots hold different sums: the stored ledger is broken and `rewards ledger verify` says where."""

    code = "lots-disagree"


def spend(draft: Draft, currency: Currency, amount: int, origin: Origin) -> Transaction:
    """Spend `amount` available points, one posting per lot touched.

    What fell due must be posted before. Raises `NotSpendable`, `InsufficientPoints`, `InvalidAmount`.
    """
    check_spendable(draft, currency, amount)
    entry = Entry(draft, currency.key)
    take(entry, Book.REDEEMED, amount)
    entry.touch()
    return entry.close(Kind.SPEND, amount, origin)


def check_spendable(draft: Draft, currency: Currency, amount: int) -> None:
    """Refuse what cannot be taken, before anything is touched. Raises `Unloaded` when lots are missing."""
    check_amount(amount)
    if not currency.spendable:
        raise NotSpendable(f"{currency.key} cannot be spent", currency=currency.key)
    available = draft.peek(currency.key).available
    if amount > available:
        raise InsufficientPoints(
            f"{available} {currency.key} available, {amount} requested",
            currency=currency.key,
            available=available,
            requested=amount,
        )
    in_lots = sum(lot.available for lot in draft.open_lots(currency.key))
    if in_lots != available:
        raise LotsDisagree(f"{available} {currency.key} in the account, {in_lots} in its lots", currency=currency.key)


def take(entry: Entry, into: Book, amount: int) -> list[tuple[UUID, int]]:
    """Move up to `amount` available points to `into` in spending order; gives (lot id, amount) per lot touched."""
    parts = []
    for candidate in spendable(entry.draft, entry.account.currency):
        if not amount:
            break
        lot = lot_for_change(entry.draft, candidate.id)
        part = min(amount, lot.available)
        entry.post(Book.AVAILABLE, into, part, lot)
        parts.append((lot.id, part))
        amount -= part
    return parts
