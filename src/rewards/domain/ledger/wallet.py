"""A member's wallet while one command works on it: copy-on-write, so that a refused command leaves no trace.

`Wallet` is what was loaded (or what the previous command of the batch left). `Draft` is the working copy: ledger
operations change the draft only; `Draft.commit()` gives the next `Wallet`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from rewards.domain.ledger.accounts import Account, Hold, Lot, Transaction
from rewards.domain.recorded import Wanted, WantedEarnings


@dataclass(slots=True)
class Wallet:
    """Accounts by currency, open lots by id, open holds by id. Values are never changed in place: see `Draft`.

    A wallet that is not `complete` holds only the lots that fall due; whoever needs the others gets `Unloaded`, upon
    which the caller loads them all and decides again. Most commands (an earn, say) never ask.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    complete: bool = True


class Unloaded(Exception):
    """Deciding needs facts that were not loaded. Nothing was changed; load them and decide again.

    `lots`: all open lots of the member. `reference`: the transactions that carry it. `transaction`: that one.
    `hold`: that hold. `counter`: that shared counter. `event`: that event, and what it earned. `history`: those events.
    `earnings`: those, from the ledger.
    """

    def __init__(
        self,
        *,
        lots: bool = False,
        reference: str | None = None,
        transaction: UUID | None = None,
        hold: UUID | None = None,
        counter: str | None = None,
        event: UUID | None = None,
        history: Wanted | None = None,
        earnings: WantedEarnings | None = None,
    ) -> None:
        super().__init__(f"{lots=} {reference=} {transaction=} {hold=} {counter=} {event=} {history=} {earnings=}")
        self.lots = lots
        self.reference = reference
        self.transaction = transaction
        self.hold = hold
        self.counter = counter
        self.event = event
        self.history = history
        self.earnings = earnings


class Draft:
    """The working copy of one command.

    `next_id` gives the derived id of the next transaction or hold; `lot_id` derives the id of a lot from what makes it
    mergeable. `accounts`, `lots` and `holds` hold just what was touched: the rows to write.
    """

    __slots__ = ("_base", "accounts", "holds", "lot_id", "lots", "next_id", "now", "seq", "transactions")

    def __init__(
        self,
        base: Wallet,
        *,
        now: datetime,
        seq: int,
        next_id: Callable[[], UUID],
        lot_id: Callable[[str], UUID],
    ) -> None:
        self._base = base
        self.accounts: dict[str, Account] = {}
        self.lots: dict[UUID, Lot] = {}
        self.holds: dict[UUID, Hold] = {}
        self.transactions: list[Transaction] = []
        self.now = now
        self.seq = seq
        self.next_id = next_id
        self.lot_id = lot_id

    def account(self, currency: str) -> Account:
        """The account for reading and changing; made at zero when the member has none yet."""
        mine = self.accounts.get(currency)
        if mine is None:
            theirs = self._base.accounts.get(currency)
            mine = theirs.copy() if theirs is not None else Account(currency)
            self.accounts[currency] = mine
        return mine

    def peek(self, currency: str) -> Account:
        """The account for reading only: deciding whether to refuse must leave nothing to write."""
        account = self.accounts.get(currency) or self._base.accounts.get(currency)
        return account if account is not None else Account(currency)

    def currencies(self) -> list[str]:
        """Every currency the member has an account in, in the order of first use."""
        return list(dict.fromkeys((*self._base.accounts, *self.accounts)))

    def find_lot(self, lot_id: UUID) -> Lot | None:
        """The lot for reading only, or None when it is not loaded."""
        return self.lots.get(lot_id) or self._base.lots.get(lot_id)

    def available(self, currency: str) -> int:
        """What can be spent now, without making an account."""
        found = self.accounts.get(currency) or self._base.accounts.get(currency)
        return found.available if found is not None else 0

    def lot(self, lot_id: UUID) -> Lot | None:
        """The lot for changing, or None when the wallet holds no open lot of that id."""
        mine = self.lots.get(lot_id)
        if mine is None:
            theirs = self._base.lots.get(lot_id)
            if theirs is None:
                return None
            mine = self.lots[lot_id] = theirs.copy()
        return mine

    def add_lot(self, lot: Lot) -> None:
        self.lots[lot.id] = lot

    def open_lots(self, currency: str) -> list[Lot]:
        """Read-only view of all lots of `currency` with something open, unordered. Change one only through `lot(id)`.

        Raises `Unloaded` when the wallet holds only some of them.
        """
        if not self._base.complete:
            raise Unloaded(lots=True)
        return self.loaded_lots(currency)

    def loaded_lots(self, currency: str) -> list[Lot]:
        """Like `open_lots`, but only those at hand: all that fall due by `now`, and what this batch made."""
        mine = [lot for lot in self.lots.values() if lot.currency == currency and lot.open]
        mine.extend(
            lot
            for key, lot in self._base.lots.items()
            if lot.currency == currency and key not in self.lots and lot.open
        )
        return mine

    def hold(self, hold_id: UUID) -> Hold | None:
        """The hold for changing, or None."""
        mine = self.holds.get(hold_id)
        if mine is None:
            theirs = self._base.holds.get(hold_id)
            if theirs is None:
                return None
            mine = self.holds[hold_id] = theirs.copy()
        return mine

    def find_hold(self, hold_id: UUID) -> Hold | None:
        """The hold for reading only, or None when it is not loaded."""
        return self.holds.get(hold_id) or self._base.holds.get(hold_id)

    def add_hold(self, hold: Hold) -> None:
        self.holds[hold.id] = hold

    def each_lot(self) -> Iterable[Lot]:
        """Every lot at hand, of any currency, closed ones too. For reading only."""
        mine, theirs = self.lots, self._base.lots
        if not mine:
            return theirs.values()
        return [*mine.values(), *(lot for key, lot in theirs.items() if key not in mine)]

    def all_holds(self) -> list[Hold]:
        """Read-only view of all holds loaded or made."""
        if not (self.holds or self._base.holds):
            return []
        return [*self.holds.values(), *(hold for key, hold in self._base.holds.items() if key not in self.holds)]

    def savepoint(self) -> tuple[Any, ...]:
        """A copy of the draft to return to with `rollback`, made where several operations must all happen or none."""
        return (
            {key: value.copy() for key, value in self.accounts.items()},
            {key: value.copy() for key, value in self.lots.items()},
            {key: value.copy() for key, value in self.holds.items()},
            len(self.transactions),
            self.seq,
        )

    def rollback(self, point: tuple[Any, ...]) -> None:
        """Forgets everything since the savepoint."""
        self.accounts, self.lots, self.holds, transactions, self.seq = point
        del self.transactions[transactions:]

    def commit(self) -> Wallet:
        """The wallet after this command. The draft must not be used afterwards."""
        if not (self.accounts or self.lots or self.holds):
            return self._base
        base = self._base
        return Wallet(
            accounts={**base.accounts, **self.accounts},
            lots={**base.lots, **self.lots} if self.lots else base.lots,
            holds={**base.holds, **self.holds} if self.holds else base.holds,
            complete=base.complete,
        )
