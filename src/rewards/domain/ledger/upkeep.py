"""What time does by itself: points mature, expire, and come back from holds. Posted before anything else is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from itertools import groupby
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.domain.ledger.accounts import Book, Kind, Lot, Origin
from rewards.domain.ledger.entry import Entry, lot_for_change, spend_order
from rewards.domain.ledger.expiry import deadline, inactive_at
from rewards.domain.ledger.hold import expire_hold
from rewards.domain.ledger.wallet import Draft, Wallet
from rewards.domain.program.currency import (
    Currency,
    ExpiresInactive,
)

_MATURED: Final = Origin("system", reason="matured")
_EXPIRED: Final = Origin("system", reason="expired")
_INACTIVE: Final = Origin("system", reason="inactive")
_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)


class _Rank(IntEnum):
    """The order at one moment: what expires then is neither released back nor matured into something to spend."""

    EXPIRE = 0
    RELEASE = 1
    MATURE = 2


class _Due(NamedTuple):
    at: datetime
    rank: _Rank
    currency: str
    item: UUID


@dataclass(frozen=True, slots=True)
class Balances:
    """The four buckets of one currency."""

    available: int
    pending: int
    held: int
    debt: int


def post_due(draft: Draft, currencies: Mapping[str, Currency], zone: ZoneInfo) -> None:
    """Post, in the order it fell due, all that matured, expired or was released by `draft.now`.

    One transaction for all lots of a currency that share the kind and the moment, effective at that moment, and one for
    each hold. Held points do not expire until released. Raises `Unloaded` when a hold fell due whose lots are missing.
    """
    due = _due(draft, currencies, zone, draft.now)
    if not due:
        return
    due.sort()
    for (at, rank, currency), group in groupby(due, key=lambda item: item[:3]):
        ids = [item.item for item in group]
        if rank is _Rank.RELEASE:
            for hold_id in ids:
                expire_hold(draft, hold_id, currencies.get(currency), zone)
        elif rank is _Rank.MATURE:
            _post_mature(draft, currency, ids, at)
        else:
            _post_expiry(draft, currency, ids, at)


def mature(draft: Draft, lot_ids: list[UUID], origin: Origin) -> None:
    """Make the pending points of these lots available now, one transaction per currency; others are passed over."""
    lots = [lot for lot in (draft.find_lot(lot_id) for lot_id in lot_ids) if lot is not None and lot.pending]
    for currency in dict.fromkeys(lot.currency for lot in lots):
        ids = list(dict.fromkeys(lot.id for lot in lots if lot.currency == currency))
        _post_mature(draft, currency, ids, draft.now, origin)


def project(wallet: Wallet, currencies: Mapping[str, Currency], zone: ZoneInfo, at: datetime) -> dict[str, Balances]:
    """The balances by currency as they are at `at` once everything due by then is posted. Nothing is changed."""
    draft = _shadow(wallet, at)
    post_due(draft, currencies, zone)
    return {
        currency: Balances(account.available, account.pending, account.held, account.debt)
        for currency in draft.currencies()
        for account in (draft.peek(currency),)
    }


def schedule(
    wallet: Wallet, currencies: Mapping[str, Currency], zone: ZoneInfo
) -> dict[str, list[tuple[datetime, int]]]:
    """When how much will expire, by currency and in time order, if the member does nothing more.

    It is the whole future played through: pending points mature and pay debt, holds run out. Needs a complete wallet.
    """
    draft = _shadow(wallet, _END_OF_TIME)
    post_due(draft, currencies, zone)
    amounts: dict[str, dict[datetime, int]] = {}
    for transaction in draft.transactions:
        gone = sum(posting.amount for posting in transaction.postings if posting.credit is Book.EXPIRED)
        if gone:
            moments = amounts.setdefault(transaction.currency, {})
            moments[transaction.effective_at] = moments.get(transaction.effective_at, 0) + gone
    return {currency: sorted(moments.items()) for currency, moments in amounts.items()}


def next_due_at(wallet: Wallet, currencies: Mapping[str, Currency], zone: ZoneInfo) -> datetime | None:
    """The earliest moment at which something falls due, None for never. It may have passed already."""
    return min((item.at for item in _due(_shadow(wallet, _END_OF_TIME), currencies, zone, _END_OF_TIME)), default=None)


def lot_due_at(lot: Lot) -> datetime | None:
    """The earliest moment at which this lot matures or expires by itself, None for never; inactivity aside."""
    if lot.pending and lot.matures_at is not None:
        return lot.matures_at if lot.expires_at is None else min(lot.matures_at, lot.expires_at)
    return lot.expires_at if lot.pending or lot.available else None


def _due(draft: Draft, currencies: Mapping[str, Currency], zone: ZoneInfo, until: datetime) -> list[_Due]:
    """What falls due by `until`, from the lots and holds as they are.

    A lot that is all held is listed with its expiry too: a hold that runs out before gives it something to expire.
    """
    due: list[_Due] = []
    inactive: dict[str, datetime | None] = {}
    for currency, policy in currencies.items():
        if isinstance(policy.expires, ExpiresInactive):
            account = draft.peek(currency)
            gone = inactive[currency] = inactive_at(policy, account, zone)
            if gone is not None and gone <= until and (account.available or account.pending):
                draft.open_lots(currency)  # all of them expire, so all must be at hand
    for lot in draft.each_lot():
        if not lot.open:
            continue
        if lot.pending and lot.matures_at is not None and lot.matures_at <= until:
            due.append(_Due(lot.matures_at, _Rank.MATURE, lot.currency, lot.id))
        gone = deadline(lot, inactive.get(lot.currency))
        if gone is not None and gone <= until:
            due.append(_Due(gone, _Rank.EXPIRE, lot.currency, lot.id))
    for hold in draft.all_holds():
        if hold.expires_at <= until and hold.remaining:
            due.append(_Due(hold.expires_at, _Rank.RELEASE, hold.currency, hold.id))  # noqa: PERF401 - runs per command
    return due


def _post_mature(draft: Draft, currency: str, lot_ids: list[UUID], at: datetime, origin: Origin = _MATURED) -> None:
    lots = [lot for lot in (lot_for_change(draft, lot_id) for lot_id in lot_ids) if lot.pending]
    if not lots:
        return
    lots.sort(key=spend_order)  # what would be spent first pays debt first
    entry = Entry(draft, currency)
    total = 0
    for lot in lots:
        part = lot.pending
        total += part
        lot.matures_at = at
        entry.post(Book.PENDING, Book.AVAILABLE, part, lot)
        entry.settle(lot, part)
    entry.close(Kind.MATURE, total, origin, effective_at=at)


def _post_expiry(draft: Draft, currency: str, lot_ids: list[UUID], at: datetime) -> None:
    lots = [lot for lot in map(draft.find_lot, lot_ids) if lot is not None and (lot.pending or lot.available)]
    if not lots:
        return
    entry = Entry(draft, currency)
    total = 0
    own = False
    for seen in lots:
        lot = lot_for_change(draft, seen.id)
        own = own or lot.expires_at == at
        for book, part in ((Book.PENDING, lot.pending), (Book.AVAILABLE, lot.available)):
            if part:
                entry.post(book, Book.EXPIRED, part, lot)
                total += part
    entry.close(Kind.EXPIRE, total, _EXPIRED if own else _INACTIVE, effective_at=at)


def _shadow(wallet: Wallet, at: datetime) -> Draft:
    """A draft to play time through that is thrown away, so its ids mean nothing."""
    nothing = UUID(int=0)
    return Draft(wallet, now=at, seq=0, next_id=lambda: nothing, lot_id=lambda _: nothing)
