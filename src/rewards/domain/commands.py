"""Every change to a member is one of these. They are plain values: identity and time are added by the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from rewards.domain.errors import InvalidInput
from rewards.domain.group_commands import (
    Contribute,
    JoinGroup,
    LeaveGroup,
    LoseWithTeam,
    RewardWithTeam,
    TakeContributionBack,
)
from rewards.domain.program.currency import (
    Clawback,
)

KINDS = ("user", "anon", "group")
SentBy: TypeAlias = Literal["server", "public", "customer"]
"""Who sent an event: an app's server with a secret key, a page or app with a public key, a customer with a member token.

Only the first is trusted. What one kind of sender calls an event means nothing to the others.
"""
SENDERS: Final[tuple[SentBy, ...]] = ("server", "public", "customer")
"""The most trusted first."""
YEARS: Final = range(2, 9999)
"""The years that have the same moments in every time zone; outside of them calendars end."""


def check_moment(moment: datetime | None, path: str) -> None:
    """Raises `InvalidInput` for a moment that could not be told in every time zone."""
    if moment is not None and moment.year not in YEARS:
        raise InvalidInput(
            f"the year {moment.year} is beyond the calendar",
            path=path,
            expected=f"a year from {YEARS[0]} to {YEARS[-1]}",
        )


@dataclass(frozen=True, slots=True)
class MemberRef:
    """A member as callers name it. `anon:` and `group:` prefixes choose the kind; anything else is a user."""

    kind: str
    external_id: str

    @classmethod
    def parse(cls, text: str) -> MemberRef:
        """`alice` and `user:alice` are the same user. Raises `InvalidInput` for an empty or overlong id."""
        kind, colon, rest = text.partition(":")
        if not colon or kind not in KINDS:
            kind, rest = "user", text
        if not rest or len(rest) > 200:
            raise InvalidInput("a member id has 1 to 200 characters", path="member", expected="1 to 200 characters")
        return cls(kind, rest)

    def __str__(self) -> str:
        return self.text(self.kind, self.external_id)

    @staticmethod
    def text(kind: str, external_id: str) -> str:
        """The shortest text that `parse` reads as this member."""
        if kind == "user":
            prefix, colon, _ = external_id.partition(":")
            if not (colon and prefix in KINDS):
                return external_id
        return f"{kind}:{external_id}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something the member did, or is said by `sent_by` to have done. Its id is unique among the events of that sender.

    `replay` decides a quarantined one again. `received_at` is when it first came in, which its lateness counts from, if that
    was before now: for a quarantined one, and for one that was accepted to be decided later.
    """

    client_id: str
    type: str
    occurred_at: datetime | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    sent_by: SentBy = "server"
    replay: bool = False
    received_at: datetime | None = None

    def __post_init__(self) -> None:
        check_moment(self.occurred_at, "occurred_at")

    @property
    def client(self) -> bool:
        """Whether it comes straight from a browser or app, which may say anything."""
        return self.sent_by != "server"


@dataclass(frozen=True, slots=True)
class Cause:
    """Who asked for a ledger command and why: stored with the transaction. `reason` is a code, `note` free text."""

    actor: str = "api"
    source: str = "api"
    reason: str | None = None
    reference: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Earn:
    """Issue points. `hold` keeps them pending that long; `until_matured` until someone matures the reference."""

    currency: str
    amount: int
    cause: Cause = Cause()
    hold: timedelta | None = None
    until_matured: bool = False
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        check_moment(self.expires_at, "expires_at")


@dataclass(frozen=True, slots=True)
class Spend:
    currency: str
    amount: int
    cause: Cause = Cause()


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Reserve available points `until` a moment, or for that long; what is neither captured nor released by then goes back by itself."""

    currency: str
    amount: int
    until: timedelta | datetime
    cause: Cause = Cause()

    def __post_init__(self) -> None:
        if isinstance(self.until, datetime):
            check_moment(self.until, "expires_at")


@dataclass(frozen=True, slots=True)
class Capture:
    """Spend what a hold reserves: all of it when `amount` is None. `final` releases the rest at once."""

    hold: UUID
    amount: int | None = None
    final: bool = False
    cause: Cause = Cause()


@dataclass(frozen=True, slots=True)
class Release:
    """Give back what a hold reserves: all of it when `amount` is None."""

    hold: UUID
    amount: int | None = None
    cause: Cause = Cause()


@dataclass(frozen=True, slots=True)
class Reverse:
    """Take one transaction back, wholly when `amount` is None. `policy` overrides the currency's clawback policy."""

    transaction: UUID
    amount: int | None = None
    policy: Clawback | None = None
    cause: Cause = Cause()


@dataclass(frozen=True, slots=True)
class ReverseReference:
    """Take back what is left of every transaction that carries `reference` (an order, say)."""

    reference: str
    policy: Clawback | None = None
    cause: Cause = Cause()


@dataclass(frozen=True, slots=True)
class SetProfile:
    """Change declared attributes (`None` removes one), locale or time zone; what is not named stays.

    `clear` names those of `locale` and `timezone` that the member shall have no more.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    locale: str | None = None
    timezone: str | None = None
    clear: frozenset[str] = frozenset()
    drop_unknown: bool = False
    """SDK traits: silently leave out what the program does not declare, instead of refusing."""


@dataclass(frozen=True, slots=True)
class Import:
    """An opening balance from another system, booked once."""

    currency: str
    amount: int
    cause: Cause = Cause()
    expires_at: datetime | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_moment(self.expires_at, "expires_at")


@dataclass(frozen=True, slots=True)
class MergeOut:
    """First leg of a merge: this member gives all it owns away and forwards to `into` from now on."""

    into: MemberRef
    into_id: UUID


@dataclass(frozen=True, slots=True)
class MergeIn:
    """Second leg: takes over what `MergeOut` of the other member packed. `parcel` is plain JSON."""

    origin: UUID
    parcel: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PassOn:
    """Second leg of a refund to whom this member has become: so much of what it spent of these lots leaves its books.

    `transaction` is that spending.
    """

    transaction: UUID
    currency: str
    shares: tuple[tuple[UUID, int], ...]


OF_THE_MERGED: Final = (MergeOut, PassOn)
"""Commands that are meant for a member as it is, also when it was merged; all others go to whom it has become."""


@dataclass(frozen=True, slots=True)
class Due:
    """Time has passed for this member: post what matured or expired and decide the segments that silence changes."""


@dataclass(frozen=True, slots=True)
class SetSegments:
    """The outcome of a job over all members for the `top` segments."""

    entered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backfill:
    """Count these metrics (ids) anew from recorded events, and decide by them what badges and tiers the member has.

    Without `announce` nothing is told or raised; without `rewards` nothing is given for it.
    """

    metrics: tuple[str, ...]
    announce: bool = True
    rewards: bool = True


@dataclass(frozen=True, slots=True)
class ModerateBoard:
    """Staff take a member off a leaderboard, for a `reason`, or put it back (no reason)."""

    board: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class OptOut:
    """The member wants to be on no leaderboard, or on boards again."""

    out: bool


@dataclass(frozen=True, slots=True)
class AwardPrize:
    """A period of a leaderboard has closed, and the member's rank gets this prize of it (counted from 0)."""

    board: str
    period: str
    part: str
    prize: int
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class BuyFreezes:
    """Buy freezes of a streak at the price that the program names."""

    streak: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class GiveFreezes:
    """Staff or the app give freezes of a streak away."""

    streak: str
    count: int = 1
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PauseStreak:
    """For this long, missed periods do not break the streak."""

    streak: str
    length: timedelta


@dataclass(frozen=True, slots=True)
class ResumeStreak:
    """Ends the pause of a streak."""

    streak: str


@dataclass(frozen=True, slots=True)
class RestoreStreak:
    """Staff put a broken streak back, to `length` or to what was lost."""

    streak: str
    length: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class JoinQuest:
    """The member takes up a quest. `by_member`: it asks itself, and a refusal gives nothing secret away."""

    quest: str
    by_member: bool = False


@dataclass(frozen=True, slots=True)
class LeaveQuest:
    """The member gives a quest up."""

    quest: str


Command: TypeAlias = (
    Event
    | Earn
    | Spend
    | PlaceHold
    | Capture
    | Release
    | Reverse
    | ReverseReference
    | SetProfile
    | Import
    | MergeOut
    | MergeIn
    | PassOn
    | Due
    | SetSegments
    | JoinQuest
    | LeaveQuest
    | JoinGroup
    | LeaveGroup
    | Contribute
    | TakeContributionBack
    | RewardWithTeam
    | LoseWithTeam
    | Backfill
    | ModerateBoard
    | OptOut
    | AwardPrize
    | BuyFreezes
    | GiveFreezes
    | PauseStreak
    | ResumeStreak
    | RestoreStreak
)
