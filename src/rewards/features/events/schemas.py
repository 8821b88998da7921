"""Events on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from rewards.domain.commands import Event, MemberRef, SentBy
from rewards.http.decoding import Body
from rewards.pipeline.intake import Addressed

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class EventIn(Body, frozen=True):
    """Something a member did. `id` makes it happen once per member; `occurred_at` defaults to the moment of receipt.

    Ids of events that were sent with a public key, or by customers themselves, are apart from those of servers.
    """

    array_advice: ClassVar[str] = 'several events go to /v1/events/batch as {"events": […]}'

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    type: Text
    member: Text
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    properties: Annotated[
        dict[str, Any],
        msgspec.Meta(
            description="What the program does not declare for the type is dropped, unless it says `undeclared: keep`."
        ),
    ] = msgspec.field(default_factory=dict)
    context: dict[str, Any] = msgspec.field(default_factory=dict)

    def addressed(self, *, actor: str, sent_by: SentBy) -> Addressed:
        """The command, identified by what makes two sendings the same: type, time if given, properties."""
        content: dict[str, Any] = {"type": self.type, "properties": self.properties}
        if self.occurred_at is not None:
            content["occurred_at"] = self.occurred_at
        return Addressed(
            ref=MemberRef.parse(self.member),
            command=Event(
                client_id=self.id,
                type=self.type,
                occurred_at=self.occurred_at,
                properties=self.properties,
                context=self.context,
                sent_by=sent_by,
            ),
            client_id=self.id,
            content=content,
            actor=actor,
        )


class Buckets(msgspec.Struct, frozen=True):
    """The balances of one currency, in its smallest unit."""

    available: int
    pending: int
    held: int
    debt: int


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an event was taken and not decided; `path` names the field, `expected` says what would be right."""

    code: str
    message: str
    path: str
    expected: str | None = None


Status = Literal["processed", "duplicate", "quarantined", "too_late", "rejected"]
Effects = Annotated[
    list[dict[str, Any]],
    msgspec.Meta(
        description="What the event brought, in the order in which it was decided. What moved points names its"
        " `transaction`, which `GET /v1/transactions/{id}` shows; not in a dry run, which makes none."
    ),
]
Trace = Annotated[
    list[dict[str, Any]],
    msgspec.Meta(
        description="Each candidate rule with its `result`: `fired`, or why not. `seen` holds the values that the condition"
        " read; `missing` names the field for want of which the condition could not be decided."
    ),
]


class EventOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the event brought, durably. A duplicate repeats what was said the first time: `balances` are as of then.

    `processed`: decided. `duplicate`: sent before. `quarantined`: it does not fit the program; it is kept and can be
    replayed, see `/v1/quarantine`. `too_late`: recorded, beyond the program's `late_window`. `rejected` (in batches and
    replays): nothing was changed, see `error`. `reason` says why an event was quarantined or too late. With `trace` or
    `dry_run`, `ignored` names the properties that were sent and dropped, since the event's type does not declare them.
    """

    id: str
    status: Status
    program_version: int | None = None
    effects: Effects = []
    balances: dict[str, Buckets] = {}
    reason: Reason | None = None
    effects_expired: bool = False
    dry_run: bool = False
    trace: Trace | None = None
    ignored: list[str] = []
    error: dict[str, Any] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The event is stored and will be decided soon."""

    id: str
    status: str = "accepted"


class BatchOut(msgspec.Struct, frozen=True):
    """One result per event, in order."""

    results: list[EventOut]
