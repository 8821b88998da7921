"""Valkey goes away while rankings are watched: that they grow old is told in time, and they go on when it is back."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.features.leaderboards.streams import Message, Stream, stream
from tests.service import live, service_settings

from rewards.features.leaderboards import reading
from rewards.local.valkey import ValkeyServer

OLD_AFTER_SECONDS = 2.0
"""In the place of five."""


@pytest.fixture
def own_valkey(server_directory: Path) -> Iterator[ValkeyServer]:
    with tempfile.TemporaryDirectory(dir=server_directory) as directory:
        server = ValkeyServer(Path(directory) / "valkey", durable=False, port=None)
        server.start()
        yield server
        server.kill()


@pytest.fixture
async def own_boards(
    boards_url: str, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Boards]:
    monkeypatch.setattr(reading, "STALE_AFTER", timedelta(seconds=OLD_AFTER_SECONDS))
    settings = service_settings(boards_url, own_valkey.url, redis_timeout_seconds=0.5)
    async with live(settings, PROGRAM) as running:
        yield Boards(running)


async def told_until(stale: bool, opened: Stream) -> list[Message]:
    """What comes up to the first message that says so. Scores may come before the projector has vouched for all of them."""
    messages = [await opened.next()]
    while messages[-1].data["stale"] is not stale:
        messages.append(await opened.next())
    return messages


def killed(server: ValkeyServer) -> Callable[[], None]:
    server.kill()
    return server.start


def silent(server: ValkeyServer) -> Callable[[], None]:
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("away", [killed, silent])
async def test_a_watched_ranking_tells_that_it_grows_old_and_goes_on(
    own_boards: Boards, own_valkey: ValkeyServer, away: Callable[[ValkeyServer], Callable[[], None]]
) -> None:
    boards, client = own_boards, own_boards.live.client
    await boards.score("ada", 5)
    await boards.project()
    token = (await client.post("/v1/members/ada/tokens", json={})).json()["token"]
    headers = {"Authorization": f"Bearer {boards.live.server_key}"}
    customers = {"Authorization": f"Bearer {token}"}
    async with AsyncExitStack() as open_ones:
        servers, mine = [
            await open_ones.enter_async_context(stream(boards.live.app, path, headers=headers))
            for path, headers in (
                ("/v1/leaderboards/shared/stream", headers),
                ("/v1/me/leaderboards/shared/stream", customers),
            )
        ]
        began = [await each.next() for each in (servers, mine)]
        back = await asyncio.to_thread(away, own_valkey)
        async with asyncio.timeout(OLD_AFTER_SECONDS + 1):
            old = [await told_until(True, each) for each in (servers, mine)]
        for first, [told] in zip(began, old, strict=True):
            assert (told.event, told.data["length"], told.data["entries"]) == ("changes", 1, [])
            assert told.data["as_of"] == first.data["as_of"]
            assert told.data.get("me") == first.data.get("me")
        async with stream(boards.live.app, "/v1/leaderboards/shared/stream", headers=headers) as late:
            assert (await late.next()).data["stale"] is True, "who comes meanwhile is told as well"

        await boards.score("bob", 9)
        await asyncio.to_thread(back)
        await boards.project()
        fresh = [await told_until(False, each) for each in (servers, mine)]
        for messages in fresh:
            assert [entry["score"] for message in messages for entry in message.data["entries"]] == [9, 5]
        assert fresh[1][-1].data["me"] == {"rank": 2, "score": 5}


async def test_who_comes_back_is_told_whether_what_it_saw_is_old(own_boards: Boards) -> None:
    await own_boards.score("ada", 5)
    await own_boards.project()
    path, headers = "/v1/leaderboards/shared/stream", {"Authorization": f"Bearer {own_boards.live.server_key}"}
    async with stream(own_boards.live.app, path, headers=headers) as opened:
        seen = (await told_until(True, opened))[-1].id
    await own_boards.project()
    async with stream(own_boards.live.app, path, headers={**headers, "Last-Event-ID": seen}) as again:
        fresh = await again.next()
        assert (fresh.event, fresh.data["entries"], fresh.data["stale"]) == ("changes", [], False)
