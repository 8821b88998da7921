"""The invariants of the ledger for one member and currency, checked against the postings themselves.

`Audit` takes the transactions one by one in the order of `seq`, so a history of any length can be streamed through it;
`violations` does the same for lists at hand. Each violation is one sentence that names what was found and expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

from rewards.domain.ledger.accounts import AMOUNT_MAX, Account, Book, Hold, Kind, Lot, Posting, Transaction
from rewards.domain.ledger.entry import spend_order

_FOLDED: Final = (
    "available",
    "pending",
    "held",
    "debt",
    "issued",
    "redeemed",
    "expired",
    "revoked",
    "sent",
    "received",
)
_BUCKETS: Final = ("available", "pending", "held", "debt")
_LOT_PARTS: Final = ("pending", "available", "held", "redeemed", "expired", "revoked", "sent")
_MOVES: Final[dict[Book, frozenset[Book]]] = {
    Book.ISSUED: frozenset({Book.AVAILABLE, Book.PENDING, Book.EXPIRED}),
    Book.TRANSIT: frozenset({Book.AVAILABLE, Book.PENDING, Book.EXPIRED}),
    Book.PENDING: frozenset({Book.AVAILABLE, Book.EXPIRED, Book.REVOKED, Book.TRANSIT}),
    Book.AVAILABLE: frozenset({Book.HELD, Book.REDEEMED, Book.EXPIRED, Book.REVOKED, Book.DEBT, Book.TRANSIT}),
    Book.HELD: frozenset({Book.AVAILABLE, Book.REDEEMED, Book.EXPIRED}),
    Book.REDEEMED: frozenset({Book.AVAILABLE, Book.EXPIRED, Book.TRANSIT}),
    Book.DEBT: frozenset({Book.REVOKED}),
    Book.REVOKED: frozenset({Book.DEBT}),
}
"""Every movement there is, from debit to credit."""

_INFLOW: Final = {Book.ISSUED: "issued", Book.TRANSIT: "received"}
_CREDITED_AS: Final = {Book.TRANSIT: "sent", Book.DEBT: "revoked"}
_TAKES: Final = {Kind.SPEND: Book.REDEEMED, Kind.HOLD: Book.HELD}


class Audit:
    """A running check of one member's history in one currency. `finish` compares it with what is stored."""

    def __init__(self, lots: Iterable[Lot]) -> None:
        self._lots = {lot.id: lot for lot in lots}
        self._totals = dict.fromkeys(_FOLDED, 0)
        self._parts: dict[UUID, dict[str, int]] = {}
        self._open: set[UUID] = set()
        self._holds: dict[UUID, dict[Kind, int]] = {}
        self._amounts: dict[UUID, int] = {}
        self._reversed: dict[UUID, int] = {}
        self._last: Transaction | None = None
        self._found: list[str] = []

    def add(self, transaction: Transaction) -> None:
        """Take the next transaction."""
        self._check_order(transaction)
        for posting in transaction.postings:
            self._fold(posting)
        if transaction.kind in _TAKES:
            self._check_taking(transaction)
        if transaction.hold is not None:
            sums = self._holds.setdefault(transaction.hold, {})
            sums[transaction.kind] = sums.get(transaction.kind, 0) + transaction.amount
        self._check_reversal(transaction)
        for bucket in _BUCKETS:
            recorded, folded = getattr(transaction, bucket), self._totals[bucket]
            if recorded != folded:
                self._report(f"transaction {transaction.id}: {bucket} after is {recorded}, its postings give {folded}")
        if min(self._totals.values()) < 0:
            self._report(f"transaction {transaction.id}: a balance is negative: {self._totals}")
        if self._totals["available"] and self._totals["debt"]:
            self._report(f"transaction {transaction.id}: leaves available points beside debt")
        self._last = transaction

    def finish(self, account: Account, holds: Iterable[Hold]) -> list[str]:
        """Everything found, with the stored account, lots and holds compared to the fold of the postings."""
        found = [*self._found, *_account_violations(account)]
        for field, folded in self._totals.items():
            if getattr(account, field) != folded:
                found.append(f"account: {field} is {getattr(account, field)}, postings give {folded}")
        found.extend(self._lot_violations())
        found.extend(_sum_violations(account, self._lots.values()))
        found.extend(self._hold_violations(account, list(holds)))
        return found

    def _report(self, sentence: str) -> None:
        self._found.append(sentence)

    def _check_order(self, transaction: Transaction) -> None:
        last = self._last
        if last is not None and transaction.seq <= last.seq:
            self._report(f"transaction {transaction.id}: seq {transaction.seq} follows {last.seq}")
        if last is not None and transaction.recorded_at < last.recorded_at:
            self._report(f"transaction {transaction.id}: recorded before the one it follows")
        if not transaction.postings and transaction.kind is not Kind.CLAWBACK:
            self._report(f"transaction {transaction.id}: has no postings")

    def _fold(self, posting: Posting) -> None:
        totals = self._totals
        if posting.credit not in _MOVES.get(posting.debit, ()) or not 1 <= posting.amount <= AMOUNT_MAX:
            self._report(
                f"a posting of {posting.amount} from {posting.debit.name} to {posting.credit.name} is no movement"
            )
            return
        if (posting.lot is None) != ({posting.debit, posting.credit} == {Book.DEBT, Book.REVOKED}):
            self._report(f"a posting from {posting.debit.name} to {posting.credit.name} has lot {posting.lot}")
            return
        for book, sign in ((posting.debit, -1), (posting.credit, 1)):
            if book in (Book.ISSUED, Book.TRANSIT) and sign < 0:
                totals[_INFLOW[book]] += posting.amount
            elif book is Book.TRANSIT:
                totals["sent"] += posting.amount
            elif book is Book.DEBT:
                totals["debt"] -= sign * posting.amount
            else:
                totals[book.name.lower()] += sign * posting.amount
        if posting.lot is not None:
            self._fold_lot(posting, posting.lot)

    def _fold_lot(self, posting: Posting, lot_id: UUID) -> None:
        parts = self._parts.setdefault(lot_id, dict.fromkeys(("amount", *_LOT_PARTS), 0))
        if posting.debit in _INFLOW:
            parts["amount"] += posting.amount
        else:
            parts[posting.debit.name.lower()] -= posting.amount
        parts[_CREDITED_AS.get(posting.credit) or posting.credit.name.lower()] += posting.amount
        if parts["available"]:
            self._open.add(lot_id)
        else:
            self._open.discard(lot_id)

    def _check_taking(self, transaction: Transaction) -> None:
        """Taken from lots that are mature and not expired, and none that expires earlier keeps something available."""
        into = _TAKES[transaction.kind]
        touched = {posting.lot for posting in transaction.postings if posting.credit is into}
        lots = [self._lots[lot_id] for lot_id in touched if lot_id in self._lots]
        at = transaction.recorded_at
        for lot in lots:
            if lot.expires_at is not None and lot.expires_at <= at:
                self._report(f"transaction {transaction.id}: takes from lot {lot.id}, which had expired")
            if lot.matures_at is not None and lot.matures_at > at:
                self._report(f"transaction {transaction.id}: takes from lot {lot.id}, which had not matured")
        latest = max(map(spend_order, lots), default=None)
        for lot_id in self._open:
            other = self._lots.get(lot_id)
            if other is not None and latest is not None and spend_order(other) < latest:
                self._report(f"transaction {transaction.id}: leaves lot {lot_id} open, which is to be spent earlier")

    def _check_reversal(self, transaction: Transaction) -> None:
        self._amounts[transaction.id] = transaction.amount
        original = transaction.reverses
        if original is None:
            return
        so_far = self._reversed.get(original, 0) + (transaction.requested or transaction.amount)
        self._reversed[original] = so_far
        # The original of a merged member's points stands in that member's history.
        if so_far > self._amounts.get(original, so_far):
            self._report(f"transaction {original}: {so_far} of {self._amounts[original]} were reversed")

    def _lot_violations(self) -> Iterator[str]:
        for lot_id, parts in self._parts.items():
            if lot_id not in self._lots:
                yield f"lot {lot_id}: has postings but no row"
                continue
            lot = self._lots[lot_id]
            for part, folded in parts.items():
                if getattr(lot, part) != folded:
                    yield f"lot {lot_id}: {part} is {getattr(lot, part)}, postings give {folded}"
        for lot in self._lots.values():
            if lot.id not in self._parts:
                yield f"lot {lot.id}: has no postings"
            if any(getattr(lot, part) < 0 for part in _LOT_PARTS):
                yield f"lot {lot.id}: has a negative part"
            if sum(getattr(lot, part) for part in _LOT_PARTS) != lot.amount:
                yield f"lot {lot.id}: its parts do not sum to {lot.amount}"

    def _hold_violations(self, account: Account, holds: list[Hold]) -> Iterator[str]:
        held: dict[UUID, int] = {}
        for hold in holds:
            if min(hold.captured, hold.released, hold.remaining) < 0:
                yield f"hold {hold.id}: captured {hold.captured} and released {hold.released} of {hold.amount}"
            if sum(amount for _, amount in hold.parts) != hold.remaining:
                yield f"hold {hold.id}: its parts do not sum to {hold.remaining}"
            sums = self._holds.get(hold.id, {})
            for kind, amount in (
                (Kind.HOLD, hold.amount),
                (Kind.CAPTURE, hold.captured),
                (Kind.RELEASE, hold.released),
            ):
                if sums.get(kind, 0) != amount:
                    yield f"hold {hold.id}: {kind} is {amount}, transactions give {sums.get(kind, 0)}"
            for lot_id, amount in hold.parts:
                held[lot_id] = held.get(lot_id, 0) + amount
        if sum(held.values()) != account.held:
            yield f"account: held is {account.held}, holds give {sum(held.values())}"
        for lot in self._lots.values():
            if held.get(lot.id, 0) != lot.held:
                yield f"lot {lot.id}: held is {lot.held}, holds give {held.get(lot.id, 0)}"


def violations(
    account: Account, lots: Iterable[Lot], holds: Iterable[Hold], transactions: Iterable[Transaction]
) -> list[str]:
    """Everything wrong with one member's ledger in one currency, empty when sound.

    `lots`, `holds` and `transactions` are all there ever were of that currency, transactions in the order of `seq`.
    """
    audit = Audit(lots)
    for transaction in transactions:
        audit.add(transaction)
    return audit.finish(account, holds)


def sequence_violations(numbers: Iterable[int], last: int) -> list[str]:
    """Gaps and repetitions in a member's sequence (transactions and outbox rows), ascending from 1 to `last`."""
    found = []
    expected = 1
    for number in numbers:
        if number != expected:
            found.append(f"seq {number} stands where {expected} is expected")
        expected = number + 1
    if expected != last + 1:
        found.append(f"seq ends at {expected - 1}, the member is at {last}")
    return found


def spendable_violations(account: Account, lots: Iterable[Lot], now: datetime) -> list[str]:
    """Lots with points that should have expired or matured by `now`: only for a wallet whose upkeep was just posted."""
    return [
        f"{account.currency} lot {lot.id}: is due since {at}"
        for lot in lots
        for at, part in ((lot.expires_at, lot.available + lot.pending), (lot.matures_at, lot.pending))
        if part and at is not None and at <= now
    ]


def _account_violations(account: Account) -> Iterator[str]:
    for field in _FOLDED:
        value = getattr(account, field)
        if not 0 <= value <= AMOUNT_MAX:
            yield f"account: {field} is {value}"
    position = account.available + account.pending + account.held - account.debt
    derived = account.issued + account.received
    derived -= account.redeemed + account.expired + account.revoked + account.sent
    if position != derived:
        yield f"account: buckets give {position}, lifetime totals {derived}"
    if account.available and account.debt:
        yield f"account: {account.available} available beside a debt of {account.debt}"


def _sum_violations(account: Account, lots: Iterable[Lot]) -> Iterator[str]:
    lots = list(lots)
    expected = {part: getattr(account, part) for part in _LOT_PARTS}
    expected["revoked"] = account.revoked - account.debt
    expected["amount"] = account.issued + account.received
    for part, amount in expected.items():
        total = sum(getattr(lot, part) for lot in lots)
        if total != amount:
            yield f"account: {part} should be {amount}, lots sum to {total}"
