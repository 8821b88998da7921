"""A small wallet to write tables about: one member, lots and amounts named by what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

from tests.domain.ledger.model import ZONE, currency

from rewards.domain.ledger.accounts import Lot, Origin, Transaction
from rewards.domain.ledger.earn import earn
from rewards.domain.ledger.reverse import Original, asked, reverse
from rewards.domain.ledger.spend import spend
from rewards.domain.ledger.upkeep import post_due
from rewards.domain.ledger.verify import violations
from rewards.domain.ledger.wallet import Draft, Wallet
from rewards.domain.program.currency import (
    Clawback,
    Currency,
    OwnExpiry,
)

T = TypeVar("T")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
API = Origin("api")


def hours(count_: float) -> datetime:
    """So many hours after noon of the first day."""
    return NOON + timedelta(hours=count_)


class Desk:
    """Runs operations one command at a time over a complete wallet, and keeps all that was posted."""

    def __init__(self, of: Currency | None = None, others: Mapping[str, Currency] | None = None) -> None:
        self.currency = of or currency("points")
        self.currencies = {self.currency.key: self.currency, **(others or {})}
        self.wallet = Wallet()
        self.history: list[Transaction] = []
        self.now = NOON
        self._ids = count(1)
        self._seq = 0

    def draft(self) -> Draft:
        return Draft(
            self.wallet,
            now=self.now,
            seq=self._seq,
            next_id=lambda: UUID(int=next(self._ids)),
            lot_id=lambda key: uuid5(NAMESPACE_OID, key),
        )

    def run(self, command: Callable[[Draft], T]) -> T:
        """One command: post what is due, then do it. What it refuses is not kept."""
        draft = self.draft()
        post_due(draft, self.currencies, ZONE)
        result = command(draft)
        self.history += draft.transactions
        self.wallet, self._seq = draft.commit(), draft.seq
        return result

    def at(self, hour: float) -> Desk:
        self.now = hours(hour)
        return self

    def pass_time(self, hour: float) -> Desk:
        self.now = hours(hour)
        self.run(lambda _: None)
        return self

    def earn(
        self, amount: int, rule: str = "rule:a", *, expires: datetime | OwnExpiry = None, **more: Any
    ) -> Transaction:
        more.setdefault("effective_at", self.now)
        return self.run(
            lambda draft: earn(draft, self.currency, amount, Origin(rule), zone=ZONE, expires=expires, **more)
        )

    def spend(self, amount: int) -> Transaction:
        return self.run(lambda draft: spend(draft, self.currency, amount, API))

    def reverse(self, made: Transaction, amount: int | None = None, policy: Clawback | None = None) -> Transaction:
        so_far = sum(asked(item) for item in self.history if item.reverses == made.id)
        original = Original(
            made.id, made.kind, made.currency, made.amount, tuple(made.postings), so_far, made.effective_at
        )
        return self.run(
            lambda draft: reverse(draft, original, API, currency=self.currency, zone=ZONE, amount=amount, policy=policy)
        )

    def lot(self, of: Transaction) -> Lot:
        """The lot that a transaction touched first, as it is now."""
        lot_id = of.postings[0].lot
        assert lot_id is not None
        return self.wallet.lots[lot_id]

    @property
    def balance(self) -> str:
        """`available/pending/held/debt`."""
        account = self.wallet.accounts[self.currency.key]
        return f"{account.available}/{account.pending}/{account.held}/{account.debt}"

    def log(self, since: int = 0) -> list[str]:
        """What was posted: kind, amount and hour of effect."""
        return [
            f"{item.kind} {item.amount} @{(item.effective_at - NOON) / timedelta(hours=1):g}"
            for item in self.history[since:]
        ]

    def sound(self) -> bool:
        """No invariant is violated, whichever currency."""
        for key, account in self.wallet.accounts.items():
            lots = [lot for lot in self.wallet.lots.values() if lot.currency == key]
            holds = [hold for hold in self.wallet.holds.values() if hold.currency == key]
            history = [item for item in self.history if item.currency == key]
            found = violations(account, lots, holds, history)
            assert found == []
        return True


def movements(made: Transaction) -> list[str]:
    """The postings as `FROM>TO amount`."""
    return [f"{item.debit.name}>{item.credit.name} {item.amount}" for item in made.postings]
