"""One Valkey server and a cluster of three primaries: the same tests run against both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.service import Live, another, create_database, live, service_settings
from tests.valkey_cluster import valkey_cluster

from rewards.valkey import Valkey, make_valkey


@pytest.fixture(scope="session")
def cluster_url(server_directory: Path) -> Iterator[str]:
    with valkey_cluster(server_directory / "cluster") as nodes:
        yield nodes[0].url


@pytest.fixture(params=["server", "cluster"])
async def valkey(request: pytest.FixtureRequest) -> AsyncIterator[Valkey]:
    cluster = request.param == "cluster"
    url: str = request.getfixturevalue("cluster_url" if cluster else "redis_url")
    made = make_valkey(url, timeout_seconds=5, cluster=cluster)
    yield made
    await made.aclose()


@pytest.fixture(scope="session")
async def boards_url(database_url: str) -> str:
    """A database without other programs: the projector looks at the boards of all."""
    return await create_database(database_url, "boards_tests")


@pytest.fixture(scope="session")
async def boards_service(boards_url: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(boards_url, redis_url), PROGRAM) as running:
        yield running


@pytest.fixture
async def boards(boards_service: Live) -> AsyncIterator[Boards]:
    """A program of the test's own, on a service that it leaves as it is."""
    async with another(boards_service, PROGRAM) as running:
        yield Boards(running)


@pytest.fixture
async def lone_boards(boards_url: str, redis_url: str) -> AsyncIterator[Boards]:
    """A program and a service of the test's own: it may take connections away, and end it."""
    async with live(service_settings(boards_url, redis_url), PROGRAM) as running:
        yield Boards(running)
