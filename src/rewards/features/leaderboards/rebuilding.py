"""Building a whole board from PostgreSQL, and proving that Valkey holds what PostgreSQL says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.ids import BUCKETS, bucket_of
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.boards import Kept, score_of
from rewards.features.leaderboards.ranking import BoardUnavailable, Build, Ranking, Score, SetId
from rewards.pipeline.load import rows
from rewards.valkey import Valkey

PAGE_SCORES: Final = 5_000
COMPARED_AT_ONCE_MAX: Final = 500
LOOKED_AGAIN_MAX: Final = 5
COMPARED_MARKS_MAX: Final = 1_000
"""With more marks a board is not compared: all of them would be read for each bucket."""

Place: TypeAlias = tuple[SetId, UUID]


async def rebuild(
    connection: AsyncConnection,
    fence: str,
    valkey: Valkey,
    board: Kept,
    *,
    told: Callable[[int, int], None] = lambda _buckets, _members: None,
) -> int:
    """Builds the board beside the one that is read, and puts it in its place. Returns the number of entries.

    `connection` and `fence` are of `writing`. Scores that change meanwhile keep their marks, and are projected after.
    `told` is called after each page with the buckets (of 256) and the entries that are done. Raises Fenced, Incomplete,
    and VALKEY_ERRORS.
    """
    [moment] = await rows(connection, queries.NOW)
    frozen = await _frozen(connection, board)
    build = Build(valkey, board.id, fence)
    await build.start()
    entries = 0
    last: tuple[int, UUID, str] | None = (-1, UUID(int=0), "")
    while last is not None:
        found = await rows(connection, queries.SCORES_PAGE, *_asked(board, frozen), *last, PAGE_SCORES)
        shown = [(SetId(board.id, row.period, row.part), score_of(row)) for row in found if row.kind is not None]
        await build.add(shown)
        entries += len(shown)
        last = (found[-1].bucket, found[-1].member_id, found[-1].period) if len(found) == PAGE_SCORES else None
        told(last[0] if last is not None else BUCKETS, entries)
    await build.install(moment.now)
    return entries


class Unsettled(BoardUnavailable):
    """So much of the board is not projected yet that nothing can be said of its entries."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A member whose entry in Valkey is not what PostgreSQL says. None: the member is not in the set there."""

    of: SetId
    member: UUID
    found: Score | None
    expected: Score | None


@dataclass(frozen=True, slots=True)
class Compared:
    """The members of a bucket, and what differed."""

    members: int
    differences: list[Difference]


async def compare(connection: AsyncConnection, ranking: Ranking, board: Kept, bucket: int) -> Compared:
    """One bucket of a board. What has changed and is not projected yet is no difference; nor is what changes meanwhile,
    so a difference is looked at again before it is told.

    Raises BoardUnavailable, and Unsettled where too much has changed.
    """
    await _check_settled(connection, board)
    frozen = await _frozen(connection, board)
    known: dict[Place, Difference] = {}
    members = 0
    for attempt in range(LOOKED_AGAIN_MAX):
        expected = {(of, score.member): score for of, score in await _page(connection, board, bucket, frozen)}
        members = len(expected)
        marked = await _marked(connection, board, bucket)
        found = await _found(ranking, expected)
        differing = {
            place: Difference(*place, found.get(place), score)
            for place, score in expected.items()
            if place not in marked and score != found.get(place)
        }
        if not differing or (attempt and known == differing):
            known = differing
            break
        known = differing
    return Compared(members, sorted(known.values(), key=lambda each: (each.of.name, each.member)))


async def strangers(connection: AsyncConnection, ranking: Ranking, board: Kept) -> list[Difference]:
    """Members who are on the board in Valkey and have no score for it in PostgreSQL. Sets of frozen periods stay there for a
    while after their scores are gone."""
    frozen = await _frozen(connection, board, cleared_too=True)
    found: list[Difference] = []
    for of in await ranking.names(board.id):
        if of.period in frozen:
            continue
        async for members in ranking.members(of):
            unknown = await _unknown(connection, board, of, members)
            if not unknown:
                continue
            there = {score.member: score for score in await ranking.scores(of, unknown)}
            # Who went meanwhile was unknown for a moment only.
            found += [
                Difference(of, member, there[member], None)
                for member in await _unknown(connection, board, of, list(there))
            ]
    return found


async def _unknown(connection: AsyncConnection, board: Kept, of: SetId, members: Sequence[UUID]) -> list[UUID]:
    asked = (of.board.program_id, of.board.key, of.period, of.part)
    buckets = [bucket_of(member) for member in members]
    counted = board.board.id, board.board.sealed_until
    found = await rows(connection, queries.STRANGERS, *asked, buckets, list(members), *counted)
    return [row.member_id for row in found]


async def _found(ranking: Ranking, expected: Iterable[Place]) -> dict[Place, Score]:
    by_set: dict[SetId, list[UUID]] = {}
    for of, member in expected:
        by_set.setdefault(of, []).append(member)
    found: dict[Place, Score] = {}
    for of, members in by_set.items():
        for start in range(0, len(members), COMPARED_AT_ONCE_MAX):
            for score in await ranking.scores(of, members[start : start + COMPARED_AT_ONCE_MAX]):
                found[of, score.member] = score
    return found


async def _page(
    connection: AsyncConnection, board: Kept, bucket: int, frozen: Sequence[str]
) -> list[tuple[SetId, Score]]:
    found = await rows(connection, queries.SCORES_OF_BUCKET, *_asked(board, frozen), bucket)
    return [(SetId(board.id, row.period, row.part), score_of(row)) for row in found]


async def _check_settled(connection: AsyncConnection, board: Kept) -> None:
    asked = board.id.program_id, board.id.key, COMPARED_MARKS_MAX + 1
    [found] = await rows(connection, queries.MARKS_UP_TO, *asked)
    if found.whole or found.marks > COMPARED_MARKS_MAX:
        raise Unsettled(f"Much of `{board.id.key}` has changed and is not on the board yet; it will be soon.")


async def _marked(connection: AsyncConnection, board: Kept, bucket: int) -> set[Place]:
    found: Sequence[Any] = await rows(connection, queries.MARKED_MEMBERS, board.id.program_id, bucket, board.id.key)
    return {(SetId(board.id, row.period, row.part), row.member_id) for row in found}


def _asked(board: Kept, frozen: Sequence[str]) -> tuple[Any, ...]:
    return board.id.program_id, board.id.key, board.board.id, list(frozen), board.board.sealed_until


async def _frozen(connection: AsyncConnection, board: Kept, *, cleared_too: bool = False) -> list[str]:
    """Periods whose results are in PostgreSQL while their scores are there too, or also those whose scores are not."""
    found = await rows(connection, queries.FROZEN, board.id.program_id, board.id.key, cleared_too)
    return [row.period for row in found]
