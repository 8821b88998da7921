"""Ranks in Valkey against a list that is sorted: all orders and ties, written in any order and as often as one likes."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewards.features.leaderboards.ranking import (
    BoardId,
    BoardUnavailable,
    Build,
    Fenced,
    Incomplete,
    Ranking,
    Score,
    SetId,
    fence_of,
    ranked,
)
from rewards.valkey import Valkey

BEGAN = datetime(2026, 11, 21, 10, tzinfo=UTC)
_boards = itertools.count(1)


def member(number: int) -> UUID:
    return UUID(int=number * 0x1_0001_0001)


def score(number: int, value: float, *, after: int = 0, name: str | None = None) -> Score:
    """The score of a member, achieved `after` microseconds."""
    return Score(member(number), value, BEGAN + timedelta(microseconds=after), name or f"user:{number}")


async def new_board(valkey: Valkey, *, ascending: bool = False, rows: list[Score] | None = None) -> SetId:
    """A board of its own, complete, with one set."""
    of = SetId(BoardId(next(_boards), "best", ascending=ascending), "2026-W47")
    build = Build(valkey, of.board, fence_of(BEGAN, "0"))
    await build.start()
    await build.add([(of, each) for each in rows or []])
    await build.install(BEGAN)
    return of


scores = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1 + 0.2, 0.3, float(2**53), float(2**53 - 1), -0.0, math.pi, 5e-324]),
)
names = st.sampled_from([None, "user:renamed", "ä/\U0001f600", ""])
writes = st.lists(
    st.one_of(
        st.builds(score, st.integers(1, 12), scores, after=st.integers(-3, 3), name=names),
        st.integers(1, 12),
    ),
    max_size=30,
)


def sorted_slowly(left: dict[int, Score], *, ascending: bool) -> list[Score]:
    sign = 1 if ascending else -1
    return sorted(left.values(), key=lambda each: (sign * each.score, each.achieved_at, each.member.bytes))


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@given(steps=writes, offset=st.integers(0, 12), limit=st.integers(1, 12), asked=st.integers(1, 12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_ranks_are_those_of_a_sorted_list(
    valkey: Valkey, steps: list[Score | int], offset: int, limit: int, asked: int, *, ascending: bool, shared: bool
) -> None:
    of = await new_board(valkey, ascending=ascending)
    ranking = Ranking(valkey)
    left: dict[int, Score] = {}
    for step in steps:
        if isinstance(step, int):
            left.pop(member(step).int, None)
            await ranking.write(of, fence_of(BEGAN, "0"), [], gone=[member(step)])
        else:
            left[step.member.int] = step
            await ranking.write(of, fence_of(BEGAN, "0"), [step])
    expected = sorted_slowly(left, ascending=ascending)
    better = {
        each.member: sum((other.score < each.score) if ascending else (other.score > each.score) for other in expected)
        for each in expected
    }
    ranks = [
        (1 + (better[each.member] if shared else position), each.member, each.score, each.name)
        for position, each in enumerate(expected)
    ]

    page = await ranking.page(of, offset, limit)
    assert page.total == len(expected)
    shown = [(rank, each.member, each.score, each.name) for rank, each in ranked(page.entries, shared=shared)]
    assert shown == ranks[offset : offset + limit]

    around = await ranking.around(of, member(asked), 2)
    place = next((index for index, each in enumerate(expected) if each.member == member(asked)), None)
    near = [] if place is None else ranks[max(0, place - 2) : place + 3]
    assert [(rank, each.member, each.score, each.name) for rank, each in ranked(around.entries, shared=shared)] == near

    found = await ranking.standings(of, [member(number) for number in range(1, 13)])
    standings = {each.entry.member: each for each in found.standings}
    assert standings.keys() == {each.member for each in expected}
    for position, each in enumerate(expected):
        standing = standings[each.member]
        assert (standing.entry.position, standing.entry.before) == (position, better[each.member])
        assert standing.neighbour == (expected[position - 1].score if position else None)
        ahead = [other.score for other in expected[:position] if other.score != each.score]
        assert standing.better == (ahead[-1] if ahead else None)
        if ahead:
            assert standing.better_before == better[next(e.member for e in expected if e.score == ahead[-1])]


async def test_writing_again_changes_nothing(valkey: Valkey) -> None:
    of = await new_board(valkey)
    ranking = Ranking(valkey)
    rows = [score(1, 5), score(2, 7, after=3), score(3, 5, after=-1)]
    assert await ranking.write(of, fence_of(BEGAN, "0"), rows) == 3
    version = (await ranking.page(of, 0, 9)).version
    assert await ranking.write(of, fence_of(BEGAN, "0"), reversed(rows)) == 0
    assert (await ranking.page(of, 0, 9)).version == version
    assert await ranking.write(of, fence_of(BEGAN, "0"), [score(1, 5, after=-9)]) == 1, "the same score, but earlier"
    page = await ranking.page(of, 0, 9)
    assert [each.member for each in page.entries] == [member(2), member(1), member(3)]
    assert page.version > version


async def test_many_are_written_and_read(valkey: Valkey) -> None:
    rows = [score(number, number % 100, after=number) for number in range(1, 1_001)]
    built = await new_board(valkey, rows=rows)
    written = await new_board(valkey)
    assert await Ranking(valkey).write(written, fence_of(BEGAN, "0"), rows) == 1_000
    for of in (built, written):
        page = await Ranking(valkey).page(of, 500, 200)
        assert page.total == 1_000
        expected = sorted_slowly({each.member.int: each for each in rows}, ascending=False)[500:700]
        assert [each.member for each in page.entries] == [each.member for each in expected]


async def test_an_older_writer_is_refused(valkey: Valkey) -> None:
    of = await new_board(valkey)
    ranking = Ranking(valkey)
    older, newer = fence_of(BEGAN, "b"), fence_of(BEGAN + timedelta(microseconds=1), "a")
    await ranking.write(of, newer, [score(1, 5)])
    with pytest.raises(Fenced):
        await ranking.write(of, older, [score(1, 4)])
    build = Build(valkey, of.board, older)
    await build.start()
    with pytest.raises(Fenced):
        await build.install(BEGAN)
    assert [each.score for each in (await ranking.page(of, 0, 9)).entries] == [5]


async def test_a_board_that_is_not_complete_is_neither_read_nor_written(valkey: Valkey) -> None:
    of = SetId(BoardId(next(_boards), "best"), "all")
    ranking = Ranking(valkey)
    with pytest.raises(Incomplete):
        await ranking.write(of, fence_of(BEGAN, "0"), [score(1, 5)])
    with pytest.raises(Incomplete):
        await ranking.vouch(of.board, BEGAN)
    for reading in (ranking.page(of, 0, 9), ranking.around(of, member(1), 3), ranking.standings(of, [member(1)])):
        with pytest.raises(BoardUnavailable):
            await reading


async def test_a_board_of_another_run_of_the_server_is_read_but_not_written(valkey: Valkey) -> None:
    """It may have lost its last second."""
    of = await new_board(valkey, rows=[score(1, 5)])
    await valkey.hset(of.board.meta, "run", "0" * 40)
    with pytest.raises(Incomplete):
        await Ranking(valkey).write(of, fence_of(BEGAN, "0"), [score(1, 6)])
    with pytest.raises(Incomplete):
        await Ranking(valkey).vouch(of.board, BEGAN)
    assert [each.score for each in (await Ranking(valkey).page(of, 0, 9)).entries] == [5]


async def test_a_board_whose_order_has_turned_is_not_read_as_it_was(valkey: Valkey) -> None:
    of = await new_board(valkey, rows=[score(1, 5)])
    turned = SetId(BoardId(of.board.program_id, of.board.key, ascending=True), of.period)
    with pytest.raises(BoardUnavailable):
        await Ranking(valkey).page(turned, 0, 9)


async def test_a_rebuilt_board_takes_the_place_of_all_its_sets(valkey: Valkey) -> None:
    of = await new_board(valkey, rows=[score(1, 5), score(2, 6)])
    ranking = Ranking(valkey)
    other = SetId(of.board, "2026-W46", "Köln/Süd")
    fence = fence_of(BEGAN + timedelta(seconds=1), "0")
    build = Build(valkey, of.board, fence)
    await build.start()
    await build.add([(other, score(3, 7))])
    assert (await ranking.page(of, 0, 9)).total == 2, "until it is installed, the old one is read"
    await build.install(BEGAN + timedelta(seconds=1))
    assert (await ranking.page(of, 0, 9)).total == 0
    found = await ranking.page(other, 0, 9)
    assert (found.total, found.as_of) == (1, BEGAN + timedelta(seconds=1))
    assert await ranking.names(of.board) == [other]
    assert await valkey.ttl(other.entries) == -1, "what was built stays"
    await ranking.retire(other, 60)
    assert await ranking.names(of.board) == []
    assert 0 < await valkey.ttl(other.entries) <= 60


async def test_what_was_built_and_lost_is_not_installed(valkey: Valkey) -> None:
    of = SetId(BoardId(next(_boards), "best"), "all")
    build = Build(valkey, of.board, fence_of(BEGAN, "0"))
    await build.start()
    await build.add([(of, score(1, 5))])
    await valkey.flushall()
    with pytest.raises(Incomplete):
        await build.install(BEGAN)


async def test_as_of_only_rises(valkey: Valkey) -> None:
    of = await new_board(valkey)
    ranking = Ranking(valkey)
    for seconds, expected in ((5, 5), (3, 5), (7, 7)):
        await ranking.vouch(of.board, BEGAN + timedelta(seconds=seconds))
        assert (await ranking.page(of, 0, 1)).as_of == BEGAN + timedelta(seconds=expected)
