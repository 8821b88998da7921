"""What was paid for freezes, taken back over HTTP: with the freezes, once, or not at all, whoever asks at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest
from tests.features.bank import Bank
from tests.features.customers import refused_with
from tests.service import Live, another

PROGRAM: Final = """
rewards: 1
program: {key: fit, timezone: UTC, locale: en}
currencies: {points: {}}
events: {ran: {}}
streaks:
  daily: {on: ran, freezes: {most: 5, price: {currency: points, amount: 50}}}
"""


@pytest.fixture
async def app(bank: Bank) -> AsyncIterator[Live]:
    async with another(bank.live, PROGRAM, kind="sandbox") as running:
        await post(running, "/members/ada/earn", "e", currency="points", amount=300)
        await running.event(type="ran", member="ada")
        yield running


async def post(app: Live, path: str, key: str, **body: Any) -> httpx.Response:
    return await app.client.post(f"/v1{path}", json=body, headers={"Idempotency-Key": key})


async def buy(app: Live, count: int, key: str = "buy") -> str:
    answer = await post(app, "/members/ada/streaks/daily/freezes", key, count=count)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["transactions"][0]["id"])


async def stands(app: Live) -> tuple[int, int]:
    """Freezes and points."""
    [daily] = (await app.client.get("/v1/members/ada/streaks")).json()["streaks"]
    return daily["freezes"], await app.balance("ada")


async def test_unused_freezes_go_with_their_points(app: Live) -> None:
    purchase = await buy(app, 2)
    part = refused_with(await post(app, f"/transactions/{purchase}/reverse", "part", amount=50), 409)
    assert (part["code"], await stands(app)) == ("not-reversible", (2, 200))
    for _ in range(2):  # the repetition changes nothing
        back = await post(app, f"/transactions/{purchase}/reverse", "back")
        assert back.status_code == 200, back.text
        assert back.json()["effects"] == [
            {"type": "streak_freezes", "key": "daily", "taken_back": 2, "freezes": 0, "transaction": purchase}
        ]
    assert await stands(app) == (0, 300)
    again = refused_with(await post(app, f"/transactions/{purchase}/reverse", "again"), 409)
    assert again["code"] == "already-reversed"


async def test_used_freezes_stay_paid(app: Live) -> None:
    used, unused = await buy(app, 1), await buy(app, 2, "more")
    assert (
        await app.client.post("/v1/sandbox/clock", json={"advance": "72h"})
    ).status_code == 200  # two days are missed
    told = refused_with(await post(app, f"/transactions/{unused}/reverse", "back"), 409)
    assert told["code"] == "not-reversible"
    assert told["detail"].endswith("of all that were bought only 1 of them is unused")
    answer = (await post(app, "/members/ada/reverse", "all", reference="streak:daily:freezes")).json()
    assert [each["reverses"] for each in answer["transactions"]] == [used]
    assert [(each["type"], each["transaction"]) for each in answer["effects"]] == [
        ("streak_freezes", used),
        ("not_reversed", unused),
    ]
    none_left = refused_with(await post(app, "/members/ada/reverse", "rest", reference="streak:daily:freezes"), 409)
    assert none_left["code"] == "not-reversible"
    assert await stands(app) == (0, 200)


async def test_of_many_that_take_back_at_once_one_does(app: Live) -> None:
    purchase = await buy(app, 2)
    ways = [f"/transactions/{purchase}/reverse", "/members/ada/reverse"]
    bodies: list[dict[str, Any]] = [{}, {"reference": "streak:daily:freezes"}]
    answers = await asyncio.gather(*(post(app, ways[turn % 2], f"k{turn}", **bodies[turn % 2]) for turn in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    assert await stands(app) == (0, 300)


async def test_freezes_are_never_both_used_and_paid_back(app: Live) -> None:
    purchase = await buy(app, 1)
    [daily] = (await app.client.get("/v1/members/ada/streaks")).json()["streaks"]
    today = datetime.fromisoformat(daily["period_ends_at"]) - datetime.now(UTC)
    beyond = round(today.total_seconds()) + 25 * 3_600  # tomorrow is missed on the way, or not yet
    clock = app.client.post("/v1/sandbox/clock", json={"advance": f"{beyond}s"})
    clock_told, back = await asyncio.gather(clock, post(app, f"/transactions/{purchase}/reverse", "back"))
    assert clock_told.status_code == 200
    [daily] = (await app.client.get("/v1/members/ada/streaks")).json()["streaks"]
    paid_back = back.status_code == 200
    assert paid_back or back.json()["code"] == "not-reversible"
    assert (daily["length"], await app.balance("ada")) == ((0, 300) if paid_back else (1, 250))
