"""Issuing points: into a lot that waits, into the day's lot, or - when booked too late - straight to expired."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from rewards.domain.ledger.accounts import Book, Kind, Lot, Origin, Transaction
from rewards.domain.ledger.entry import Entry, check_amount, check_room
from rewards.domain.ledger.expiry import expires_at, local_midnight
from rewards.domain.ledger.wallet import Draft
from rewards.domain.program.currency import (
    Currency,
    OwnExpiry,
)

NO_HOLD: Final = timedelta(0)


def earn(
    draft: Draft,
    currency: Currency,
    amount: int,
    origin: Origin,
    *,
    zone: ZoneInfo,
    effective_at: datetime,
    hold: timedelta | None = None,
    until_matured: bool = False,
    expires: OwnExpiry | datetime = None,
    kind: Kind = Kind.EARN,
) -> Transaction:
    """Issue `amount` points as of `effective_at`, from which their maturity and expiry count.

    `hold` and `expires` override the currency's where not None (`NO_HOLD` and `ExpiresNever` for none at all).
    `until_matured` keeps them pending without end. Debt is settled from what becomes available. Raises `InvalidAmount`,
    `AmountOverflow`.
    """
    check_amount(amount)
    check_room(draft.peek(currency.key), amount)
    day = effective_at.astimezone(zone).date()
    matures_at, expiry = term(currency, effective_at, zone=zone, hold=hold, expires=expires, day=day)
    if until_matured:
        matures_at = None
    entry = Entry(draft, currency.key)
    if until_matured or (matures_at is not None and matures_at > draft.now):
        lot = Lot(
            draft.next_id(), currency.key, origin.source, effective_at, 0, matures_at=matures_at, expires_at=expiry
        )
        draft.add_lot(lot)
    else:
        lot = _day_lot(draft, currency.key, origin.source, expiry, local_midnight(day, zone))
    issue(entry, Book.ISSUED, lot, amount, waits=until_matured or lot.matures_at is not None)
    entry.touch()
    return entry.close(kind, amount, origin, effective_at=effective_at)


def term(
    currency: Currency,
    effective_at: datetime,
    *,
    zone: ZoneInfo,
    hold: timedelta | None = None,
    expires: OwnExpiry | datetime = None,
    day: date | None = None,
) -> tuple[datetime | None, datetime | None]:
    """From when points that are earned at `effective_at` can be spent (None: at once), and until when (None: for ever).

    `day` is that of `effective_at` in `zone`, from a caller who knows it.
    """
    chosen = currency.expires if expires is None else expires
    expiry = chosen if isinstance(chosen, datetime) else expires_at(chosen, effective_at, zone, day)
    waits = currency.hold if hold is None else hold
    return effective_at + waits if waits else None, expiry


def issue(entry: Entry, source: Book, lot: Lot, amount: int, *, waits: bool) -> None:
    """Bring `amount` points from `source` (issued or transit) into `lot`, to where they belong at this moment."""
    if lot.expires_at is not None and lot.expires_at <= entry.draft.now:
        # Booked after their own expiry: they never were anybody's to spend, nor do they pay debt.
        entry.post(source, Book.EXPIRED, amount, lot)
    elif waits:
        entry.post(source, Book.PENDING, amount, lot)
    else:
        entry.post(source, Book.AVAILABLE, amount, lot)
        entry.settle(lot, amount)


def _day_lot(draft: Draft, currency: str, rule: str, expiry: datetime | None, day_start: datetime) -> Lot:
    """The lot of the local day for this rule and expiry; new here, it adds to a stored one that was not loaded.

    It opens at the start of the day whichever earn makes it, so the spending order does not depend on what was loaded.
    """
    lot_id = draft.lot_id(_material(currency, rule, expiry, day_start))
    lot = draft.lot(lot_id)
    if lot is None:
        lot = Lot(lot_id, currency, rule, day_start, 0, expires_at=expiry)
        draft.add_lot(lot)
    return lot


@lru_cache(maxsize=4096)
def _material(currency: str, rule: str, expiry: datetime | None, day_start: datetime) -> str:
    """What makes two lots one. The same few are asked for again and again; an instant counts, whatever zone it is told in."""
    return f"{currency}|{rule}|{expiry and expiry.timestamp()}|{day_start.timestamp()}"
