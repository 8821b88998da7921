"""Leaderboards on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from litestar.params import FromPath, FromQuery, Parameter, PathParameter
from msgspec import Meta, Struct

from rewards.domain.program.board import Board, Ties
from rewards.domain.program.schedule import Period
from rewards.domain.program.wording import worded
from rewards.features.leaderboards.reading import Excerpt, Placed, Places, Ranked, View
from rewards.http.decoding import SAFE_INTEGER_MAX, Body

ENTRIES_MAX: Final = 100
ENTRIES_DEFAULT: Final = 10
OFFSET_MAX: Final = 1_000_000_000
RADIUS_DEFAULT: Final = 3
RADIUS_MAX: Final = 50
AMONG_MAX: Final = 200
TEXT_LENGTH_MAX: Final = 200

BoardKey = FromPath[Annotated[str, PathParameter(description="The leaderboard's key in the program.")]]
PeriodQuery = FromQuery[
    Annotated[
        str,
        Parameter(
            min_length=1, max_length=TEXT_LENGTH_MAX,
            description="`current`, `previous`, or the name of a period such as `2026-W47`.",
        ),
    ]
]  # fmt: skip
PartQuery = FromQuery[
    Annotated[
        str,
        Parameter(
            max_length=TEXT_LENGTH_MAX, description="Of a board that an attribute splits, the attribute's value."
        ),
    ]
]
LimitQuery = FromQuery[Annotated[int, Parameter(ge=1, le=ENTRIES_MAX, description="How many entries at most.")]]
OffsetQuery = FromQuery[
    Annotated[int, Parameter(ge=0, le=OFFSET_MAX, description="How many entries to pass over from the top.")]
]
RadiusQuery = FromQuery[
    Annotated[int, Parameter(ge=0, le=RADIUS_MAX, description="How many neighbours on each side at most.")]
]

Number = int | float


class PeriodOut(Struct, frozen=True):
    """A period. All time has no ends; scores of a period count until `closes_at`, and `final` ones are frozen."""

    key: str
    starts_at: datetime | None
    ends_at: datetime | None
    closes_at: datetime | None
    final: bool


class BoardOut(Struct, frozen=True):
    """A leaderboard. Where `by` names an attribute, there is one ranking for each of its values, the parts."""

    key: str
    name: str
    description: str | None
    image: str | None
    order: Literal["ascending", "descending"]
    ties: Literal["shared", "first"]
    by: str | None
    segment: str | None
    names: Literal["pseudonym", "external_id", "attribute"]
    period: PeriodOut


class BoardsOut(Struct, frozen=True):
    """The leaderboards of the program, in the order of their keys."""

    leaderboards: list[BoardOut]


class EntryOut(Struct, frozen=True):
    """A place. `name` is what customers see; `member` is null once the member is erased."""

    rank: int
    score: Number
    member: str | None
    name: str


class MyEntryOut(Struct, frozen=True):
    """A place as customers see it."""

    rank: int
    score: Number
    name: str
    me: bool


class RankingOut(Struct, frozen=True):
    """A part of a ranking. Everything that was committed until `as_of` is in it; `stale` when that is too long ago."""

    leaderboard: str
    period: PeriodOut
    part: str
    as_of: datetime
    stale: bool
    total: int
    entries: list[EntryOut]


class MyRankingOut(Struct, frozen=True):
    """As RankingOut, for customers."""

    leaderboard: str
    period: PeriodOut
    part: str
    as_of: datetime
    stale: bool
    total: int
    entries: list[MyEntryOut]


class NextOut(Struct, frozen=True):
    """The next better rank. `distance` is between the scores; 0 where the earlier of two equal scores is ahead."""

    rank: int
    score: Number
    distance: Number


class StandingOut(Struct, frozen=True):
    """A member's place. `percentile` is the share of the ranked members, in percent, that it is level with or ahead of,
    so 100 for the first. Without a score on the board the four are null."""

    leaderboard: str
    period: PeriodOut
    part: str
    as_of: datetime
    stale: bool
    total: int
    rank: int | None
    score: Number | None
    percentile: float | None
    next: NextOut | None


class AmongIn(Body, frozen=True):
    """Whose places are asked for."""

    members: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=TEXT_LENGTH_MAX)]], Meta(min_length=1, max_length=AMONG_MAX)
    ]


def number(score: float) -> Number:
    """A score as people write it: whole ones without a fraction."""
    return int(score) if score.is_integer() and abs(score) <= SAFE_INTEGER_MAX else score


def period_out(board: Board, period: Period, *, final: bool = False) -> PeriodOut:
    return PeriodOut(period.key, period.starts_at, period.ends_at, board.closes_at(period), final)


def board_out(board: Board, period: Period, *, locale: str | None, fallback: str) -> BoardOut:
    return BoardOut(
        key=board.key,
        name=worded(board.name, locale, fallback) or board.key,
        description=worded(board.description, locale, fallback),
        image=worded(board.image, locale, fallback),
        order="ascending" if board.ascending else "descending",
        ties="shared" if board.ties is Ties.SHARED else "first",
        by=board.attribute,
        segment=board.segment,
        names=board.names.shown.value,
        period=period_out(board, period),
    )


def ranking_out(view: View, excerpt: Excerpt, names: Mapping[UUID, str]) -> RankingOut:
    entries = [EntryOut(each.rank, number(each.score), each.ref, names[each.member]) for each in excerpt.ranked]
    return RankingOut(**_about(view, excerpt), entries=entries)


def my_ranking_out(view: View, excerpt: Excerpt, names: Mapping[UUID, str], me: UUID) -> MyRankingOut:
    entries = [my_entry(each, names[each.member], me) for each in excerpt.ranked]
    return MyRankingOut(**_about(view, excerpt), entries=entries)


def my_entry(ranked: Ranked, name: str, me: UUID) -> MyEntryOut:
    return MyEntryOut(ranked.rank, number(ranked.score), name, ranked.member == me)


def standing_out(view: View, places: Places) -> StandingOut:
    """Of the one member that was asked for."""
    if not places.placed:
        return StandingOut(**_about(view, places), rank=None, score=None, percentile=None, next=None)
    [placed] = places.placed
    ranked = placed.ranked
    percentile = round(100 * (places.total - ranked.rank + 1) / places.total, 2)
    return StandingOut(
        **_about(view, places), rank=ranked.rank, score=number(ranked.score), percentile=percentile, next=_next(placed)
    )


def _next(placed: Placed) -> NextOut | None:
    ahead = placed.ahead
    if ahead is None:
        return None
    return NextOut(ahead.rank, number(ahead.score), number(abs(ahead.score - placed.ranked.score)))


def _about(view: View, read: Excerpt | Places) -> dict[str, Any]:
    return {
        "leaderboard": view.board.key,
        "period": period_out(view.board, view.period, final=view.final),
        "part": view.part,
        "as_of": read.as_of,
        "stale": read.stale,
        "total": read.total,
    }
