"""Events on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from rewards.domain.commands import Event, MemberRef
from rewards.http.decoding import Body
from rewards.pipeline.intake import Addressed

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class EventIn(Body, frozen=True):
    """Something a member did. `id` makes it happen once per member; `occurred_at` defaults to the moment of receipt."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    type: Text
    member: Text
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    properties: dict[str, Any] = msgspec.field(default_factory=dict)
    context: dict[str, Any] = msgspec.field(default_factory=dict)

    def addressed(self, *, actor: str, client: bool) -> Addressed:
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
                client=client,
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


class EventOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the event brought, durably. A duplicate repeats what was said the first time."""

    id: str
    status: str
    program_version: int | None = None
    effects: list[dict[str, Any]] = []
    balances: dict[str, Buckets] = {}
    effects_expired: bool = False
    dry_run: bool = False
    trace: list[dict[str, Any]] | None = None
    error: dict[str, Any] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The event is stored and will be decided soon."""

    id: str
    status: str = "accepted"


class BatchOut(msgspec.Struct, frozen=True):
    """One result per event, in order."""

    results: list[EventOut]
