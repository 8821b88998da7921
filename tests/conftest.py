"""PostgreSQL and Valkey for one test session. Everything about the service itself is in `tests/service.py`.

The service is imported where it is used: the process that only hands tests out to others does not wait for it.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from tests.service import Live

    from rewards.local import LocalServers


def pytest_configure() -> None:
    """A logged exception is its traceback: drawing boxes around the locals of each frame takes about a second."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


def pytest_collection_finish() -> None:
    """Modules and collected tests stay to the end: no collection of garbage has to look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A directory that any account may enter. Root's own temporary directories are closed to PostgreSQL's account."""
    with tempfile.TemporaryDirectory(prefix="rewards-tests-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="session")
def servers(server_directory: Path) -> Iterator[LocalServers]:
    """Both servers, empty, fast and forgetful. Tests of crashes start durable ones of their own."""
    from rewards.local import LocalServers  # noqa: PLC0415 - see above

    with LocalServers(server_directory / "session", durable=False) as servers:
        yield servers


@pytest.fixture(scope="session")
def database_url(servers: LocalServers) -> str:
    """The empty database, as its superuser: `postgresql://…`."""
    return servers.database_url


@pytest.fixture(scope="session")
def redis_url(servers: LocalServers) -> str:
    return servers.redis_url


@pytest.fixture(scope="session")
async def migrated_url(database_url: str) -> str:
    """A migrated database that the tests of the service share; each test has members, or a program, of its own."""
    from tests.service import create_database  # noqa: PLC0415 - see above

    return await create_database(database_url, "service_tests")


@pytest.fixture(scope="session")
async def shared_service(migrated_url: str, redis_url: str) -> AsyncIterator[Live]:
    """The service with the sample shop program, for all that leave the service itself as it is."""
    from tests.service import SEEDS, live, service_settings  # noqa: PLC0415 - see above

    async with live(service_settings(migrated_url, redis_url), (SEEDS / "shop.yaml").read_bytes()) as running:
        yield running


@pytest.fixture(scope="session")
def shop(shared_service: Live) -> Live:
    """The sample shop program."""
    return shared_service
