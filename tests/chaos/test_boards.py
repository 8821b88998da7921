"""Valkey stops, starts again and forgets while events come: none of them fails, and the boards come back right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.service import create_database, live, service_settings

from rewards.local.valkey import ValkeyServer

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

PATIENCE_SECONDS = 60


@pytest.fixture
def own_valkey(server_directory: Path) -> Iterator[ValkeyServer]:
    """A durable one, which keeps what it has when it is stopped, but for the last second when it is killed."""
    (server_directory / "boards").mkdir(mode=0o700)
    server = ValkeyServer(server_directory / "boards" / "valkey", durable=True, port=None)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def boards(database_url: str, own_valkey: ValkeyServer) -> AsyncIterator[Boards]:
    url = await create_database(database_url, "boards_outages")
    settings = service_settings(url, own_valkey.url, redis_timeout_seconds=0.5)
    async with live(settings, PROGRAM) as running, running.worker.running():
        yield Boards(running)


async def test_valkey_stops_and_starts_under_load(boards: Boards, own_valkey: ValkeyServer) -> None:
    totals: Counter[str] = Counter()
    sending = True

    async def play(client: int) -> None:
        number = 0
        while sending:
            number += 1
            member, points = f"member-{client}-{number % 5}", 1 + number % 3
            await boards.score(member, points)  # fails the test if it is not taken
            totals[member] += points

    players = [asyncio.create_task(play(client)) for client in range(4)]

    async def more(count: int) -> None:
        until = sum(totals.values()) + count
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(totals.values()) < until:
                await asyncio.sleep(0.01)
                for player in players:
                    if player.done():
                        player.result()

    await more(40)
    for end in (own_valkey.stop, own_valkey.kill):
        await asyncio.to_thread(end)
        await more(20)
        answer = await boards.ask("/shared")
        assert (answer.status_code, answer.json()["code"]) == (503, "board-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        await asyncio.to_thread(own_valkey.start)
        await more(20)
    sending = False
    await asyncio.gather(*players)

    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await boards.ask("/shared", limit=100)
            if answer.status_code == 200 and {e["member"]: e["score"] for e in answer.json()["entries"]} == totals:
                break
            await asyncio.sleep(0.1)
    scores = [each["score"] for each in answer.json()["entries"]]
    assert scores == sorted(scores, reverse=True)
