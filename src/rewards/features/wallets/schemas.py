"""Points on the wire: what callers ask of the ledger, and what it says."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from msgspec import Meta, Struct, field

from rewards.domain.commands import Cause, SentBy
from rewards.domain.ledger.accounts import AMOUNT_MAX
from rewards.http.decoding import Body

SECONDS_MAX = 3660 * 86_400

Amount: TypeAlias = Annotated[int, Meta(ge=1, le=AMOUNT_MAX, description="In the currency's smallest unit.")]
Currency: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Reason: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$", description="A code for machines: `goodwill`, `fraud`.")
]
Reference: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=200, description="The app's own name of the cause: an order number.")
]
Note: TypeAlias = Annotated[str, Meta(max_length=1000, description="Free text for people; erasable.")]
DurationText: TypeAlias = Annotated[
    str, Meta(pattern=r"^[1-9][0-9]{0,8}(s|m|h|d)$", description="`90s`, `10m`, `72h`, `14d`.")
]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
Policy: TypeAlias = Literal["pending_only", "within_balance", "allow_debt"]


class Why(Body, frozen=True, kw_only=True, omit_defaults=True):
    """What every movement may say of itself."""

    reason: Reason | None = None
    reference: Reference | None = None
    note: Note | None = None

    def cause(self, actor: str) -> Cause:
        return Cause(actor=actor, reason=self.reason, reference=self.reference, note=self.note)


class EarnIn(Why, frozen=True, kw_only=True):
    """Points to issue. `hold` keeps them pending that long (text or seconds, 0 for not at all) instead of the currency's.

    They mature before they expire: what could never be spent is refused.
    """

    currency: Currency
    amount: Amount
    hold: DurationText | Annotated[int, Meta(ge=0, le=SECONDS_MAX)] | None = None
    expires_at: Moment | None = None


class SpendIn(Why, frozen=True, kw_only=True):
    """Available points to spend, those that expire first before the others."""

    currency: Currency
    amount: Amount


class HoldIn(Why, frozen=True, kw_only=True):
    """Available points to reserve, either for a time (text or seconds) or until a moment."""

    currency: Currency
    amount: Amount
    expires_in: DurationText | Annotated[int, Meta(ge=1, le=SECONDS_MAX)] | None = None
    expires_at: Moment | None = None


class CaptureIn(Why, frozen=True, kw_only=True):
    """What of a hold is really spent: all that is left without an `amount`. `final` gives the rest back at once."""

    amount: Amount | None = None
    final: bool = False


class ReleaseIn(Why, frozen=True, kw_only=True):
    """What of a hold goes back: all that is left without an `amount`."""

    amount: Amount | None = None


class ReverseIn(Why, frozen=True, kw_only=True):
    """What of a transaction is taken back: all that is left without an `amount`. `policy` overrides the currency's."""

    amount: Amount | None = None
    policy: Policy | None = None


class ReverseReferenceIn(Body, frozen=True, kw_only=True, omit_defaults=True):
    """The order (say) of which everything is taken back that is left."""

    reference: Reference
    policy: Policy | None = None
    reason: Reason | None = None
    note: Note | None = None

    def cause(self, actor: str) -> Cause:
        return Cause(actor=actor, reason=self.reason, note=self.note)


class Buckets(Struct, frozen=True):
    """The balances of one currency, in its smallest unit."""

    available: int
    pending: int
    held: int
    debt: int


class Moved(Struct, frozen=True, omit_defaults=True):
    """A transaction that was just made. `requested` is there where a clawback policy forgave the rest."""

    id: UUID
    kind: str
    currency: str
    amount: int
    recorded_at: datetime
    effective_at: datetime
    balance_after: Buckets
    requested: int | None = None
    reverses: UUID | None = None
    hold: UUID | None = None


class HoldState(Struct, frozen=True):
    """A hold after the movement."""

    id: UUID
    currency: str
    amount: int
    captured: int
    released: int
    remaining: int
    expires_at: datetime


class MoveOut(Struct, frozen=True, omit_defaults=True):
    """What was posted, what it led to by rules, and the balances afterwards. A repetition whose stored answer is gone says only that."""

    transactions: list[Moved] = []
    balances: dict[str, Buckets] = {}
    effects: list[dict[str, Any]] = []
    hold: HoldState | None = None
    answer_expired: bool = False


class Lifetime(Struct, frozen=True):
    """All that ever came in and went out."""

    issued: int
    redeemed: int
    expired: int
    revoked: int
    sent: int
    received: int


class Expiring(Struct, frozen=True):
    """How much goes at which moment, if the member does nothing more."""

    at: datetime
    amount: int


class OpenHold(Struct, frozen=True):
    """A hold that still reserves something."""

    id: UUID
    currency: str
    amount: int
    captured: int
    released: int
    remaining: int
    created_at: datetime
    expires_at: datetime
    reference: str | None


class CurrencyWallet(Struct, frozen=True):
    """One currency of a wallet."""

    balances: Buckets
    lifetime: Lifetime
    next_expiry: Expiring | None
    last_activity_at: datetime | None


class WalletOut(Struct, frozen=True):
    """The wallet at `as_of`: what has matured or expired by then counts, whether it is posted yet or not."""

    member: str
    merged_into: str | None
    as_of: datetime
    currencies: dict[str, CurrencyWallet]
    holds: list[OpenHold]


class ExpiringOut(Struct, frozen=True):
    """The whole schedule by currency, the next first."""

    member: str
    merged_into: str | None
    as_of: datetime
    currencies: dict[str, list[Expiring]]


class BalanceOut(Struct, frozen=True):
    """The balances as they were recorded at that moment. What is said of a moment never changes."""

    member: str
    merged_into: str | None
    at: datetime
    balances: dict[str, Buckets]


class PostingOut(Struct, frozen=True):
    """One movement between two accounts, of one lot."""

    debit: str
    credit: str
    amount: int
    lot: UUID | None


class CausedBy(Struct, frozen=True):
    """The event that caused a transaction. `sent_by` is null where that is not known."""

    id: str
    type: str
    entry: UUID
    sent_by: SentBy | None


class TransactionOut(Struct, frozen=True, omit_defaults=True):
    """One entry of the ledger, for good. `source` is `rule:KEY`, `badge:KEY` and the like, `api`, `import:NAME`, `merge` or `system`."""

    id: UUID
    seq: int
    kind: str
    currency: str
    amount: int
    source: str
    actor: str
    recorded_at: datetime
    effective_at: datetime
    balance_after: Buckets
    rule: str | None = None
    event: CausedBy | None = None
    reason: str | None = None
    reference: str | None = None
    note: str | None = None
    requested: int | None = None
    reverses: UUID | None = None
    hold: UUID | None = None
    reversed: int | None = None
    member: str | None = None
    postings: list[PostingOut] | None = None


class StatementOut(Struct, frozen=True):
    """Transactions recorded from `from` up to `to`, the newest first, with the balances at both ends."""

    member: str
    merged_into: str | None
    to: datetime
    opening: dict[str, Buckets]
    closing: dict[str, Buckets]
    items: list[TransactionOut]
    since: datetime | None = field(name="from", default=None)
    next_cursor: str | None = None


class MyCause(Struct, frozen=True):
    """The event that caused a transaction."""

    id: str
    type: str


class MyTransactionOut(Struct, frozen=True, omit_defaults=True):
    """One entry of the member's ledger, for good, without what is said of it among staff."""

    id: UUID
    kind: str
    currency: str
    amount: int
    recorded_at: datetime
    effective_at: datetime
    balance_after: Buckets
    rule: str | None = None
    event: MyCause | None = None
    reason: str | None = None
    reference: str | None = None
    reverses: UUID | None = None
    hold: UUID | None = None


class MyStatementOut(Struct, frozen=True):
    """Transactions recorded from `from` up to `to`, the newest first, with the balances at both ends."""

    member: str
    merged_into: str | None
    to: datetime
    opening: dict[str, Buckets]
    closing: dict[str, Buckets]
    items: list[MyTransactionOut]
    since: datetime | None = field(name="from", default=None)
    next_cursor: str | None = None


def content_of(operation: str, body: Body, **path: Any) -> dict[str, Any]:
    """All that the client sent, for the fingerprint: the same key with anything else is another request."""
    return {"operation": operation, **path, "body": body}
