"""The ledger in memory: it stores and loads rows like a database, often only some, and decides with the domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

from tests.domain.ledger.model import CURRENCIES, ZONE, Answer, LedgerPort, Ok, Refused

from rewards.domain.errors import RewardsError
from rewards.domain.ledger.accounts import Account, Book, Hold, Lot, Origin, Transaction
from rewards.domain.ledger.earn import earn
from rewards.domain.ledger.hold import capture, place_hold, release
from rewards.domain.ledger.reverse import Original, asked, reverse
from rewards.domain.ledger.spend import spend
from rewards.domain.ledger.transfer import receive, send_all
from rewards.domain.ledger.upkeep import lot_due_at, mature, post_due, project, schedule
from rewards.domain.ledger.verify import sequence_violations, spendable_violations, violations
from rewards.domain.ledger.wallet import Draft, Unloaded, Wallet
from rewards.domain.program.currency import (
    Clawback,
)

T = TypeVar("T")
_ADDED = ("amount", "pending", "available", "held", "redeemed", "expired", "revoked", "sent")
_API = Origin("api")


@dataclass(slots=True)
class Rows:
    """All rows of one member. `wallet` is the batch under way, loaded at `as_of`."""

    accounts: dict[str, Account] = field(default_factory=dict)
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    transactions: list[Transaction] = field(default_factory=list)
    seq: int = 0
    changed_lots: dict[UUID, Lot] = field(default_factory=dict)
    wallet: Wallet | None = None
    as_of: datetime | None = None


class MemoryLedger(LedgerPort):
    """`eager` loads all open lots at first; otherwise only what falls due, and the rest when asked for.

    `batching` keeps the wallet over the commands of one moment, as a batch does.
    """

    def __init__(self, *, eager: bool = False, batching: bool = False) -> None:
        self.eager = eager
        self.batching = batching
        self.members: dict[str, Rows] = {}
        self.reversed: dict[UUID, int] = {}
        self.originals: dict[UUID, Transaction] = {}
        self._ids = count(1)

    # Storing and loading

    def _flush(self, rows: Rows) -> None:
        for lot_id, lot in rows.changed_lots.items():
            stored = rows.lots.get(lot_id)
            if lot.stored or stored is None:
                rows.lots[lot_id] = lot.copy()
            else:
                for name in _ADDED:
                    setattr(stored, name, getattr(stored, name) + getattr(lot, name))
            rows.lots[lot_id].stored = True
        rows.changed_lots = {}
        rows.wallet = None

    def _load(self, rows: Rows, now: datetime, *, complete: bool, of: UUID | None) -> Wallet:
        wanted: set[UUID] = set()
        for hold in rows.holds.values():
            if hold.remaining and hold.expires_at <= now:
                wanted.update(lot for lot, _ in hold.parts)
        if of is not None:
            wanted.update(posting.lot for posting in self.originals[of].postings if posting.lot is not None)
        for lot in rows.lots.values():
            due_at = lot_due_at(lot)
            if (complete and lot.open) or (due_at is not None and due_at <= now):
                wanted.add(lot.id)
        lots = {lot_id: rows.lots[lot_id] for lot_id in wanted}
        return Wallet(dict(rows.accounts), lots, dict(rows.holds), complete=complete)

    def _run(self, member: str, now: datetime, command: Callable[[Draft], T]) -> T:
        rows = self.members.setdefault(member, Rows())
        if not self.batching or rows.as_of != now:
            self._flush(rows)
        complete, of = self.eager, None
        for _ in range(4):
            if rows.wallet is None:
                rows.wallet = self._load(rows, now, complete=complete, of=of)
                rows.as_of = now
            try:
                return self._try(rows, member, now, command)
            except Unloaded as unloaded:
                self._flush(rows)
                complete = complete or unloaded.lots
                of = unloaded.transaction or of
        raise AssertionError("the domain keeps asking for what was loaded")

    def _try(self, rows: Rows, member: str, now: datetime, command: Callable[[Draft], T]) -> T:
        assert rows.wallet is not None

        def next_id() -> UUID:
            return UUID(int=next(self._ids))

        draft = Draft(
            rows.wallet, now=now, seq=rows.seq, next_id=next_id, lot_id=lambda key: uuid5(NAMESPACE_OID, member + key)
        )
        post_due(draft, CURRENCIES, ZONE)
        settled = draft.savepoint()
        try:
            return command(draft)
        except RewardsError:
            assert draft.savepoint() == settled, "a refusal leaves the draft as it was"
            raise
        except Unloaded:
            draft = Draft(rows.wallet, now=now, seq=rows.seq, next_id=next_id, lot_id=draft.lot_id)
            raise
        finally:
            self._keep(rows, draft)

    def _keep(self, rows: Rows, draft: Draft) -> None:
        for transaction in draft.transactions:
            rows.transactions.append(transaction)
            self.originals[transaction.id] = transaction
            if transaction.reverses is not None:
                so_far = self.reversed.get(transaction.reverses, 0)
                self.reversed[transaction.reverses] = so_far + asked(transaction)
        rows.seq = draft.seq
        rows.accounts |= draft.accounts
        rows.holds |= draft.holds
        rows.changed_lots |= draft.lots
        rows.wallet = draft.commit()

    def _answer(self, member: str, now: datetime, command: Callable[[Draft], Transaction]) -> Answer:
        try:
            transaction = self._run(member, now, command)
        except RewardsError as refusal:
            return Refused(refusal.code)
        issued = [posting.lot for posting in transaction.postings if posting.debit is Book.ISSUED]
        return Ok(transaction.id, transaction.amount, issued[0] if issued else None, transaction.hold)

    # The port

    def earn(
        self,
        member: str,
        currency: str,
        amount: int,
        *,
        now: datetime,
        rule: str,
        effective_at: datetime,
        hold: timedelta | None,
        until_matured: bool,
        expires_at: datetime | None,
    ) -> Answer:
        return self._answer(
            member,
            now,
            lambda draft: earn(
                draft,
                CURRENCIES[currency],
                amount,
                Origin(rule),
                zone=ZONE,
                effective_at=effective_at,
                hold=hold,
                until_matured=until_matured,
                expires=expires_at,
            ),
        )

    def spend(self, member: str, currency: str, amount: int, *, now: datetime) -> Answer:
        return self._answer(member, now, lambda draft: spend(draft, CURRENCIES[currency], amount, _API))

    def hold(self, member: str, currency: str, amount: int, *, now: datetime, expires_at: datetime) -> Answer:
        return self._answer(
            member,
            now,
            lambda draft: place_hold(draft, CURRENCIES[currency], amount, _API, expires_at=expires_at),
        )

    def capture(self, member: str, hold: UUID, amount: int | None, *, now: datetime) -> Answer:
        return self._answer(member, now, lambda draft: capture(draft, hold, amount, _API))

    def release(self, member: str, hold: UUID, amount: int | None, *, now: datetime) -> Answer:
        def command(draft: Draft) -> Transaction:
            found = draft.find_hold(hold)
            currency = CURRENCIES[found.currency] if found is not None else None
            return release(draft, hold, amount, _API, currency=currency, zone=ZONE)

        return self._answer(member, now, command)

    def reverse(
        self, member: str, transaction: UUID, amount: int | None, policy: Clawback | None, *, now: datetime
    ) -> Answer:
        found = self.originals[transaction]
        original = Original(
            transaction,
            found.kind,
            found.currency,
            found.amount,
            tuple(found.postings),
            self.reversed.get(transaction, 0),
            found.effective_at,
        )
        currency = CURRENCIES[found.currency]
        return self._answer(
            member,
            now,
            lambda draft: reverse(draft, original, _API, currency=currency, zone=ZONE, amount=amount, policy=policy),
        )

    def mature(self, member: str, transaction: UUID, *, now: datetime) -> None:
        lots = [posting.lot for posting in self.originals[transaction].postings if posting.lot is not None]

        def command(draft: Draft) -> None:
            if any(draft.find_lot(lot) is None for lot in lots):
                draft.open_lots(self.originals[transaction].currency)
            mature(draft, lots, _API)

        self._run(member, now, command)

    def merge(self, source: str, target: str, *, now: datetime) -> None:
        origin = Origin("merge")
        parcels = self._run(
            source,
            now,
            lambda draft: [
                send_all(draft, currency, origin, currencies=CURRENCIES, zone=ZONE) for currency in draft.currencies()
            ],
        )
        for parcel in parcels:
            self._run(target, now, lambda draft, parcel=parcel: receive(draft, parcel, origin))  # type: ignore[misc]

    def balances(self, member: str, *, now: datetime) -> dict[str, tuple[int, int, int, int]]:
        found = project(self._all(member), CURRENCIES, ZONE, now)
        return {key: (item.available, item.pending, item.held, item.debt) for key, item in found.items()}

    def schedule(self, member: str, *, now: datetime) -> dict[str, list[tuple[datetime, int]]]:
        return {
            key: [(at, amount) for at, amount in plan if at > now]
            for key, plan in schedule(self._all(member), CURRENCIES, ZONE).items()
        }

    def _all(self, member: str) -> Wallet:
        rows = self.members.setdefault(member, Rows())
        self._flush(rows)
        return Wallet(dict(rows.accounts), dict(rows.lots), dict(rows.holds))

    def violations(self, member: str) -> list[str]:
        """Of all currencies, after storing what the batch changed."""
        rows = self.members.setdefault(member, Rows())
        self._flush(rows)
        found = sequence_violations((transaction.seq for transaction in rows.transactions), rows.seq)
        for key, account in rows.accounts.items():
            lots = [lot for lot in rows.lots.values() if lot.currency == key]
            holds = [hold for hold in rows.holds.values() if hold.currency == key]
            history = [transaction for transaction in rows.transactions if transaction.currency == key]
            found.extend(violations(account, lots, holds, history))
            if rows.as_of is not None:
                found.extend(spendable_violations(account, lots, rows.as_of))
        return found
