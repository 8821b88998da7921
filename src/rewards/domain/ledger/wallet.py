"""A member's wallet while one command works on it: copy-on-write, so that a refused command leaves no trace.

`Wallet` is what was loaded (or what the previous command of the batch left). `Draft` is the working copy: ledger
operations change the draft only; `Draft.commit()` gives the next `Wallet`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from rewards.domain.ledger.accounts import Account, Hold, Lot, Transaction

@dataclass(slots=True)
class Wallet:
    """Accounts by currency, open lots by id, open holds by id. Values are never changed in place: see `Draft`."""

    accounts: dict[str, Account] = field(default_factory=dict)
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)


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
            mine = copy(theirs) if theirs is not None else Account(currency)
            self.accounts[currency] = mine
        return mine

    def lot(self, lot_id: UUID) -> Lot | None:
        """The lot for changing, or None when the wallet holds no open lot of that id."""
        mine = self.lots.get(lot_id)
        if mine is None:
            theirs = self._base.lots.get(lot_id)
            if theirs is None:
                return None
            mine = self.lots[lot_id] = copy(theirs)
        return mine

    def add_lot(self, lot: Lot) -> None:
        self.lots[lot.id] = lot

    def open_lots(self, currency: str) -> list[Lot]:
        """Read-only view of all lots of `currency` with something open, unordered. Change one only through `lot(id)`."""
        mine = [lot for lot in self.lots.values() if lot.currency == currency and lot.open]
        mine.extend(lot for key, lot in self._base.lots.items() if lot.currency == currency and key not in self.lots and lot.open)
        return mine

    def hold(self, hold_id: UUID) -> Hold | None:
        """The hold for changing, or None."""
        mine = self.holds.get(hold_id)
        if mine is None:
            theirs = self._base.holds.get(hold_id)
            if theirs is None:
                return None
            mine = copy(theirs)
            mine.parts = list(theirs.parts)
            self.holds[hold_id] = mine
        return mine

    def add_hold(self, hold: Hold) -> None:
        self.holds[hold.id] = hold

    def all_holds(self) -> list[Hold]:
        """Read-only view of all holds loaded or made."""
        return [*self.holds.values(), *(hold for key, hold in self._base.holds.items() if key not in self.holds)]

    def commit(self) -> Wallet:
        """The wallet after this command. The draft must not be used afterwards."""
        if not (self.accounts or self.lots or self.holds):
            return self._base
        base = self._base
        return Wallet(
            accounts={**base.accounts, **self.accounts},
            lots={**base.lots, **self.lots},
            holds={**base.holds, **self.holds},
        )
