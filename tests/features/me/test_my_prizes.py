"""News of prizes: what was won on which leaderboard, in which period and at which rank, once the period has closed."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.features.customers import stranger
from tests.features.leaderboards.test_closing import now, skip
from tests.service import Live, create_database, live, service_settings

_numbers = itertools.count(1)
DOCUMENT = """
rewards: 1
program: {key: prizes, timezone: UTC, locale: en}
currencies:
  points: {name: {en: Points, de: Punkte}}
  stars: {name: {en: Stars, de: Sterne}}
events: {played: {properties: {points: {type: integer}}}}
metrics: {total: {sum: played, value: event.points}}
badges: {champion: {name: {en: Champion, de: Meister}}}
leaderboards:
  daily:
    name: {en: Best of the day, de: Tagesbeste}
    image: {en: /img/daily.png}
    score: {metric: total}
    period: {every: day}
    prizes:
      - {ranks: [1, 1], then: [{earn: {currency: points, amount: 100}}, {earn: {currency: stars, amount: 1}}]}
      - {ranks: [1, 2], then: [{earn: {currency: points, amount: 10}}]}
      - {ranks: [3, 3], then: [{badge: {key: champion}}]}
"""


@asynccontextmanager
async def day_that_closed(database_url: str, redis_url: str) -> AsyncIterator[tuple[Live, str]]:
    """A day that has closed, and its name: ann is first, bob second, cid third, dan fourth."""
    url = await create_database(database_url, f"prizes_{next(_numbers)}")
    async with live(service_settings(url, redis_url), DOCUMENT, kind="sandbox") as running:
        day = (await now(running)).date().isoformat()
        for member, points in {"ann": 9, "bob": 7, "cid": 5, "dan": 3}.items():
            await running.event(type="played", member=member, properties={"points": points})
        await skip(running, 2 * 86_400)
        async with asyncio.timeout(30):
            while not await running.worker.closings.run(running.program_id):
                pass
        await running.worker.run_due()
        yield running, day


@pytest.fixture(scope="module")
async def looked_at(database_url: str, redis_url: str) -> AsyncIterator[tuple[Live, str]]:
    """For tests that only read."""
    async with day_that_closed(database_url, redis_url) as closed:
        yield closed


@pytest.fixture
async def closed(database_url: str, redis_url: str) -> AsyncIterator[tuple[Live, str]]:
    """For a test that changes something."""
    async with day_that_closed(database_url, redis_url) as closed:
        yield closed


def prizes(news: Any) -> list[dict[str, Any]]:
    return [item for item in news["items"] if item["kind"] == "prize"]


@pytest.mark.parametrize(
    ("member", "won"),
    [
        ("ann", [(1, [("points", "Points", 10)]), (1, [("points", "Points", 100), ("stars", "Stars", 1)])]),
        ("bob", [(2, [("points", "Points", 10)])]),
        ("cid", [(3, [])]),
        ("dan", []),
    ],
)
async def test_a_prize_is_told_with_its_board_period_and_rank(
    looked_at: tuple[Live, str], member: str, won: list[Any]
) -> None:
    running, day = looked_at
    news = await (await stranger(running, member)).get("/news")
    items = prizes(news)
    assert (
        sorted(
            (item["rank"], [(each["currency"], each["name"], each["amount"]) for each in item["won"]]) for item in items
        )
        == won
    )
    for item in items:
        assert (item["key"], item["name"], item["image"]) == ("daily", "Best of the day", "/img/daily.png")
        assert (item["period"], "level" in item, "instance" in item) == (day, False, False)
    assert len({item["id"] for item in news["items"]}) == len(news["items"])
    sources = [item["source"] for item in news["items"] if item["kind"] == "points"]
    assert sources == ["leaderboard:daily"] * sum(len(each) for _, each in won)
    assert [item["key"] for item in news["items"] if item["kind"] == "badge"] == ["champion"] * (member == "cid")


async def test_it_is_told_in_the_members_language_and_once(closed: tuple[Live, str]) -> None:
    running, _ = closed
    ann = await stranger(running, "ann")
    await ann.send("PATCH", "/me", json={"locale": "de-AT"})
    news = await ann.get("/news")
    assert {item["name"] for item in prizes(news)} == {"Tagesbeste"}
    assert {each["name"] for item in prizes(news) for each in item["won"]} == {"Punkte", "Sterne"}
    await ann.send("POST", "/me/news/seen", json={"until": news["until"]})
    assert (await ann.get("/news"))["items"] == []


async def test_a_prize_that_is_taken_back_is_no_news(closed: tuple[Live, str]) -> None:
    running, _ = closed
    ann = await stranger(running, "ann")

    async def take_back(currency: str, amount: int) -> list[list[tuple[str, int]]]:
        """What is told of the prizes afterwards."""
        entries = (await ann.get("/statement"))["items"]
        [won] = [
            each for each in entries if (each["kind"], each["currency"], each["amount"]) == ("earn", currency, amount)
        ]
        path, key = f"/v1/transactions/{won['id']}/reverse", {"Idempotency-Key": f"{currency} {amount}"}
        answer = await running.client.post(path, json={}, headers=key)
        assert answer.status_code == 200, answer.text
        told = prizes(await ann.get("/news"))
        return sorted([(each["currency"], each["amount"]) for each in item["won"]] for item in told)

    assert await take_back("points", 100) == [[("points", 10)], [("stars", 1)]]
    assert await take_back("stars", 1) == [[("points", 10)]]
    assert await take_back("points", 10) == []
