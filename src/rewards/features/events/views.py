"""Stored events as they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from rewards.domain.commands import MemberRef, SentBy
from rewards.domain.play.recounting import metric_of
from rewards.domain.program.compiled import Program
from rewards.features.events.schemas import Reason, Trace

_RULE = "rule:"


class EventItem(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a member. `entry` is our own id of this record, `id` the sender's of the event.

    `sent_by` says who sent it: an app's `server`, somebody with a `public` key, or the `customer`. It is null for what time
    brought, and for events from before this was kept.
    """

    id: str
    entry: UUID
    type: str
    status: str
    program_version: int
    occurred_at: datetime
    recorded_at: datetime
    properties: dict[str, Any]
    context: dict[str, Any]
    sent_by: SentBy | None
    effects: list[dict[str, Any]]


class Caused(msgspec.Struct, frozen=True):
    """A transaction that the event caused."""

    id: UUID
    kind: str
    currency: str
    amount: int
    rule: str | None


class Contribution(msgspec.Struct, frozen=True):
    """What the event added to a metric; `metric` is null when the program no longer has it."""

    metric: str | None
    definition: str
    value: list[Any]


class EventDetail(EventItem, frozen=True, kw_only=True, omit_defaults=True):
    """An event with the reasons of all that it did and did not do, and the balances it left."""

    member: str
    balances: dict[str, dict[str, int]]
    trace: Trace
    transactions: list[Caused]
    reason: Reason | None = None
    contributions: list[Contribution] | None = None


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that is stored and not decided: `accepted` until it is, `rejected` when it cannot be, for the `failure` told.

    A rejected one was never decided, so its id may be sent again with what was wrong put right.
    """

    id: str
    status: str
    sent_by: SentBy
    failure: str | None = None


class QuarantineItem(msgspec.Struct, frozen=True, kw_only=True):
    """An event that did not fit the program. `entry` is its address here; `why` says what was wrong when it came."""

    entry: UUID
    id: str
    member: str
    type: str
    program_version: int
    occurred_at: datetime
    recorded_at: datetime
    properties: dict[str, Any]
    context: dict[str, Any]
    sent_by: SentBy | None
    why: dict[str, Any]


def item_of(row: Any) -> EventItem:
    return EventItem(**_common(row), status=row.status, effects=(row.answer or {}).get("effects", []))


def waiting_of(identifier: str, failure: str | None, sent_by: SentBy) -> Waiting:
    return Waiting(identifier, "accepted" if failure is None else "rejected", sent_by, failure)


def detail_of(row: Any, ref: MemberRef, caused: list[Any], *, metrics_of: Program | None) -> EventDetail:
    """`metrics_of` names the program whose metrics the contributions are told by; without it they are left out."""
    answer = row.answer or {}
    return EventDetail(
        **_common(row),
        member=str(ref),
        status=row.status,
        effects=answer.get("effects", []),
        balances=answer.get("balances", {}),
        trace=row.trace or [],
        transactions=[Caused(made.id, made.kind, made.currency, made.amount, _rule(made.source)) for made in caused],
        reason=msgspec.convert(answer.get("reason"), Reason | None),
        contributions=None if metrics_of is None else _contributions(row.contributions, metrics_of),
    )


def quarantine_item_of(row: Any) -> QuarantineItem:
    trace = row.trace or []
    return QuarantineItem(
        **_common(row),
        member=str(MemberRef(row.kind, row.external_id)),
        why=next((entry for entry in trace if entry.get("result") == "quarantined"), {}),
    )


def _common(row: Any) -> dict[str, Any]:
    return {
        "id": row.client_id,
        "entry": row.id,
        "type": row.type,
        "program_version": row.program_version,
        "occurred_at": row.occurred_at,
        "recorded_at": row.recorded_at,
        "properties": row.properties or {},  # what was erased is empty
        "context": row.context or {},
        "sent_by": row.sent_by,
    }


def _contributions(kept: list[list[Any]] | None, program: Program) -> list[Contribution]:
    names = {metric.id: metric.key for metric in program.metrics.values()}
    told = [(metric_of(definition), value) for definition, *value in kept or []]
    return [Contribution(names.get(definition), definition, value) for definition, value in told]


def _rule(source: str) -> str | None:
    return source.removeprefix(_RULE) if source.startswith(_RULE) else None
