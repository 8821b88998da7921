"""A migrated database of its own, and a small application that uses every part of the edge."""

from collections.abc import AsyncIterator
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rewards.db.engine import database_url as driver_url
from rewards.db.engine import make_engine
from rewards.db.migrate import migrate
from rewards.db.transact import transaction

DATABASE: Final = "http_tests"
PROGRAMS: Final = ("shop", "fitness")


@pytest.fixture(scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """As the service sees it: migrated, acting as `rewards_app`, with two programs."""
    administration = create_async_engine(driver_url(database_url), isolation_level="AUTOCOMMIT")
    async with administration.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    await administration.dispose()
    url = driver_url(database_url).set(database=DATABASE).render_as_string(hide_password=False)
    owner = make_engine(url, application_name="owner", role=None)
    await migrate(owner)
    async with transaction(owner) as connection:
        for key in PROGRAMS:
            await connection.execute(
                text("INSERT INTO program (key, secret, created_at) VALUES (:key, :secret, now())"),
                {"key": key, "secret": b"x" * 32},
            )
    await owner.dispose()
    engine = make_engine(url, application_name="tests", lock_timeout_seconds=0.5, statement_timeout_seconds=2)
    yield engine
    await engine.dispose()
