"""Moving everything one member owns to another, through the house account `transit`, in two commands.

Points travel lot by lot and keep their id, rule, opening, maturity and expiry, so a later clawback of the original earn
finds them. Holds do not travel: the giving member's are released first, since whoever placed one named that member.

Debt travels as what it is, a revocation that nobody has paid yet: the giving side takes it back (debit `revoked`,
credit `debt`), the receiving side revokes it anew, from its points as far as they go and as debt for the rest. Both
sides balance, `Σ lot.revoked = revoked - debt` holds on both, and what the house revoked nets to zero over the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.ledger.accounts import Book, Kind, Lot, Origin, Transaction
from rewards.domain.ledger.earn import issue
from rewards.domain.ledger.entry import Entry, check_room, lot_for_change, spend_order
from rewards.domain.ledger.hold import release
from rewards.domain.ledger.spend import take
from rewards.domain.ledger.wallet import Draft, Unloaded
from rewards.domain.program.currency import (
    Currency,
)

MERGE: Final = "merge"


@dataclass(frozen=True, slots=True)
class Moved:
    """Points on their way. `waits`: pending until `matures_at` or, without one, until someone matures them."""

    lot: UUID
    rule: str
    amount: int
    opened_at: datetime
    matures_at: datetime | None
    expires_at: datetime | None
    waits: bool

    def as_lot(self, currency: str) -> Lot:
        """The lot that the points are of, without any."""
        return Lot(
            self.lot, currency, self.rule, self.opened_at, 0, matures_at=self.matures_at, expires_at=self.expires_at
        )


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that one member gives away of one currency."""

    currency: str
    lots: tuple[Moved, ...]
    debt: int
    last_activity_at: datetime | None


def send_all(
    draft: Draft, currency: str, origin: Origin, *, currencies: Mapping[str, Currency], zone: ZoneInfo
) -> Parcel:
    """Release the holds of a currency, then send every open lot and the debt away; the account is at zero afterwards.

    What fell due must be posted before. Raises `Unloaded` when lots are missing.
    """
    lots = draft.open_lots(currency)
    for hold_id in [hold.id for hold in draft.all_holds() if hold.currency == currency and hold.remaining]:
        release(draft, hold_id, None, origin, currency=currencies.get(currency), zone=zone)
    moved: list[Moved] = []
    entry = Entry(draft, currency)
    for seen in sorted(lots, key=spend_order):
        lot = lot_for_change(draft, seen.id)
        for book, amount in ((Book.PENDING, lot.pending), (Book.AVAILABLE, lot.available)):
            if amount:
                entry.post(book, Book.TRANSIT, amount, lot)
                waits = book is Book.PENDING
                moved.append(Moved(lot.id, lot.rule, amount, lot.opened_at, lot.matures_at, lot.expires_at, waits))
    if moved:
        entry.close(Kind.SEND, sum(item.amount for item in moved), origin)
    debt = entry.account.debt
    if debt:
        entry = Entry(draft, currency)
        entry.post(Book.REVOKED, Book.DEBT, debt, None)
        entry.close(Kind.SEND, debt, origin)
    return Parcel(currency, tuple(moved), debt, entry.account.last_activity_at)


def receive(draft: Draft, parcel: Parcel, origin: Origin) -> None:
    """Take over what `send_all` of another member packed: the points, which pay debt, then the debt.

    Being merged is no activity: of both members' last activity the later one stands. What expired on the way goes
    straight to expired. Raises `AmountOverflow`, and `Unloaded` when debt arrives and lots are missing.
    """
    points = sum(item.amount for item in parcel.lots)
    check_room(draft.peek(parcel.currency), max(points, parcel.debt))
    if parcel.debt:
        draft.open_lots(parcel.currency)
    entry = Entry(draft, parcel.currency)
    for item in parcel.lots:
        lot = lot_like(draft, item.as_lot(parcel.currency))
        waits = item.waits and (item.matures_at is None or item.matures_at > draft.now)
        issue(entry, Book.TRANSIT, lot, item.amount, waits=waits)
    if points:
        entry.close(Kind.RECEIVE, points, origin)
    if parcel.debt:
        entry = Entry(draft, parcel.currency)
        left = parcel.debt - sum(part for _, part in take(entry, Book.REVOKED, parcel.debt))
        if left:
            entry.post(Book.DEBT, Book.REVOKED, left, None)
        entry.close(Kind.RECEIVE, parcel.debt, origin)
    latest = [at for at in (entry.account.last_activity_at, parcel.last_activity_at) if at is not None]
    entry.account.last_activity_at = max(latest, default=None)


def pass_on(
    draft: Draft, currency: str, shares: Sequence[tuple[UUID, int]], origin: Origin, *, transaction: UUID
) -> Transaction:
    """Send what the member had spent after it: whom it has become was given as much of these lots back, from transit.

    `transaction` is that spending. Raises `Unloaded` when its lots are missing.
    """
    if any(draft.find_lot(lot_id) is None for lot_id, _ in shares):
        raise Unloaded(transaction=transaction)
    entry = Entry(draft, currency)
    for lot_id, amount in shares:
        entry.post(Book.REDEEMED, Book.TRANSIT, amount, lot_for_change(draft, lot_id))
    return entry.close(Kind.SEND, sum(amount for _, amount in shares), origin)


def lot_like(draft: Draft, theirs: Lot) -> Lot:
    """The member's lot for points of another one's: of the same id, rule, opening, maturity and expiry."""
    lot = draft.lot(theirs.id)
    if lot is None:
        lot = Lot(
            theirs.id,
            theirs.currency,
            theirs.rule,
            theirs.opened_at,
            0,
            matures_at=theirs.matures_at,
            expires_at=theirs.expires_at,
        )
        draft.add_lot(lot)
    return lot
