"""A migrated database of its own, and a small application that uses every part of the edge."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, Protocol

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.http.application import SECRET_KEY, Application, application
from tests.service import create_database

from rewards.db.engine import make_engine
from rewards.db.transact import reading, transaction
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.programs.store import program_id_of
from rewards.http.auth import SCOPES
from rewards.pipeline.identity import new_secret
from rewards.valkey import make_valkey

DATABASE: Final = "http_tests"
PROGRAMS: Final = ("shop", "fitness")


@pytest.fixture(scope="session")
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """As the service sees it: migrated, acting as `rewards_app`, with two programs."""
    url = await create_database(database_url, DATABASE)
    owner = make_engine(url, application_name="owner", role=None)
    async with transaction(owner) as connection:
        for key in PROGRAMS:
            await connection.execute(
                text("INSERT INTO program (key, secret, created_at) VALUES (:key, :secret, now())"),
                {"key": key, "secret": new_secret(SECRET_KEY)},
            )
    await owner.dispose()
    engine = make_engine(url, application_name="tests", lock_timeout_seconds=0.5, statement_timeout_seconds=2)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def app(engine: AsyncEngine, redis_url: str) -> AsyncIterator[Application]:
    valkey = make_valkey(redis_url)
    yield application(engine, valkey)
    await valkey.aclose()


@pytest.fixture(scope="session")
async def client(app: Application) -> AsyncIterator[httpx.AsyncClient]:
    """Without a key; the transport shares our loop, and a defect answers 500 instead of raising here."""
    transport = httpx.ASGITransport(app.edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://rewards.test") as client:
        yield client


class MakeKey(Protocol):
    def __call__(self, *scopes: str, **more: Any) -> Awaitable[str]: ...


@pytest.fixture(scope="session")
def make_key(engine: AsyncEngine) -> MakeKey:
    """Make a key and return its text: `await make_key("events", program="fitness", kind="public")`."""

    async def make(*scopes: str, program: str = "shop", **more: Any) -> str:
        async with reading(engine) as connection:
            program_id = await program_id_of(connection, program)
        request = KeyRequest("a test", scopes=scopes, **more)
        token, _ = await create_key(engine, SECRET_KEY, program_id=program_id, request=request, actor="test")
        return token

    return make


@pytest.fixture(scope="session")
async def everything(make_key: MakeKey) -> dict[str, str]:
    """Headers with a key that may do everything."""
    return {"Authorization": f"Bearer {await make_key(*SCOPES)}"}
