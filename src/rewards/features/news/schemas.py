"""News on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from rewards.http.decoding import Body


class Won(Struct, frozen=True):
    """Points that came with a prize: what is left of them."""

    currency: str
    name: str
    amount: int


class NewsItem(Struct, frozen=True, omit_defaults=True):
    """Something the member was awarded, named in the member's language.

    `kind` is `points` (then `key` is the currency, `amount` what is left of it, and `source` says what earned it, such as
    `rule:KEY` or `badge:KEY`), or `badge`, `quest`, `quest_step`, `streak` or `tier` (then `level` is the badge's level, the
    quest's step, the milestone or the tier's rank, and `instance` counts how many times), or `prize` (then `key` is the
    leaderboard, `period` and `rank` say what was won, and `won` the points that came with it, which are items, too).
    """

    id: str
    kind: str
    key: str
    name: str
    occurred_at: datetime
    recorded_at: datetime
    image: str | None = None
    amount: int | None = None
    source: str | None = None
    level: int | None = None
    instance: int | None = None
    period: str | None = None
    rank: int | None = None
    won: list[Won] | None = None


class NewsOut(Struct, frozen=True):
    """What is new, the newest first. Sent back as `until`, `until` marks all of it as seen, and what is older; null: no news.

    `more`: older news was left out.
    """

    member: str
    merged_into: str | None
    items: list[NewsItem]
    until: datetime | None
    more: bool


class Seen(Body, frozen=True):
    """Until when the member has seen the news."""

    until: Annotated[datetime, Meta(tz=True)]
