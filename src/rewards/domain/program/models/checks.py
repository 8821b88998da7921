"""A document's own tests: what happens, and what must come of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from rewards.domain.program.models.actions import AMOUNT_MAX
from rewards.domain.program.models.base import DurationText, EventName, Key, Part, Words
from rewards.domain.program.models.rules import Moment

MemberName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
GROUPS_MAX: Final = 5
"""To more groups no member belongs."""
Whole = Annotated[int, Field(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]


class Given(Part):
    """One event. `id` defaults to its place; `attributes` are set on the member before it, and it joins the `groups`."""

    at: Moment
    member: MemberName
    type: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    properties: dict[str, Any] = Field(default_factory=dict)
    context: dict[str, Any] = Field(default_factory=dict)
    attributes: dict[Key, Any] = Field(default_factory=dict)
    groups: Annotated[list[MemberName], Field(max_length=GROUPS_MAX)] = Field(default_factory=list)
    id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


class Buckets(Part):
    """What of a balance is stated must hold."""

    available: Whole | None = None
    pending: Whole | None = None
    held: Whole | None = None
    debt: Whole | None = None


class Expected(Part):
    """`effects` occur in this order, others may lie between; `exactly` lists all; `none` names types that must not be.

    An expected effect is `{type: fields}`; fields that are not stated may be anything.
    """

    balances: dict[Key, Whole | Buckets] = Field(default_factory=dict)
    effects: list[dict[EventName, dict[str, Any]]] = Field(default_factory=list)
    exactly: list[dict[EventName, dict[str, Any]]] | None = None
    none: list[EventName] = Field(default_factory=list)
    segments: list[Key] | None = None
    attributes: dict[Key, Any] = Field(default_factory=dict)
    statuses: list[str] | None = None


class Check(Part):
    """One test: `given` events in order, then the clock moves on by `advance`, then what is expected of each member."""

    name: Words
    given: Annotated[list[Given], Field(min_length=1, max_length=200)]
    advance: DurationText | None = None
    expect: dict[MemberName, Expected]
