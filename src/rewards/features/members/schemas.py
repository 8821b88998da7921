"""Members on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from rewards.domain.commands import SetProfile
from rewards.http.decoding import Body

ATTRIBUTES_MAX = 200


class ProfileIn(Body, frozen=True, omit_defaults=True):
    """What shall change. An attribute, the locale or the time zone that is null is removed; what is not named stays."""

    attributes: Annotated[dict[str, Any], Meta(max_length=ATTRIBUTES_MAX)] = field(default_factory=dict)
    locale: Annotated[str, Meta(min_length=1, max_length=35, description="A BCP 47 tag.")] | UnsetType | None = UNSET
    timezone: Annotated[str, Meta(min_length=1, max_length=64, description="An IANA name.")] | UnsetType | None = UNSET

    def command(self) -> SetProfile:
        removed = {name for name, value in (("locale", self.locale), ("timezone", self.timezone)) if value is None}
        return SetProfile(
            attributes=self.attributes,
            locale=self.locale or None,
            timezone=self.timezone or None,
            clear=frozenset(removed),
        )


class MyProfileIn(Body, frozen=True, omit_defaults=True):
    """What members may change of themselves. What is null is removed; what is not named stays."""

    locale: Annotated[str, Meta(min_length=1, max_length=35, description="A BCP 47 tag.")] | UnsetType | None = UNSET
    timezone: Annotated[str, Meta(min_length=1, max_length=64, description="An IANA name.")] | UnsetType | None = UNSET

    def command(self) -> SetProfile:
        return ProfileIn(locale=self.locale, timezone=self.timezone).command()


class Buckets(Struct, frozen=True):
    """The balances of one currency, in its smallest unit."""

    available: int
    pending: int
    held: int
    debt: int


class MemberOut(Struct, frozen=True):
    """A member as of now. After a merge all of this is of the member named by `merged_into`."""

    member: str
    kind: str
    merged_into: str | None
    attributes: dict[str, Any]
    locale: str | None
    timezone: str | None
    segments: list[str]
    balances: dict[str, Buckets]
    created_at: datetime


class MeOut(Struct, frozen=True):
    """The member of the token, as of now. After a merge all of this is of the member named by `merged_into`."""

    member: str
    merged_into: str | None
    attributes: dict[str, Any]
    locale: str | None
    timezone: str | None
    balances: dict[str, Buckets]


class MyProfileOut(Struct, frozen=True, omit_defaults=True):
    """The profile after the change, and what it set off."""

    locale: str | None = None
    timezone: str | None = None
    effects: list[dict[str, Any]] = []
    balances: dict[str, Buckets] = {}
    answer_expired: bool = False


class ProfileOut(Struct, frozen=True, omit_defaults=True):
    """The profile after the change, and what it set off."""

    attributes: dict[str, Any] = {}
    locale: str | None = None
    timezone: str | None = None
    segments: list[str] = []
    effects: list[dict[str, Any]] = []
    balances: dict[str, Buckets] = {}
    answer_expired: bool = False
