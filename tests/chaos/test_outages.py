"""Two processes on one database; PostgreSQL restarting under load; Valkey gone."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from tests.chaos.conftest import Chaos
from tests.chaos.harness import Ledger, Process, insist, repeated, until
from tests.service import EventFactory

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


def plays(count: int, members: int) -> list[Mapping[str, Any]]:
    return [
        EventFactory(type="played", member=f"member-{number % members}", properties={"level": number})
        for number in range(count)
    ]


async def test_two_processes_race_on_the_same_members(chaos: Chaos, processes: list[Process]) -> None:
    events = plays(200, 5)
    for process in processes:
        process.start()
    await asyncio.gather(*(process.ready() for process in processes))
    told = Ledger()
    urls = [process.url for process in processes]
    await asyncio.gather(
        *(insist(urls, chaos.server_key, mine, told, offset=client) for client, mine in enumerate(repeated(events, 8)))
    )
    await chaos.check(told, events)


async def test_postgresql_restarts_under_load(chaos: Chaos, processes: list[Process]) -> None:
    """Callers are told to come back, nothing answers 500, and the service recovers without help."""
    events = plays(300, 10)
    process = processes[0]
    process.start()
    await process.ready()
    told = Ledger()
    clients = [asyncio.create_task(insist([process.url], chaos.server_key, mine, told)) for mine in repeated(events, 6)]
    await until(lambda: len(told.answers) >= 50)
    await asyncio.to_thread(chaos.servers.postgres.stop)
    await until(lambda: bool(told.retry_after))
    await asyncio.to_thread(chaos.servers.postgres.start)
    await until(lambda: len(told.answers) >= 150)
    await asyncio.to_thread(chaos.servers.postgres.kill)
    await asyncio.to_thread(chaos.servers.postgres.start)
    await asyncio.gather(*clients)
    assert set(told.statuses) <= {200, 503}
    assert all(seconds is not None and int(seconds) >= 1 for seconds in told.retry_after)
    await chaos.check(told, events)


async def test_events_go_on_without_valkey(chaos: Chaos, processes: list[Process]) -> None:
    events = plays(60, 4)
    process = processes[0]
    process.start()
    await process.ready()
    told = Ledger()
    try:
        await insist([process.url], chaos.server_key, events[:20], told)
        await asyncio.to_thread(chaos.servers.valkey.kill)
        await insist([process.url], chaos.server_key, events[20:], told)
    finally:
        await asyncio.to_thread(chaos.servers.valkey.start)
    assert told.statuses == {200: 60}
    await chaos.check(told, events)


async def test_a_service_without_database_says_so(chaos: Chaos, processes: list[Process]) -> None:
    process = processes[0]
    process.start()
    await process.ready()
    await asyncio.to_thread(chaos.servers.postgres.stop)
    try:
        async with httpx.AsyncClient(base_url=process.url) as client:
            alive = await client.get("/healthz")
            ready = await client.get("/readyz")
        assert (alive.status_code, ready.status_code) == (200, 503)
        assert "database" in ready.json()["reasons"]
    finally:
        await asyncio.to_thread(chaos.servers.postgres.start)
