"""Reading a board: open periods from Valkey, frozen results from PostgreSQL, in the same shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import reading, snapshot
from rewards.domain.commands import MemberRef
from rewards.domain.errors import InvalidInput
from rewards.domain.play.boards import part_of
from rewards.domain.program.board import Board, Ties
from rewards.domain.program.problems import meant
from rewards.domain.program.schedule import Period
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.boards import board_id
from rewards.features.leaderboards.frozen import Frozen, Result
from rewards.features.leaderboards.ranking import BoardUnavailable, Entry, Ranking, Reading, SetId, ranked
from rewards.http.problems import NotFound
from rewards.pipeline.forwarding import paths
from rewards.pipeline.load import rows
from rewards.pipeline.lookup import find_member
from rewards.pipeline.programs import Programs, Published

T = TypeVar("T")

STALE_AFTER: Final = timedelta(seconds=5)
"""The projector vouches for every board each second; when it has not for this long, something is in its way."""
CURRENT: Final = "current"
PREVIOUS: Final = "previous"
VIEWS_MAX: Final = 10_000
UNDER_WAY: Final = timedelta(minutes=1)
"""Who read the clock before a period closed has written by then, or never will."""


@dataclass(frozen=True, slots=True)
class View:
    """One ranking of a board: of a period and, where the board is split, a part. `frozen` is its result, if it is closed.

    A period is `final` once no score can come any more: there is no result to freeze where nobody scored. By how much a
    sandbox's clock is `ahead` of the real one, which boards are kept by, its answers show.
    """

    published: Published
    board: Board
    period: Period
    part: str
    frozen: Frozen | None
    final: bool = False
    ahead: timedelta = timedelta(0)
    set: SetId = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "set", SetId(board_id(self.published, self.board), self.period.key, self.part))


class Ranked(Struct, frozen=True):
    """A member with its rank, from 1. `ref` is what identifies it to the app; None once it is erased."""

    member: UUID
    rank: int
    score: float
    ref: str | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """The next better place."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A member's place in a ranking."""

    ranked: Ranked
    ahead: Ahead | None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a ranking as of a moment, in the order of the ranking."""

    as_of: datetime
    stale: bool
    total: int
    ranked: list[Ranked]
    version: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """Some members' places as of a moment, in the order of the ranking; who is not in it is left out."""

    as_of: datetime
    stale: bool
    total: int
    placed: list[Placed]


@dataclass(frozen=True, slots=True)
class Now:
    """A program as it is published, and the moment that its clock shows."""

    published: Published
    moment: datetime
    ahead: timedelta = timedelta(0)


class BoardReader:
    """Reads boards by key. Of a live program's current period nothing is asked of PostgreSQL."""

    def __init__(self, engine: AsyncEngine, programs: Programs, ranking: Ranking, *, kept: timedelta) -> None:
        """`kept` is for how long after its end a period is read."""
        self._engine = engine
        self._programs = programs
        self._ranking = ranking
        self._kept = kept
        self._views: dict[tuple[int, str, str], View] = {}

    async def aclose(self) -> None:
        """Leaves unanswered what is being asked."""
        await self._ranking.aclose()

    async def published(self, program_id: int) -> Now:
        """The program and its moment."""
        published = await self._programs.get(program_id)
        if not published.sandbox:
            return Now(published, datetime.now(UTC))
        return await self._newest(program_id)

    async def view(self, program_id: int, key: str, period: str, part: str) -> View:
        """Raises NotFound, InvalidInput."""
        now = await self.published(program_id)
        board = _board(now.published, key)
        if board is None:  # perhaps it was published just now, by another process
            now = await self._newest(program_id)
            board = _board(now.published, key)
        if board is None:
            boards = now.published.program.boards
            known = meant(key, boards.by_key if boards is not None else ())
            raise NotFound(f"The program has no leaderboard {key!r}{known}")
        if part and board.attribute is None:
            raise InvalidInput("This leaderboard has no parts.", path="query.part", expected="no `part`")
        current = board.schedule.at(now.moment)
        if period in {CURRENT, current.key}:
            return self._current(now.published, board, current, part, now.ahead)
        if period == PREVIOUS:
            before = board.schedule.before(current)
            if before is None:
                raise InvalidInput("This leaderboard has one period: all time.", path="query.period", expected=CURRENT)
            return await self._past(now, board, before.key, part)
        return await self._past(now, board, period, part)

    def at_hand(self, program_id: int, key: str, part: str) -> View | None:
        """The view of the current period, if it can be told without reading anything."""
        published = self._programs.at_hand(program_id)
        if published is None or published.sandbox:
            return None
        board = _board(published, key)
        if board is None or (part and board.attribute is None):
            return None
        return self._current(published, board, board.schedule.at(datetime.now(UTC)), part)

    async def read(self, view: View, work: Callable[[View], Awaitable[T]]) -> tuple[View, T]:
        """What `work` reads. A board that is not there may be kept in another way by a newer version: then by that.

        Raises BoardUnavailable.
        """
        try:
            return view, await work(view)
        except BoardUnavailable:
            published = (await self._newest(view.published.program_id)).published
            if published.revision == view.published.revision:
                raise
            newer = await self.view(published.program_id, view.board.key, view.period.key, view.part)
            return newer, await work(newer)

    async def list(self, program_id: int) -> tuple[Published, list[tuple[Board, Period]]]:
        """Every board of the program with its current period, in the order of the keys."""
        now = await self.published(program_id)
        boards = now.published.program.boards.by_key if now.published.program.boards is not None else {}
        return now.published, [(board, board.schedule.at(now.moment)) for _, board in sorted(boards.items())]

    async def page(self, view: View, offset: int, limit: int) -> Excerpt:
        """Raises BoardUnavailable."""
        if view.frozen is not None:
            async with reading(self._engine) as connection:
                return _closed(view.frozen, await view.frozen.page(connection, offset, offset + limit))
        return _open(view, await self._ranking.page(view.set, offset, limit))

    async def around(self, view: View, member: UUID, radius: int) -> Excerpt:
        """The member with its neighbours; nobody if the member is not ranked."""
        if view.frozen is not None:
            async with reading(self._engine) as connection:
                mine = await view.frozen.members(connection, [member])
                place = mine[0].position if mine else 0
                near = await view.frozen.page(connection, place - 1 - radius, place + radius) if mine else []
            return _closed(view.frozen, near)
        return _open(view, await self._ranking.around(view.set, member, radius))

    async def places(self, view: View, members: Sequence[UUID]) -> Places:
        """Raises BoardUnavailable."""
        if view.frozen is not None:
            return await self._frozen_places(view, view.frozen, members)
        found = await self._ranking.standings(view.set, members)
        shared = view.board.ties is Ties.SHARED
        placed = []
        for each in sorted(found.standings, key=lambda each: each.entry.position):
            entry = each.entry
            [one] = _ranked(view, [entry])
            ahead = None
            if shared and each.better is not None:
                ahead = Ahead(1 + each.better_before, each.better)
            elif not shared and each.neighbour is not None:
                ahead = Ahead(entry.position, each.neighbour)
            placed.append(Placed(one, ahead))
        return Places(found.as_of + view.ahead, _is_stale(found.as_of), found.total, placed)

    def quick(self, view: View, ref: MemberRef) -> UUID | None:
        """The member as its id says, if that and the view are likely to be enough; see `resolve`."""
        if view.board.attribute is not None and not view.part:
            return None
        return view.published.identity.member(ref)

    async def resolve(self, view: View, ref: MemberRef) -> tuple[View, UUID]:
        """The member that `ref` has become, and the view of the part that it is in, where none was asked for: that of its
        score, and as long as it has none that of its attributes.

        Raises UnknownMember and MemberErased.
        """
        program_id = view.published.program_id
        async with snapshot(self._engine) as connection:
            found = await find_member(connection, view.published, ref)
            if view.board.attribute is None or view.part:
                return view, found.state.id
            sql = queries.PART_OF if view.frozen is None else queries.RESULT_PART_OF
            scored = await rows(
                connection, sql, program_id, found.bucket, found.state.id, view.board.key, view.period.key
            )
        part = scored[0].part if scored else part_of(view.board, found.state.attributes)
        return await self.view(program_id, view.board.key, view.period.key, part), found.state.id

    async def became(self, view: View, members: Sequence[UUID]) -> Sequence[UUID]:
        """Whom those of the members were merged into that were merged into somebody."""
        if not members:
            return []
        async with reading(self._engine) as connection:
            found = await paths(connection, view.published.program_id, members)
        return [path[-1] for path in found.values() if len(path) > 1]

    def _current(
        self, published: Published, board: Board, period: Period, part: str, ahead: timedelta = timedelta(0)
    ) -> View:
        """Kept, since most reads are of the same few."""
        key = (published.program_id, board.key, part)
        known = self._views.get(key)
        if known is not None and known.published is published and known.period == period and known.ahead == ahead:
            return known
        if len(self._views) >= VIEWS_MAX:
            self._views.clear()
        view = self._views[key] = View(published, board, period, part, None, ahead=ahead)
        return view

    async def _past(self, now: Now, board: Board, key: str, part: str) -> View:
        of = (now.published.program_id, board.key, key)
        async with reading(self._engine) as connection:
            frozen = await Frozen.of(connection, *of, part)
            [found] = await rows(connection, queries.HAS_SCORES, *of)
        period = frozen.period if frozen is not None else board.schedule.named(key)
        if period is None:
            raise InvalidInput(
                "The leaderboard has no period of that name.",
                path="query.period",
                expected=f"`{CURRENT}`, `{PREVIOUS}`, or a name such as `{board.schedule.at(datetime.now(UTC)).key}`",
            )
        if period.ends_at is not None and period.ends_at < now.moment - self._kept:
            raise NotFound(f"Results of leaderboards are kept for {self._kept.days} days: {key} is too long ago.")
        closes_at = board.closes_at(period)
        nobody = not found.scored and closes_at is not None and closes_at < now.moment - UNDER_WAY
        return View(now.published, board, period, part, frozen, frozen is not None or nobody, now.ahead)

    async def _newest(self, program_id: int) -> Now:
        async with reading(self._engine) as connection:
            [row] = await rows(connection, queries.PROGRAM_NOW, program_id)
        return Now(await self._programs.refresh(program_id, at_least=row.revision), row.now, row.ahead)

    async def _frozen_places(self, view: View, frozen: Frozen, members: Sequence[UUID]) -> Places:
        placed = []
        async with reading(self._engine) as connection:
            for mine in await frozen.members(connection, members):
                better = await frozen.before(connection, mine, shared=view.board.ties is Ties.SHARED)
                ahead = Ahead(better.rank, better.score) if better is not None else None
                placed.append(Placed(_of_result(mine), ahead))
        return Places(frozen.closed_at, stale=False, total=frozen.total, placed=placed)


def _board(published: Published, key: str) -> Board | None:
    boards = published.program.boards
    return boards.by_key.get(key) if boards is not None else None


def fresh_seconds(view: View, as_of: datetime) -> float | None:
    """How much longer what the view showed as of a moment is not stale; None for a result, which never is."""
    if view.frozen is not None:
        return None
    return (as_of - view.ahead + STALE_AFTER - datetime.now(UTC)).total_seconds()


def _is_stale(as_of: datetime) -> bool:
    return datetime.now(UTC) - as_of > STALE_AFTER


def _open(view: View, found: Reading) -> Excerpt:
    ranked_ = _ranked(view, found.entries)
    return Excerpt(found.as_of + view.ahead, _is_stale(found.as_of), found.total, ranked_, found.version)


def _ranked(view: View, entries: Sequence[Entry]) -> list[Ranked]:
    shared = view.board.ties is Ties.SHARED
    return [Ranked(each.member, rank, each.score, each.name) for rank, each in ranked(entries, shared=shared)]


def _closed(frozen: Frozen, results: Sequence[Result]) -> Excerpt:
    return Excerpt(frozen.closed_at, stale=False, total=frozen.total, ranked=[_of_result(each) for each in results])


def _of_result(result: Result) -> Ranked:
    return Ranked(result.member, result.rank, result.score, result.ref)
