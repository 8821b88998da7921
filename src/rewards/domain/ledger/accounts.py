"""The nouns of the ledger: accounts, lots, holds, postings and transactions.

Every amount is a positive integer of the currency's smallest unit, at most `AMOUNT_MAX`. A posting moves one amount
from one account to another, so a set of postings balances by construction. A member's wallet is a liability of the
house: a credit to a member account raises it, a debit lowers it (`debt` is the contra account: a debit raises it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final
from uuid import UUID

from rewards.domain.errors import RewardsError

AMOUNT_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259 section 6)."""


class Book(IntEnum):
    """The sides of a posting: the member's buckets and the house accounts. Stored as smallint; never renumber."""

    AVAILABLE = 1
    PENDING = 2
    HELD = 3
    DEBT = 4
    ISSUED = 10
    REDEEMED = 11
    EXPIRED = 12
    REVOKED = 13
    TRANSIT = 14


class Kind(StrEnum):
    """What a transaction does; each has one currency and one member."""

    EARN = "earn"
    SPEND = "spend"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    MATURE = "mature"
    EXPIRE = "expire"
    CLAWBACK = "clawback"
    REFUND = "refund"
    SEND = "send"
    RECEIVE = "receive"
    IMPORT = "import"


class UnbalancedPosting(RewardsError):
    """A posting needs a positive amount and two different accounts."""

    code = "unbalanced-posting"


# Postings and origins are never changed. They are not frozen because making a frozen one takes three times as long, and
# every command makes some.
@dataclass(slots=True)
class Posting:
    """One movement of `amount` from `debit` to `credit`.

    `lot` is the lot whose parts it moves, None when only `debt` moves.
    """

    debit: Book
    credit: Book
    amount: int
    lot: UUID | None

    def __post_init__(self) -> None:
        if self.amount <= 0 or self.debit is self.credit:
            raise UnbalancedPosting(f"posting of {self.amount} from {self.debit.name} to {self.credit.name}")


@dataclass(slots=True)
class Account:
    """A member's position in one currency: four buckets and the lifetime totals they derive from.

    Always `available + pending + held - debt == issued + received - redeemed - expired - revoked - sent`, every field
    >= 0, and `available` and `debt` are never both positive.
    """

    currency: str
    available: int = 0
    pending: int = 0
    held: int = 0
    debt: int = 0
    issued: int = 0
    redeemed: int = 0
    expired: int = 0
    revoked: int = 0
    sent: int = 0
    received: int = 0
    last_activity_at: datetime | None = None

    def copy(self) -> Account:
        return Account(
            self.currency,
            self.available,
            self.pending,
            self.held,
            self.debt,
            self.issued,
            self.redeemed,
            self.expired,
            self.revoked,
            self.sent,
            self.received,
            self.last_activity_at,
        )


@dataclass(slots=True)
class Lot:
    """Points issued together that mature and expire together. Parts are >= 0 and sum to `amount`.

    `rule` names what issued it. `stored` tells whether the row was loaded (absolute write) or is new, in which case the
    write adds to a merged lot of the same id that may exist but was not loaded.
    """

    id: UUID
    currency: str
    rule: str
    opened_at: datetime
    amount: int
    pending: int = 0
    available: int = 0
    held: int = 0
    redeemed: int = 0
    expired: int = 0
    revoked: int = 0
    sent: int = 0
    matures_at: datetime | None = None
    expires_at: datetime | None = None
    stored: bool = False

    @property
    def open(self) -> int:
        return self.pending + self.available + self.held

    def copy(self) -> Lot:
        return Lot(
            self.id,
            self.currency,
            self.rule,
            self.opened_at,
            self.amount,
            self.pending,
            self.available,
            self.held,
            self.redeemed,
            self.expired,
            self.revoked,
            self.sent,
            self.matures_at,
            self.expires_at,
            self.stored,
        )


@dataclass(slots=True)
class Hold:
    """A reservation of available points.

    `parts` are (lot id, amount still held), earliest-expiring first; the hold is resolved when there are none.
    """

    id: UUID
    currency: str
    amount: int
    captured: int
    released: int
    expires_at: datetime
    created_at: datetime
    parts: list[tuple[UUID, int]] = field(default_factory=list)
    reference: str | None = None

    @property
    def remaining(self) -> int:
        return self.amount - self.captured - self.released

    def copy(self) -> Hold:
        return Hold(
            self.id,
            self.currency,
            self.amount,
            self.captured,
            self.released,
            self.expires_at,
            self.created_at,
            list(self.parts),
            self.reference,
        )


@dataclass(slots=True)
class Origin:
    """Why a transaction exists: what caused it and what it refers to.

    `source` is a rule key (`rule:purchase_points`), `api`, `import`, `system` or `merge`. `reference` is the caller's
    own name for the cause (an order number). `reason` is a machine-readable reason code, `note` free text, `actor` who
    asked.
    """

    source: str
    actor: str = "system"
    reason: str | None = None
    reference: str | None = None
    note: str | None = None
    event: UUID | None = None


@dataclass(slots=True)
class Transaction:
    """One append-only ledger entry with its postings and the four buckets after it.

    `amount` is the sum that the kind is about (issued, spent, taken back, …), > 0 except for a clawback that found
    nothing. `requested` is set only where a clawback policy forgave a shortfall. `hold` names the hold concerned.
    """

    id: UUID
    kind: Kind
    currency: str
    amount: int
    seq: int
    origin: Origin
    effective_at: datetime
    recorded_at: datetime
    postings: list[Posting]
    available: int
    pending: int
    held: int
    debt: int
    requested: int | None = None
    reverses: UUID | None = None
    hold: UUID | None = None
