"""Questions to a set are asked together, and each is answered as if it had been asked alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.features.leaderboards.test_ranking import BEGAN, member, new_board, score

from rewards.features.leaderboards.asking import ROWS_AT_ONCE_MAX
from rewards.features.leaderboards.ranking import BoardId, BoardUnavailable, Ranking, SetId, fence_of
from rewards.local.ports import free_port
from rewards.valkey import Valkey, make_valkey

SOMEWHERE = SetId(BoardId(1, "best"), "all_time")


async def calls(valkey: Valkey) -> int:
    """How many scripts the server has run."""
    found: Any = await valkey.info("commandstats")
    return int(found["cmdstat_evalsha"]["calls"])


async def test_what_waits_goes_in_one_call(redis_url: str) -> None:
    valkey = make_valkey(redis_url)
    assert isinstance(valkey, Redis)
    of = await new_board(valkey, rows=[score(number, number) for number in range(1, 10)])
    ranking = Ranking(valkey)
    await ranking.page(of, 0, 1)  # the script is known now
    before = await calls(valkey)
    pages, around, places = await asyncio.gather(
        asyncio.gather(*(ranking.page(of, 2, 3) for _ in range(20))),
        ranking.around(of, member(4), 1),
        ranking.standings(of, [member(9), member(1)]),
    )
    assert await calls(valkey) == before + 1
    assert [each.member for each in pages[0].entries] == [member(7), member(6), member(5)]
    assert pages == [pages[0]] * 20
    assert [each.position for each in around.entries] == [4, 5, 6]
    assert {each.entry.member: each.entry.position for each in places.standings} == {member(9): 0, member(1): 8}
    await valkey.aclose()


async def test_more_than_one_call_holds_are_all_answered(valkey: Valkey) -> None:
    of = await new_board(valkey, rows=[score(number, -number) for number in range(200)])
    ranking = Ranking(valkey)
    pages = await asyncio.gather(*(ranking.page(of, offset, 100) for offset in range(100)))
    assert len(pages) * 100 > 10 * ROWS_AT_ONCE_MAX
    assert [[each.member for each in page.entries] for page in pages] == [
        [member(number) for number in range(offset, offset + 100)] for offset in range(100)
    ]


async def test_who_gives_up_takes_nobody_along(valkey: Valkey) -> None:
    of = await new_board(valkey, rows=[score(1, 5)])
    ranking = Ranking(valkey)
    impatient, patient = (asyncio.create_task(ranking.page(of, 0, 9)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).total == 1
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_an_answer_holds_what_was_written_before_it_was_asked_for(valkey: Valkey) -> None:
    of = await new_board(valkey, rows=[score(1, 0)])
    ranking = Ranking(valkey)
    ended = asyncio.Event()

    async def read() -> None:
        while not ended.is_set():
            await ranking.page(of, 0, 1)

    readers = [asyncio.create_task(read()) for _ in range(8)]
    for points in range(1, 200):
        await ranking.write(of, fence_of(BEGAN + timedelta(seconds=points), "0"), [score(1, points)])
        assert [each.score for each in (await ranking.page(of, 0, 1)).entries] == [points]
    ended.set()
    await asyncio.gather(*readers)


async def test_without_valkey_everybody_is_told_and_may_ask_again() -> None:
    ranking = Ranking(make_valkey(f"redis://127.0.0.1:{free_port()}"))
    for _ in range(2):
        asked = [ranking.page(SOMEWHERE, offset, 1) for offset in range(5)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in answers] == [BoardUnavailable] * 5


@asynccontextmanager
async def mute() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of a server that says nothing, and when it has been asked."""
    asked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield "redis://127.0.0.1:{1}".format(*server.sockets[0].getsockname()), asked


async def test_closing_leaves_nobody_waiting() -> None:
    async with mute() as (url, asked):
        valkey = make_valkey(url, timeout_seconds=60)
        ranking = Ranking(valkey)
        waiting = [asyncio.create_task(ranking.page(SOMEWHERE, offset, 1)) for offset in range(2)]
        await asked.wait()
        await ranking.aclose()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in answers] == [BoardUnavailable] * 2
        await valkey.aclose()


async def test_behind_a_call_that_hangs_nobody_waits_twice() -> None:
    async with mute() as (url, asked):
        valkey = make_valkey(url, timeout_seconds=0.3)
        ranking = Ranking(valkey)
        first = asyncio.create_task(ranking.page(SOMEWHERE, 0, 1))
        await asked.wait()
        second = asyncio.create_task(ranking.page(SOMEWHERE, 1, 1))
        await asyncio.wait({first})
        await asyncio.sleep(0)
        assert second.done()
        assert [type(each.exception()) for each in (first, second)] == [BoardUnavailable] * 2
        await valkey.aclose()
