"""The result of deciding one command: the next state, what was posted, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from rewards.domain.commands import SentBy
from rewards.domain.effects import Effect
from rewards.domain.ledger.accounts import Account, Hold, Lot, Transaction
from rewards.domain.state import MemberState


class Status(StrEnum):
    """What became of an event."""

    PROCESSED = "processed"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    TOO_LATE = "too_late"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Reservation:
    """A claim of `amount` on the shared counter `key`, which must not pass `total`."""

    key: str
    amount: int
    total: int


@dataclass(slots=True)
class EventRecord:
    """What is stored of an event: as kept after validation, with the trace and the metric contributions."""

    type: str
    client_id: str
    occurred_at: datetime
    properties: Mapping[str, Any]
    context: Mapping[str, Any]
    contributions: list[Any]
    sent_by: SentBy | None = None
    """None for what nobody sent: what time or a job did."""
    answer: dict[str, Any] | None = None
    """What is kept as its answer, where that is not the answer of the command."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A command for another member, run after commit; `ordinal` makes its identity within this command."""

    ordinal: int
    member: UUID
    kind: str
    external_id: str
    name: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Achievement:
    """Something that a member has achieved, kept for good: a badge's level, a quest or a step of it, a milestone, a tier, a
    leaderboard's prize.

    `instance` counts how many times the same was achieved, from 1. What was not `announced` is no news to the member.
    """

    kind: str
    key: str
    level: int
    instance: int
    achieved_at: datetime
    revoked_at: datetime | None = None
    announced: bool = True
    event: UUID | None = None


# Not frozen, though never changed: every event that scores makes some, and frozen ones take three times as long to make.
@dataclass(slots=True)
class BoardScore:
    """A member's row on a leaderboard, as it is now; `score` None: there is none any more.

    `part` is the ranking of the board that the member belongs to, `left_part` the one it belonged to before (the same, mostly).
    `shown` says whether others see it there, `definition` what was counted.
    """

    board: str
    period: str
    part: str
    left_part: str
    score: float | None
    achieved_at: datetime
    shown: bool
    definition: str


@dataclass(frozen=True, slots=True)
class BoardNotice:
    """What was decided about a member on boards: `removed`, `restored` (of one board), `opted_out`, `opted_in`."""

    action: str
    board: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Outcome:
    """`state` is the member afterwards; `accounts`, `lots` and `holds` are just the rows that changed.

    `reversed` maps a transaction id to the total that this member has taken back of it so far. `balances` are the four buckets by currency.
    """

    status: Status
    id: UUID
    now: datetime
    state: MemberState
    effects: list[Effect] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    reversed: dict[UUID, int] = field(default_factory=dict)
    reservations: list[Reservation] = field(default_factory=list)
    event: EventRecord | None = None
    legs: list[Leg] = field(default_factory=list)
    achievements: list[Achievement] = field(default_factory=list)
    scores: list[BoardScore] = field(default_factory=list)
    board_notices: list[BoardNotice] = field(default_factory=list)
    elsewhere: bool = False
    """Whoever looks for the member on boards finds it in another part now, or as whom it was merged into."""
    taken_back: dict[UUID, UUID] = field(default_factory=dict)
    """Events that count no longer, each with the member who sent it."""
    wake_at: datetime | None = None
    """When to decide this member anew although nothing happened; None: as arranged before, or never."""
    answer: dict[str, Any] = field(default_factory=dict)
