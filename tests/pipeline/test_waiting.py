"""Rules that wait, in the database: one wake-up for each member, whatever a batch holds, and each is paid once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from tests.service import Live, create_database, live, service_settings

PROGRAM = """
rewards: 1
program: {key: waiting, timezone: UTC}
currencies: {points: {}}
events: {ordered: {properties: {order: string}}, carted: {}, opened: {}, promised: {properties: {order: string}}}
rules:
  - {key: thanks, on: ordered, delay: 20h, then: [{earn: {currency: points, amount: 1}}]}
  - {key: rescue, on: carted, quiet: {for: 10m, of: [carted, opened]}, then: [{earn: {currency: points, amount: 10}}]}
  - {key: missed, on: opened, quiet: {for: 72h}, then: [{earn: {currency: points, amount: 100}}]}
  - {key: promise, on: promised, then: [{earn: {currency: points, amount: 5, hold: until_matured, reference: event.order}}]}
  - {key: kept, on: promised, delay: 14d, then: [{mature: {reference: event.order}}]}
"""


@pytest.fixture(scope="module")
async def sandbox(database_url: str, redis_url: str) -> AsyncIterator[Live]:
    url = await create_database(database_url, "waiting_rules")
    async with live(service_settings(url, redis_url), PROGRAM, kind="sandbox") as running:
        yield running


async def batch(running: Live, *events: tuple[str, str]) -> list[Any]:
    sent = [
        {"id": f"{member}-{number}", "type": kind, "member": member} for number, (member, kind) in enumerate(events)
    ]
    answer = await running.client.post("/v1/events/batch", json={"events": sent})
    assert answer.status_code == 200, answer.text
    return [each["status"] for each in answer.json()["results"]]


async def advance(running: Live, length: str) -> None:
    answer = await running.client.post("/v1/sandbox/clock", json={"advance": length})
    assert answer.status_code == 200, answer.text


async def test_a_batch_that_arranges_several_wake_ups_of_one_member(sandbox: Live) -> None:
    assert (
        await batch(sandbox, ("ada", "opened"), ("ada", "ordered"), ("ben", "opened"), ("ada", "carted"))
        == ["processed"] * 4
    )
    async with sandbox.service.engine.connect() as connection:
        rows = await connection.execute(text("SELECT count(*), count(DISTINCT member_id) FROM due"))
        assert tuple(rows.one()) == (2, 2)
    paid = {"11m": (10, 0), "20h": (11, 0), "3d": (111, 100)}
    for length, balances in paid.items():
        await advance(sandbox, length)
        assert (await sandbox.balance("ada"), await sandbox.balance("ben")) == balances


async def test_two_workers_pay_once(sandbox: Live) -> None:
    members = [f"many-{number}" for number in range(50)]
    assert await batch(sandbox, *((member, "carted") for member in members)) == ["processed"] * 50
    await asyncio.gather(*(advance(sandbox, "11m") for _ in range(3)))
    assert [await sandbox.balance(member) for member in members] == [10] * 50


async def test_many_references_that_fall_due_together(sandbox: Live) -> None:
    for number in range(12):
        await sandbox.event(type="promised", member="eve", properties={"order": f"o{number}"})
    assert await sandbox.balance("eve") == 0
    await advance(sandbox, "15d")
    assert await sandbox.balance("eve") == 60
