"""From marks to Valkey: some boards at once, each as far as its marks go.

Whoever calls has the right to write all of them (`boards.writing_all`). What concerns one board only, as its being fenced or
incomplete, leaves the others alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import transact
from rewards.features.leaderboards import queries
from rewards.features.leaderboards.boards import Kept, score_of
from rewards.features.leaderboards.ranking import Incomplete, Ranking, Score, SetId
from rewards.pipeline.load import rows

MARKS_MAX: Final = 2_000
"""Members of one board whose scores are carried at a time."""


@dataclass(slots=True)
class Changed:
    """Whose scores changed in one set, by bucket, and those of them that are shown there now."""

    buckets: dict[UUID, int] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)


@dataclass(slots=True)
class Load:
    """What a board has to carry: its oldest marks as of `now`, and what they come to. `more`: there may be others.

    `whole`: one mark is of the whole board, which cannot be carried.
    """

    board: Kept
    token: str
    now: datetime
    marks: list[int] = field(default_factory=list)
    sets: dict[SetId, Changed] = field(default_factory=dict)
    marked: int = 0
    whole: bool = False

    @property
    def more(self) -> bool:
        return self.marked >= MARKS_MAX


async def read_loads(connection: AsyncConnection, boards: Sequence[tuple[Kept, str]]) -> list[Load]:
    """The oldest marks of each board (with its writer's token), and the scores as they are since; none for a board
    without marks."""
    programs, keys = [board.id.program_id for board, _ in boards], [board.id.key for board, _ in boards]
    loads: dict[int, Load] = {}
    for mark in await rows(connection, queries.MARKS, programs, keys, MARKS_MAX):
        load = loads.get(mark.number)
        if load is None:
            board, token = boards[mark.number - 1]
            load = loads[mark.number] = Load(board, token, mark.now)
        if not mark.members:
            load.whole = True
            continue
        load.marks.append(mark.id)
        load.marked += len(mark.members)
        changed = load.sets.setdefault(SetId(load.board.id, mark.period, mark.part), Changed())
        changed.buckets.update(zip(mark.members, mark.buckets, strict=True))
    carried = [load for load in loads.values() if not load.whole]
    await _read_scores(connection, [(load, of, changed) for load in carried for of, changed in load.sets.items()])
    return list(loads.values())


async def _read_scores(connection: AsyncConnection, places: Sequence[tuple[Load, SetId, Changed]]) -> None:
    numbers: list[int] = []
    buckets: list[int] = []
    members: list[UUID] = []
    for number, (_, _, changed) in enumerate(places, start=1):
        numbers += [number] * len(changed.buckets)
        buckets += changed.buckets.values()
        members += changed.buckets
    if not members:
        return
    sets = [
        (of.board.program_id, of.board.key, load.board.board.id, load.board.board.sealed_until, of.period, of.part)
        for load, of, _ in places
    ]
    columns = [list(column) for column in zip(*sets, strict=True)]
    for row in await rows(connection, queries.MARKED_SCORES, numbers, buckets, members, *columns):
        places[row["number"] - 1][2].scores.append(score_of(row))


async def carry(ranking: Ranking, loads: Sequence[Load]) -> list[BaseException | None]:
    """Writes what the boards have to carry; who has no score that is shown is taken out. Returns what each board raised:
    Fenced, Incomplete, VALKEY_ERRORS."""
    return await asyncio.gather(*(_write(ranking, load) for load in loads), return_exceptions=True)


async def _write(ranking: Ranking, load: Load) -> None:
    if load.whole:
        raise Incomplete
    for of, changed in load.sets.items():
        gone = changed.buckets.keys() - {score.member for score in changed.scores}
        await ranking.write(of, load.token, changed.scores, gone)


async def vouch(ranking: Ranking, loads: Sequence[Load]) -> list[BaseException | None]:
    """Says that these boards are as of when their marks were read. Returns what each raised: Incomplete, VALKEY_ERRORS."""
    return await asyncio.gather(*(ranking.vouch(load.board.id, load.now) for load in loads), return_exceptions=True)


async def clear(engine: AsyncEngine, loads: Sequence[Load]) -> None:
    """Deletes the marks of what has been carried. A mark that comes back after a crash is carried once more, so nobody
    need wait for the disk."""
    marks = [(load.board.id.program_id, load.board.id.key, mark) for load in loads for mark in load.marks]
    if marks:
        columns = [list(column) for column in zip(*marks, strict=True)]
        await transact(engine, lambda connection: rows(connection, queries.CLEAR, *columns))
