"""Taking a transaction back: clawback of what was issued, refund of what was spent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.errors import Refusal
from rewards.domain.ledger.accounts import Book, Kind, Lot, Origin, Posting, Transaction
from rewards.domain.ledger.entry import Entry, check_amount, check_room, lot_for_change
from rewards.domain.ledger.expiry import deadline, inactive_at
from rewards.domain.ledger.spend import take
from rewards.domain.ledger.transfer import lot_like
from rewards.domain.ledger.wallet import Draft, Unloaded
from rewards.domain.program.currency import (
    Clawback,
    Currency,
)

CLAWED_BACK: Final = frozenset({Kind.EARN, Kind.IMPORT})
REFUNDED: Final = frozenset({Kind.SPEND, Kind.CAPTURE})


class AlreadyReversed(Refusal):
    """The whole transaction was taken back before."""

    code = "already-reversed"


class ReversalExceedsOriginal(Refusal):
    """More than what is left of the original. `details`: remaining, requested."""

    code = "reversal-exceeds-original"


class NotReversible(Refusal):
    """Only what was issued or spent in a currency of the program can be taken back; what it paid for must be unused.

    `details`: kind, or the transaction.
    """

    code = "not-reversible"


@dataclass(frozen=True, slots=True)
class Original:
    """The transaction to take back, as stored. `reversed_so_far` sums `asked` of its reversals.

    `event` is the event that caused it, `effective_at` when it counts, `source` what it is from, as of `Origin`.
    `reversed_elsewhere` is the part of it that another member took back, who was merged into this one. `owner` is such a
    member where the transaction is that one's, None for the member's own; `lots` are those of the owner that it spent.
    """

    transaction: UUID
    kind: Kind
    currency: str
    amount: int
    postings: tuple[Posting, ...]
    reversed_so_far: int
    effective_at: datetime
    event: UUID | None = None
    reversed_elsewhere: int = 0
    source: str = ""
    owner: UUID | None = None
    lots: tuple[Lot, ...] = ()

    @property
    def remaining(self) -> int:
        return self.amount - self.reversed_so_far


def reverse(
    draft: Draft,
    original: Original,
    origin: Origin,
    *,
    currency: Currency,
    zone: ZoneInfo,
    amount: int | None = None,
    policy: Clawback | None = None,
) -> Transaction:
    """Take `amount` of the original back (all that is left when None); `policy` overrides the currency's clawback.

    A clawback that finds less than asked and may not make debt forgives the rest; `asked(transaction)` adds to
    `reversed_so_far` either way. A reversal is no activity of the member. Raises `NotReversible`, `AlreadyReversed`,
    `ReversalExceedsOriginal`, `InvalidAmount`, `AmountOverflow`; and `Unloaded` with `lots` when open lots are missing,
    with `transaction` when the original's own lots are, open or not.
    """
    if original.kind not in CLAWED_BACK and original.kind not in REFUNDED:
        raise NotReversible(f"a {original.kind} cannot be reversed", kind=str(original.kind))
    if amount is not None:
        check_amount(amount)
    remaining = original.remaining
    if remaining <= 0:
        raise AlreadyReversed("the transaction was reversed before", transaction=str(original.transaction))
    asked_for = remaining if amount is None else amount
    if asked_for > remaining:
        raise ReversalExceedsOriginal(
            f"{remaining} of the transaction are left, {asked_for} requested", remaining=remaining, requested=asked_for
        )
    if original.kind in REFUNDED:
        return _refund(draft, original, asked_for, origin, currency, zone=zone)
    return _claw_back(draft, original, asked_for, origin, currency.clawback if policy is None else policy)


def asked(transaction: Transaction) -> int:
    """What a reversal uses up of its original: also what a policy forgave, so it is never asked for again."""
    return transaction.amount if transaction.requested is None else transaction.requested


def _claw_back(draft: Draft, original: Original, amount: int, origin: Origin, policy: Clawback) -> Transaction:
    """The original lot first (pending, then available), other lots in spending order, then debt - as far as allowed.

    Points of other lots that are still pending stay: they pay the debt when they mature. Held points stay held.
    """
    own = [posting.lot for posting in original.postings if posting.debit is Book.ISSUED and posting.lot is not None]
    if policy is Clawback.ALLOW_DEBT:
        check_room(draft.peek(original.currency), amount)
    if draft.peek(original.currency).available and policy is not Clawback.PENDING_ONLY:
        draft.open_lots(original.currency)  # asks for the lots before anything changes
    elif any(draft.find_lot(lot_id) is None for lot_id in own) and draft.peek(original.currency).pending:
        draft.open_lots(original.currency)
    entry = Entry(draft, original.currency)
    left = amount
    for lot_id in own:
        lot = draft.lot(lot_id)
        if lot is not None:
            left -= _revoke(entry, lot, Book.PENDING, left)
            if policy is not Clawback.PENDING_ONLY:
                left -= _revoke(entry, lot, Book.AVAILABLE, left)
    if left and entry.account.available and policy is not Clawback.PENDING_ONLY:
        left -= sum(part for _, part in take(entry, Book.REVOKED, left))
    if left and policy is Clawback.ALLOW_DEBT:
        entry.post(Book.DEBT, Book.REVOKED, left, None)
        left = 0
    return entry.close(
        Kind.CLAWBACK,
        amount - left,
        origin,
        requested=amount if left else None,
        reverses=original.transaction,
    )


def _revoke(entry: Entry, lot: Lot, book: Book, amount: int) -> int:
    part = min(amount, lot.pending if book is Book.PENDING else lot.available)
    if part:
        entry.post(book, Book.REVOKED, part, lot)
    return part


def _refund(
    draft: Draft, original: Original, amount: int, origin: Origin, currency: Currency, *, zone: ZoneInfo
) -> Transaction:
    """Give spent points back to their lots; what has expired meanwhile goes straight to expired.

    What an absorbed member spent comes from transit, into lots as they would be had the points come along unspent.
    """
    shares = _shares(original, amount)
    if original.owner is None:
        source = Book.REDEEMED
        for lot_id, back in shares:
            found = draft.find_lot(lot_id)
            # A day's lot made in this batch may add to a stored one that holds what was spent.
            if found is None or (not found.stored and found.redeemed < back):
                raise Unloaded(transaction=original.transaction)
    else:
        source = Book.TRANSIT
        check_room(draft.peek(original.currency), amount)
    theirs = {lot.id: lot for lot in original.lots}
    entry = Entry(draft, original.currency)
    inactive = inactive_at(currency, entry.account, zone)
    for lot_id, back in shares:
        lot = lot_for_change(draft, lot_id) if original.owner is None else lot_like(draft, theirs[lot_id])
        gone = deadline(lot, inactive)
        if gone is not None and gone <= draft.now:
            entry.post(source, Book.EXPIRED, back, lot)
        else:
            entry.post(source, Book.AVAILABLE, back, lot)
            entry.settle(lot, back)
    return entry.close(Kind.REFUND, amount, origin, reverses=original.transaction)


def _shares(original: Original, amount: int) -> list[tuple[UUID, int]]:
    """What goes back to which lot, last spent first: a later partial refund finds its lots from `reversed_so_far`."""
    shares = []
    skip = original.reversed_so_far
    for posting in reversed(original.postings):
        done = min(skip, posting.amount)
        skip -= done
        back = min(posting.amount - done, amount)
        amount -= back
        if back and posting.lot is not None:
            shares.append((posting.lot, back))
    return shares
