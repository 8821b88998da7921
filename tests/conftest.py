"""PostgreSQL and Valkey for one test session. Everything about the service itself is in `tests/service.py`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewards.local import LocalServers


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
    with LocalServers(server_directory / "session", durable=False) as servers:
        yield servers


@pytest.fixture(scope="session")
def database_url(servers: LocalServers) -> str:
    """The empty database, as its superuser: `postgresql://…`."""
    return servers.database_url


@pytest.fixture(scope="session")
def redis_url(servers: LocalServers) -> str:
    return servers.redis_url
