"""Reserving available points: hold, capture what is really spent, release the rest."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.errors import InvalidInput, Refusal
from rewards.domain.ledger.accounts import Book, Hold, Kind, Origin, Transaction
from rewards.domain.ledger.entry import Entry, check_amount, lot_for_change
from rewards.domain.ledger.expiry import deadline, inactive_at
from rewards.domain.ledger.spend import check_spendable, take
from rewards.domain.ledger.wallet import Draft, Unloaded
from rewards.domain.periods import rfc3339
from rewards.domain.program.currency import (
    Currency,
)

HOLDS_OPEN_MAX: Final = 1_000
"""Per member, over all currencies: they are loaded with every command of a member who has points on hold."""
_EXPIRED: Final = Origin("system", reason="hold_expired")


class HoldNotFound(Refusal):
    """The member has no hold of that id."""

    code = "hold-not-found"


class HoldResolved(Refusal):
    """Everything the hold reserved was captured or released before."""

    code = "hold-resolved"


class HoldExpired(Refusal):
    """The hold ran out and what it still reserved went back by itself."""

    code = "hold-expired"


class HoldExceeded(Refusal):
    """More than the hold still reserves. `details`: remaining, requested."""

    code = "hold-exceeded"


class TooManyHolds(Refusal):
    """The member has as many open holds as one may have. `details`: most."""

    code = "too-many-holds"


def place_hold(draft: Draft, currency: Currency, amount: int, origin: Origin, *, expires_at: datetime) -> Transaction:
    """Reserve `amount` available points until `expires_at`; `Transaction.hold` is the id of the new hold.

    Raises `NotSpendable`, `InsufficientPoints`, `InvalidAmount`, `TooManyHolds`, and `InvalidInput` for an `expires_at` not
    ahead.
    """
    if expires_at <= draft.now:
        raise InvalidInput("a hold expires in the future", path="expires_at", expected="a moment in the future")
    check_spendable(draft, currency, amount)
    if sum(hold.remaining > 0 for hold in draft.all_holds()) >= HOLDS_OPEN_MAX:
        raise TooManyHolds(
            f"the member has {HOLDS_OPEN_MAX} open holds; capture or release one first", most=HOLDS_OPEN_MAX
        )
    entry = Entry(draft, currency.key)
    parts = take(entry, Book.HELD, amount)
    hold_id = draft.next_id()
    draft.add_hold(Hold(hold_id, currency.key, amount, 0, 0, expires_at, draft.now, parts, origin.reference))
    entry.touch()
    return entry.close(Kind.HOLD, amount, origin, hold=hold_id)


def capture(draft: Draft, hold_id: UUID, amount: int | None, origin: Origin) -> Transaction:
    """Spend `amount` of what the hold reserves (all when None), earliest-expiring part first; the rest stays held.

    Points that expired while held are still captured: the hold reserved them in time.
    Raises `HoldNotFound`, `HoldResolved`, `HoldExpired`, `HoldExceeded`, `InvalidAmount`.
    """
    amount = _check_hold(draft, hold_id, amount)
    hold = _hold_for_change(draft, hold_id)
    entry = Entry(draft, hold.currency)
    for lot_id, part in _take_parts(hold, amount):
        entry.post(Book.HELD, Book.REDEEMED, part, lot_for_change(draft, lot_id))
    hold.captured += amount
    entry.touch()
    return entry.close(Kind.CAPTURE, amount, origin, hold=hold_id)


def release(
    draft: Draft, hold_id: UUID, amount: int | None, origin: Origin, *, currency: Currency | None, zone: ZoneInfo
) -> Transaction:
    """Give back `amount` of what the hold reserves (all of it when None), latest-expiring part first.

    Points whose lot has expired go straight to expired. Giving back is no activity of the member. Raises like
    `capture`.
    """
    amount = _check_hold(draft, hold_id, amount)
    return _give_back(draft, hold_id, amount, origin, at=draft.now, currency=currency, zone=zone)


def expire_hold(draft: Draft, hold_id: UUID, currency: Currency | None, zone: ZoneInfo) -> Transaction:
    """Give back all that a hold past its expiry still reserves, as of that expiry."""
    hold = _hold_for_change(draft, hold_id)
    return _give_back(draft, hold_id, hold.remaining, _EXPIRED, at=hold.expires_at, currency=currency, zone=zone)


def _give_back(
    draft: Draft,
    hold_id: UUID,
    amount: int,
    origin: Origin,
    *,
    at: datetime,
    currency: Currency | None,
    zone: ZoneInfo,
) -> Transaction:
    hold = _hold_for_change(draft, hold_id)
    entry = Entry(draft, hold.currency)
    inactive = inactive_at(currency, entry.account, zone)
    hold.parts.reverse()
    parts = _take_parts(hold, amount)
    hold.parts.reverse()
    for lot_id, part in parts:
        lot = lot_for_change(draft, lot_id)
        gone = deadline(lot, inactive)
        if gone is not None and gone <= at:
            entry.post(Book.HELD, Book.EXPIRED, part, lot)
        else:
            entry.post(Book.HELD, Book.AVAILABLE, part, lot)
            entry.settle(lot, part)
    hold.released += amount
    return entry.close(Kind.RELEASE, amount, origin, effective_at=at, hold=hold_id)


def _check_hold(draft: Draft, hold_id: UUID, amount: int | None) -> int:
    """The amount meant, or a refusal, with nothing touched. Raises `Unloaded` when a lot of the hold is missing."""
    hold = draft.find_hold(hold_id)
    if hold is None:
        raise HoldNotFound("no such hold")
    if hold.remaining == 0:
        if hold.released and hold.expires_at <= draft.now:
            raise HoldExpired("the hold has expired", expires_at=rfc3339(hold.expires_at))
        raise HoldResolved("the hold was resolved before", captured=hold.captured, released=hold.released)
    amount = hold.remaining if amount is None else amount
    check_amount(amount)
    if amount > hold.remaining:
        raise HoldExceeded(
            f"the hold still reserves {hold.remaining}, {amount} requested", remaining=hold.remaining, requested=amount
        )
    if any(draft.find_lot(lot_id) is None for lot_id, _ in hold.parts):
        raise Unloaded(lots=True)
    return amount


def _hold_for_change(draft: Draft, hold_id: UUID) -> Hold:
    hold = draft.hold(hold_id)
    if hold is None:
        raise HoldNotFound("no such hold")
    return hold


def _take_parts(hold: Hold, amount: int) -> list[tuple[UUID, int]]:
    """Remove `amount` from the front of the parts and give what was removed."""
    taken: list[tuple[UUID, int]] = []
    rest: list[tuple[UUID, int]] = []
    for lot_id, part in hold.parts:
        used = min(part, amount)
        amount -= used
        if used:
            taken.append((lot_id, used))
        if part > used:
            rest.append((lot_id, part - used))
    hold.parts = rest
    return taken
