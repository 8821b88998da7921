"""Word of members who have moved, from one process to the streams of another."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from tests.features.leaderboards.streams import PATIENCE_SECONDS

from rewards.features.leaderboards.whereabouts import MOVED_MAX, Follower, Whereabouts
from rewards.local.valkey import ValkeyServer
from rewards.valkey import Valkey, make_valkey

ADA, BOB, CEM, LAST = (UUID(int=number << 64) for number in range(1, 5))
CROWD: Final = {UUID(int=number) for number in range(1, MOVED_MAX + 2)}


async def told(follower: Follower) -> None:
    """Until it is; then it has looked."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await follower.news.wait()
    follower.news.clear()
    follower.moved = False


@asynccontextmanager
async def listening(valkey: Valkey, *members: UUID) -> AsyncIterator[tuple[Whereabouts, list[Follower]]]:
    """Followers that hear; whatever they were told because listening began is over."""
    await valkey.ping()  # of a cluster, the nodes are found by whoever asks for something
    here = Whereabouts(valkey)
    followers = [Follower() for _ in members]
    for follower, member in zip(followers, members, strict=True):
        here.follow(follower, member)
    async with here.listening():
        for follower in followers:
            await told(follower)
        yield here, followers


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ([{ADA}], [ADA]),
        ([{ADA}, {BOB}], [ADA, BOB]),
        ([{ADA, CEM}, {CEM}], [ADA, CEM]),
        ([{UUID(int=1)}], []),
        ([CROWD], [ADA, BOB, CEM]),  # too many to name
    ],
    ids=["one", "two", "twice", "nobody here", "a crowd"],
)
async def test_those_who_have_moved_are_told_and_nobody_else(
    valkey: Valkey, moved: list[set[UUID]], expected: list[UUID]
) -> None:
    there = Whereabouts(valkey)
    async with listening(valkey, ADA, BOB, CEM, LAST) as (_, followers), there.publishing():
        for members in moved:
            there.moved(members)
        there.moved({LAST})
        await told(followers[-1])
        assert [each.member for each in followers[:-1] if each.moved] == expected


async def test_whoever_follows_another_or_nobody_hears_no_more_of_the_one(valkey: Valkey) -> None:
    there = Whereabouts(valkey)
    async with listening(valkey, ADA, ADA, ADA) as (here, [stays, turns, ends]), there.publishing():
        here.follow(turns, BOB)
        here.unfollow(ends)
        there.moved({ADA})
        await told(stays)
        assert (turns.moved, ends.moved) == (False, False)
        there.moved({BOB})
        await told(turns)
        assert (stays.moved, ends.moved) == (False, False)


async def test_what_was_not_sent_is_sent_in_the_end(valkey: Valkey) -> None:
    there = Whereabouts(valkey)
    async with listening(valkey, ADA) as (_, [follower]):
        async with there.publishing():
            there.moved({ADA})  # and it ends before anything was sent
        await told(follower)


async def test_whoever_begins_to_listen_again_takes_all_for_moved(server_directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=server_directory) as directory:
        server = ValkeyServer(Path(directory) / "valkey", durable=False, port=None)
        server.start()
        valkey = make_valkey(server.url, timeout_seconds=0.5)
        try:
            async with listening(valkey, ADA) as (_, [follower]):
                await valkey.client_kill_filter(_type="pubsub")
                await told(follower)
                server.kill()
                server.start()
                await told(follower)
        finally:
            await valkey.aclose()
            server.kill()
