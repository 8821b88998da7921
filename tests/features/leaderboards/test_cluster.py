"""The whole way against a Valkey Cluster of three primaries: projected, read, watched, lost and rebuilt."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import RedisCluster
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.features.leaderboards.streams import stream
from tests.service import live, service_settings


@pytest.fixture
async def clustered(boards_url: str, cluster_url: str) -> AsyncIterator[Boards]:
    settings = service_settings(boards_url, cluster_url, redis_cluster=True)
    async with live(settings, PROGRAM) as running:
        yield Boards(running)


async def test_boards_are_on_several_nodes(clustered: Boards) -> None:
    for member, points in (("ada", 5), ("bob", 9)):
        await clustered.score(member, points)
    await clustered.project()
    for board in ("shared", "first", "weekly"):
        assert (await clustered.get(f"/{board}"))["total"] == 2
    assert await clustered.places("/shared") == [(1, "bob", 9), (2, "ada", 5)]
    valkey = clustered.live.service.valkey
    assert isinstance(valkey, RedisCluster)
    owners = {}
    own = f"rewards:board:*-{clustered.live.program_id}:*entries*"  # other programs have boards there as well
    for node in valkey.get_primaries():
        keys = (await valkey.scan(target_nodes=node, match=own, count=10_000))[1]
        owners.update(dict.fromkeys(keys, node))
    assert len(owners) == 3
    assert {key: valkey.get_node_from_key(key.decode() if isinstance(key, bytes) else key) for key in owners} == owners


async def test_the_whole_way(clustered: Boards) -> None:
    await clustered.score("ada", 5)
    await clustered.project()
    headers = {"Authorization": f"Bearer {clustered.live.server_key}"}
    async with (
        clustered.live.worker.running(),
        stream(clustered.live.app, "/v1/leaderboards/shared/stream", headers=headers) as opened,
    ):
        seen = await opened.next()
        assert seen.event == "snapshot"
        await clustered.score("bob", 9)
        told = await opened.next()
        assert [(each["position"], each["member"]) for each in told.data["entries"]] == [(1, "bob"), (2, "ada")]
    async with stream(
        clustered.live.app, "/v1/leaderboards/shared/stream", headers={**headers, "Last-Event-ID": seen.id}
    ) as again:
        assert (await again.next()).event == "changes"


async def test_what_the_cluster_loses_is_built_again(clustered: Boards) -> None:
    await clustered.score("ada", 5)
    await clustered.project()
    await clustered.live.service.valkey.flushall()
    assert (await clustered.ask("/shared")).status_code == 503
    await clustered.project()
    assert await clustered.places("/shared") == [(1, "ada", 5)]


async def test_tickets_and_limits_work_on_a_cluster(clustered: Boards) -> None:
    client = clustered.live.client
    token = (await client.post("/v1/members/ada/tokens", json={})).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    ticket = (await client.post("/v1/me/stream-tickets", headers=headers)).json()["ticket"]
    await clustered.project()
    async with stream(clustered.live.app, "/v1/me/leaderboards/shared/stream", headers={}, ticket=ticket) as opened:
        assert (await opened.next()).data["me"] is None
