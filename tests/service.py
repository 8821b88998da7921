"""The service for tests: a migrated database of one's own, a published program, keys, and a client over ASGI."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import factory
import httpx
from litestar import Litestar
from pydantic import Secret
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from rewards.app import make_app
from rewards.db.engine import database_url as driver_url
from rewards.db.migrate import migrate
from rewards.db.transact import transact
from rewards.domain.commands import MemberRef
from rewards.domain.program.check import check_bytes
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.programs.store import Draft, add_version, create_program, publish_version
from rewards.http.auth import SCOPES
from rewards.service import Service, database
from rewards.settings import Settings, load_settings
from rewards.worker import Worker

SEEDS = Path(__file__).parents[1] / "seeds"
SECRET_KEY = bytes(range(32)).hex()
MIGRATED = "migrated_for_tests"
_migrated: set[str] = set()
"""The servers, by URL, that have it: a database that nobody uses, so that it can be copied."""
_numbers = itertools.count(1)


async def create_database(superuser_url: str, name: str) -> str:
    """The URL of a new, migrated database. A server's migrations run once, and its databases are copies of the result."""
    administration = create_async_engine(driver_url(superuser_url), isolation_level="AUTOCOMMIT")
    async with administration.connect() as connection:
        if superuser_url not in _migrated:
            await connection.execute(text(f"CREATE DATABASE {MIGRATED}"))
            await _migrate(_beside(superuser_url, MIGRATED))
            _migrated.add(superuser_url)
        await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {MIGRATED}"))
    await administration.dispose()
    return _beside(superuser_url, name)


async def _migrate(url: str) -> None:
    owner = database(service_settings(url, "redis://127.0.0.1:1"), application_name="tests", role=None)
    await migrate(owner)
    await owner.dispose()


def _beside(superuser_url: str, name: str) -> str:
    return superuser_url.rsplit("/", 1)[0] + f"/{name}"


def service_settings(database_url: str, redis_url: str, **more: Any) -> Settings:
    return load_settings(database_url=Secret(database_url), redis_url=Secret(redis_url), secret_key=SECRET_KEY, **more)


@dataclass
class Live:
    """A running service with one program of its own, and everything a test needs to talk to it."""

    service: Service
    worker: Worker
    client: httpx.AsyncClient
    program_id: int
    program_key: str
    server_key: str
    public_key: str
    app: Any
    """The ASGI application itself."""

    async def event(self, **event: Any) -> dict[str, Any]:
        """Sends one event built by `EventFactory`, and expects it to be taken."""
        answer = await self.client.post("/v1/events", json=EventFactory(**event))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def balance(self, member: str, currency: str = "points") -> int:
        """What the member can spend, as the database has it."""
        published = await self.service.programs.get(self.program_id)
        identifier = published.identity.member(MemberRef.parse(member))
        async with self.service.engine.connect() as connection:
            found = await connection.execute(
                text(
                    "SELECT available FROM account WHERE member_id = :member AND currency = :currency AND program_id = :program"
                ),
                {"member": identifier, "currency": currency, "program": self.program_id},
            )
            return found.scalar_one_or_none() or 0


class EventFactory(factory.DictFactory):  # type: ignore[misc, name-defined]
    """An event as a server sends it; every one has an id of its own."""

    id = factory.declarations.Sequence(lambda number: f"evt-{number}")  # type: ignore[no-untyped-call]
    type = "product_viewed"
    member = factory.declarations.Sequence(lambda number: f"member-{number}")  # type: ignore[no-untyped-call]
    properties = factory.declarations.LazyFunction(lambda: {"category": "audio", "dwell_seconds": 42})  # type: ignore[no-untyped-call]


async def publish(
    service: Service, source: bytes | str, *, key: str | None = None, kind: str = "live"
) -> tuple[int, str]:
    """Creates a program from a document under a key of its own and publishes it; returns (program id, key)."""
    if isinstance(source, str):
        source = source.encode()
    report = check_bytes(source)
    assert report.ok, report.errors
    chosen = key or f"program_{next(_numbers)}"

    async def store(connection: Any) -> int:
        program_id = await create_program(connection, chosen, secret_key=service.secret_key, kind=kind)
        draft = Draft(document=report.data, source=None, author="tests", note=None)
        await publish_version(connection, program_id, await add_version(connection, program_id, draft))
        return program_id

    return await transact(service.engine, store), chosen


async def publish_next(live: Live, source: str) -> None:
    """Publishes another version of a program, beside whatever knows the one before."""
    draft = Draft(document=check_bytes(source.encode()).data, source=None, author="tests", note=None)

    async def store(connection: Any) -> None:
        await publish_version(connection, live.program_id, await add_version(connection, live.program_id, draft))

    await transact(live.service.engine, store)


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    """The application's lifespan in a task of its own: a fixture may be left by another task than entered it."""
    ready, done = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with app.lifespan():
            ready.set()
            await done.wait()

    task = asyncio.create_task(hold())
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield
    finally:
        done.set()
        await task


@asynccontextmanager
async def live(settings: Settings, source: bytes | str, *, kind: str = "live") -> AsyncIterator[Live]:
    """The service on this loop, without its worker's tasks: tests run due commands when they want them."""
    service = Service(settings)
    app = make_app(service)
    async with _lifespan(cast("Litestar", app.app)), _program(service, app, source, kind=kind) as running:
        yield running


@asynccontextmanager
async def another(running: Live, source: bytes | str, *, kind: str = "live") -> AsyncIterator[Live]:
    """Another program on a service that runs: for tests that leave the service itself as it is.

    Afterwards nobody has to look at it any more: what goes over all programs would take longer with every test.
    """
    async with _program(running.service, running.app, source, kind=kind) as one:
        yield one
        async with running.service.engine.begin() as connection:
            await connection.execute(text("UPDATE program SET published = NULL WHERE id = :id"), {"id": one.program_id})


@asynccontextmanager
async def _program(service: Service, app: Any, source: bytes | str, *, kind: str) -> AsyncIterator[Live]:
    program_id, key = await publish(service, source, kind=kind)
    secret = service.secret_key
    server_request, public_request = KeyRequest("tests", scopes=SCOPES), KeyRequest("tests", kind="public")
    server, _ = await create_key(service.engine, secret, program_id=program_id, request=server_request, actor="tests")
    public, _ = await create_key(service.engine, secret, program_id=program_id, request=public_request, actor="tests")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {server}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://rewards.test", headers=headers) as client:
        yield Live(service, Worker(service), client, program_id, key, server, public, app)
