"""The ledger as it is shown: rows and wallets to wire types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from rewards.domain.commands import MemberRef
from rewards.domain.ledger.accounts import Account, Book, Hold
from rewards.domain.ledger.upkeep import schedule
from rewards.features.wallets.schemas import (
    Buckets,
    CausedBy,
    CurrencyWallet,
    Expiring,
    ExpiringOut,
    Lifetime,
    OpenHold,
    PostingOut,
    TransactionOut,
    WalletOut,
)
from rewards.pipeline.lookup import FoundWallet, projected

RULE = "rule:"
NOTHING = Buckets(0, 0, 0, 0)


def wallet_out(wallet: FoundWallet) -> WalletOut:
    accounts, holds = projected(wallet)
    future = expiries(wallet)
    return WalletOut(
        member=str(wallet.found.ref),
        merged_into=wallet.found.merged_into,
        as_of=wallet.now,
        currencies={currency: _currency(account, future.get(currency, [])) for currency, account in accounts.items()},
        holds=[_hold(hold) for hold in holds],
    )


def expiring_out(wallet: FoundWallet) -> ExpiringOut:
    return ExpiringOut(
        member=str(wallet.found.ref),
        merged_into=wallet.found.merged_into,
        as_of=wallet.now,
        currencies={currency: [] for currency in wallet.program.currencies} | expiries(wallet),
    )


def expiries(wallet: FoundWallet) -> dict[str, list[Expiring]]:
    """The schedule after `now`: what has expired by then is gone, though it may not be posted yet."""
    program = wallet.program
    future = schedule(wallet.found.state.wallet, program.currencies, program.zone)
    return {
        currency: [Expiring(at, amount) for at, amount in moments if at > wallet.now]
        for currency, moments in future.items()
    }


def _currency(account: Account, future: list[Expiring]) -> CurrencyWallet:
    return CurrencyWallet(
        balances=Buckets(account.available, account.pending, account.held, account.debt),
        lifetime=Lifetime(
            account.issued, account.redeemed, account.expired, account.revoked, account.sent, account.received
        ),
        next_expiry=future[0] if future else None,
        last_activity_at=account.last_activity_at,
    )


def _hold(hold: Hold) -> OpenHold:
    return OpenHold(
        id=hold.id,
        currency=hold.currency,
        amount=hold.amount,
        captured=hold.captured,
        released=hold.released,
        remaining=hold.remaining,
        created_at=hold.created_at,
        expires_at=hold.expires_at,
        reference=hold.reference,
    )


def balances_out(found: dict[str, Any], currencies: Iterable[str]) -> dict[str, Buckets]:
    """The balances as recorded, zero where nothing was yet."""
    return {currency: _after(found[currency]) if currency in found else NOTHING for currency in currencies}


def transaction_out(
    row: Any,
    postings: list[Any] | None = None,
    *,
    causes: Mapping[UUID, Any],
    member: str | None = None,
    taken_back: int | None = None,
) -> TransactionOut:
    """`causes` are events that caused it, of members who were merged into its own since."""
    return TransactionOut(
        id=row.id,
        seq=row.seq,
        kind=row.kind,
        currency=row.currency,
        amount=row.amount,
        source=row.source,
        actor=row.actor,
        recorded_at=row.recorded_at,
        effective_at=row.effective_at,
        balance_after=_after(row),
        rule=row.source.removeprefix(RULE) if row.source.startswith(RULE) else None,
        event=_caused_by(row, causes),
        reason=row.reason,
        reference=row.reference,
        note=row.note,
        requested=row.requested,
        reverses=row.reverses,
        hold=row.hold_id,
        reversed=taken_back,
        member=member,
        postings=None if postings is None else [_posting(posting) for posting in postings],
    )


def _caused_by(row: Any, causes: Mapping[UUID, Any]) -> CausedBy | None:
    if row.client_id is not None:
        return CausedBy(row.client_id, row.event_type, row.event_id, row.sent_by)
    event = causes.get(row.event_id)
    return None if event is None else CausedBy(event.client_id, event.type, event.id, event.sent_by)


def owner_name(row: Any) -> str | None:
    """What callers call the member of a row, unless it was erased."""
    return None if row.external_id is None else str(MemberRef(row.member_kind, row.external_id))


def _posting(row: Any) -> PostingOut:
    return PostingOut(Book(row.debit).name.lower(), Book(row.credit).name.lower(), row.amount, row.lot_id)


def _after(row: Any) -> Buckets:
    return Buckets(row.available_after, row.pending_after, row.held_after, row.debt_after)


def isoformat(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
