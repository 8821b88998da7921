"""News: what was awarded since last seen, in the member's words; nothing of it twice, and nothing that was taken back."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.features.customers import Customer, refused_with, stranger
from tests.features.members.test_members import merge
from tests.service import Live, another

DOCUMENT = """
rewards: 1
program: {key: news, timezone: UTC, locale: en}
currencies: {points: {name: {en: Points, de: Punkte}}}
events:
  reviewed: {properties: {product: {type: string}}}
  ordered:  {properties: {order: {type: string}, total: {type: integer}}}
metrics: {reviews: {count: reviewed}}
rules:
  - {key: purchase, on: ordered, then: [{earn: {currency: points, amount: event.total, reference: event.order}}]}
badges:
  reviewer:
    name: {en: Reviewer, de: Kritiker}
    image: {en: /img/reviewer.png}
    metric: reviews
    levels: [1, {at: 2, name: {en: Critic}, rewards: [{earn: {currency: points, amount: 50}}]}]
  quiet:
    {name: Quiet, metric: reviews, levels: [1], announce: false, rewards: [{earn: {currency: points, amount: 7}}]}
"""


@pytest.fixture(scope="module")
async def news(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, DOCUMENT, kind="sandbox") as running:
        yield running


async def order(live: Live, member: str, total: int, name: str = "o") -> None:
    await live.event(type="ordered", member=member, properties={"order": name, "total": total})


async def review(live: Live, member: str) -> None:
    await live.event(type="reviewed", member=member, properties={})


def told(news: Any) -> list[tuple[Any, ...]]:
    """Kind, name, and amount or level of each item."""
    return [(item["kind"], item["name"], item.get("amount", item.get("level"))) for item in news["items"]]


async def seen(customer: Customer, until: str) -> Any:
    answer = await customer.send("POST", "/me/news/seen", json={"until": until})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_was_awarded_is_told_newest_first_and_once(news: Live) -> None:
    ada = await stranger(news, "ada")
    await order(news, "ada", 5)
    await review(news, "ada")
    first = await ada.get("/news")
    # The badge that is not announced gave 7 points, and that would announce it.
    assert told(first) == [("badge", "Reviewer", 1), ("points", "Points", 5)]
    assert await news.balance("ada") == 12
    assert (first["items"][0]["image"], first["items"][1]["source"]) == ("/img/reviewer.png", "rule:purchase")
    await seen(ada, first["until"])
    nothing = await ada.get("/news")
    assert (nothing["items"], nothing["until"], nothing["more"]) == ([], None, False)
    await review(news, "ada")
    assert set(told(await ada.get("/news"))) == {("badge", "Critic", 2), ("points", "Points", 50)}


async def test_it_is_told_in_the_members_language(news: Live) -> None:
    ada = await stranger(news, "german")
    await order(news, "german", 5)
    await review(news, "german")
    await ada.send("PATCH", "/me", json={"locale": "de-AT"})
    assert {item["name"] for item in (await ada.get("/news"))["items"]} == {"Kritiker", "Punkte"}


async def test_what_was_taken_back_is_no_news(news: Live) -> None:
    ada = await stranger(news, "refunded")
    await order(news, "refunded", 5, "o-1")
    await order(news, "refunded", 8, "o-2")
    for reference, amount in (("o-1", None), ("o-2", 3)):
        path = "/v1/members/refunded/reverse"
        entry = (await ada.get("/statement"))["items"]
        [earned] = [item for item in entry if item["kind"] == "earn" and item.get("reference") == reference]
        body = {} if amount is None else {"amount": amount}
        path = f"/v1/transactions/{earned['id']}/reverse"
        answer = await news.client.post(path, json=body, headers={"Idempotency-Key": reference})
        assert answer.status_code == 200, answer.text
    assert told(await ada.get("/news")) == [("points", "Points", 5)]


async def test_a_part_of_the_news_says_that_there_is_more(news: Live) -> None:
    ada = await stranger(news, "much")
    for total in (1, 2, 3):
        await order(news, "much", total)
    page = await ada.get("/news", limit=2)
    assert ([item["amount"] for item in page["items"]], page["more"]) == ([3, 2], True)


async def test_what_was_seen_stays_seen(news: Live) -> None:
    ada = await stranger(news, "steady")
    await order(news, "steady", 1)
    until = (await ada.get("/news"))["until"]
    earlier = (datetime.fromisoformat(until) - timedelta(days=1)).isoformat()
    assert await seen(ada, until) == await seen(ada, earlier)
    assert (await ada.get("/news"))["items"] == []


async def test_the_future_is_not_seen_yet(news: Live) -> None:
    ada = await stranger(news, "hasty")
    await order(news, "hasty", 1)
    for until in ("2999-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        answer = await ada.send("POST", "/me/news/seen", json={"until": until})
        assert refused_with(answer, 422)["errors"][0]["path"] == "until"


async def test_after_a_merge_the_news_of_both_is_told(news: Live) -> None:
    guest, user = await stranger(news, "anon:guest"), await stranger(news, "known")
    await order(news, "anon:guest", 1)
    await seen(guest, (await guest.get("/news"))["until"])
    await order(news, "anon:guest", 2)
    await order(news, "known", 4)
    await merge(news, "anon:guest", "known")
    amounts = [[item["amount"] for item in (await each.get("/news"))["items"]] for each in (user, guest)]
    assert amounts == [[4, 2], [4, 2]]
    await seen(guest, (await guest.get("/news"))["until"])
    assert (await user.get("/news"))["items"] == []


async def test_what_was_taken_back_after_a_merge_is_no_news(news: Live) -> None:
    user = await stranger(news, "returning")
    await order(news, "anon:returning", 5, "o-1")
    await order(news, "anon:returning", 8, "o-2")
    await merge(news, "anon:returning", "returning")
    answer = await news.client.post(
        "/v1/members/returning/reverse", json={"reference": "o-1"}, headers={"Idempotency-Key": "returned"}
    )
    assert answer.status_code == 200, answer.text
    assert told(await user.get("/news")) == [("points", "Points", 8)]


MORE = """
rewards: 1
program: {key: more_news, timezone: UTC, locale: en}
currencies: {points: {qualifying: true}}
events: {ran: {properties: {km: {type: integer}}}}
rules: [{key: run, on: ran, then: [{earn: {currency: points, amount: event.km}}]}]
streaks:
  daily:
    name: {en: Every day, de: Jeden Tag}
    image: {en: /img/daily.png}
    on: ran
    milestones: [{at: 1, name: {en: The first day, de: Der erste Tag}}]
quests:
  warm_up:
    name: {en: Warm up, de: Aufwärmen}
    image: {en: /img/quest.png}
    steps: [{event: ran, target: 1, name: {en: One run, de: Ein Lauf}}, {event: ran, target: 2}]
tiers:
  qualify: {earned: points}
  per: year
  levels:
    silver: {at: 10, name: {en: Silver, de: Silber}}
"""


async def test_quests_milestones_and_tiers_have_their_names(shop: Live) -> None:
    async with another(shop, MORE) as more:
        ada = await stranger(more, "ada")
        await more.client.patch("/v1/members/ada", json={"locale": "de"})
        await more.event(type="ran", member="ada", properties={"km": 12})
        news = await ada.get("/news")
        assert set(told(news)) == {
            ("points", "points", 12),
            ("quest_step", "Ein Lauf", 1),
            ("streak", "Der erste Tag", 1),
            ("tier", "Silber", 1),
        }
        await more.event(type="ran", member="ada", properties={"km": 1})
        [done] = [item for item in (await ada.get("/news"))["items"] if item["kind"] == "quest"]
        assert (done["name"], done["image"]) == ("Aufwärmen", "/img/quest.png")
        assert [item["image"] for item in news["items"] if item["kind"] == "streak"] == ["/img/daily.png"]
