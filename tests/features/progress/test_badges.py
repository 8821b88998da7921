"""Badges as app servers and customers read them: names in their language, progress, and no word of secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.features.bank import Bank, problem
from tests.features.customers import Customer, minted
from tests.features.members.test_members import merge
from tests.service import create_database, live, service_settings

from rewards.domain.commands import MemberRef
from rewards.features.progress.badge_views import how_far
from rewards.features.progress.queries import achieved

PROGRAM = """
rewards: 1
program: {key: shop, timezone: Europe/Berlin, locale: en}
currencies: {points: {clawback: allow_debt}}
events:
  reviewed: {client: true}
  bought: {properties: {order: string, total: money}}
  returned: {properties: {order: string}}
  profiled: {}
metrics:
  reviews: {count: reviewed}
  spent: {sum: bought, value: event.total, over: 30d}
rules:
  - {key: profile, on: profiled, then: [{badge: {key: profile}}]}
  - {key: paid, on: bought, then: [{earn: {currency: points, amount: event.total, reference: event.order}}]}
  - {key: back, on: returned, then: [{reverse: {reference: event.order}}]}
badges:
  profile: {name: {en: All about you, de: Ganz du}, image: https://x.example/profile.svg}
  reviewer:
    name: {en: Reviewer, de: Tester}
    description: {en: You tell others., de: Du sagst es anderen.}
    image: https://x.example/reviewer.svg
    metric: reviews
    levels: [1, {at: 3, name: {en: Trusted, de: Verlässlich}, image: {de: "https://x.example/de.svg", en: "https://x.example/en.svg"}}, 50]
  hidden: {metric: reviews, levels: [2], secret: true}
  spender: {metric: spent, levels: [99.5], revocable: true, rewards: [{earn: {currency: points, amount: 50}}]}
"""


@pytest.fixture(scope="module")
async def shop(database_url: str, redis_url: str) -> AsyncIterator[Bank]:
    url = await create_database(database_url, "badges_read")
    async with live(service_settings(url, redis_url), PROGRAM) as running:
        yield Bank(running)


async def badges(shop: Bank, member: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = (await shop.get(f"/members/{member}/badges"))["badges"]
    return {badge.pop("key"): badge for badge in found}


async def review(shop: Bank, member: str, times: int = 1, **more: Any) -> None:
    for _ in range(times):
        await shop.live.event(type="reviewed", member=member, properties={}, **more)


async def test_what_is_earned_and_what_comes_next(shop: Bank) -> None:
    at = datetime.now(UTC).replace(microsecond=123_000) - timedelta(hours=1)
    await review(shop, "ada", occurred_at=at.isoformat())
    assert await shop.get("/members/ada/badges") == {
        "member": "ada",
        "merged_into": None,
        "badges": [
            {
                "key": "profile",
                "name": "All about you",
                "level_name": None,
                "description": None,
                "image": "https://x.example/profile.svg",
                "level": 0,
                "levels": 1,
                "secret": False,
                "achieved_at": None,
                "progress": None,
            },
            {
                "key": "reviewer",
                "name": "Reviewer",
                "level_name": None,
                "description": "You tell others.",
                "image": "https://x.example/reviewer.svg",
                "level": 1,
                "levels": 3,
                "secret": False,
                "achieved_at": at.isoformat().replace("+00:00", "Z"),
                "progress": {"value": 1, "next": 3, "next_name": "Trusted", "remaining": 2, "percent": 33},
            },
            {
                "key": "spender",
                "name": "spender",
                "level_name": None,
                "description": None,
                "image": None,
                "level": 0,
                "levels": 1,
                "secret": False,
                "achieved_at": None,
                "progress": {"value": 0, "next": 99.5, "next_name": None, "remaining": 99.5, "percent": 0},
            },
        ],
    }


async def test_a_level_has_a_name_and_an_image_of_its_own_and_both_a_language(shop: Bank) -> None:
    await review(shop, "zoe", 3)
    await shop.live.client.patch("/v1/members/zoe", json={"locale": "de-AT"})
    reviewer = (await badges(shop, "zoe"))["reviewer"]
    assert (reviewer["level"], reviewer["name"], reviewer["level_name"]) == (2, "Tester", "Verlässlich")
    assert (reviewer["description"], reviewer["image"]) == ("Du sagst es anderen.", "https://x.example/de.svg")
    assert reviewer["progress"] == {"value": 3, "next": 50, "next_name": None, "remaining": 47, "percent": 6}


async def test_a_secret_badge_is_shown_once_it_is_earned(shop: Bank) -> None:
    await review(shop, "sam")
    assert "hidden" not in await badges(shop, "sam")
    await review(shop, "sam")
    hidden = (await badges(shop, "sam"))["hidden"]
    assert (hidden["level"], hidden["secret"], hidden["progress"]) == (1, True, None)


async def test_a_badge_that_is_lost_is_as_if_never_earned_and_its_reward_is_gone(shop: Bank) -> None:
    answer = await shop.live.event(type="bought", member="lea", properties={"order": "o1", "total": 100})
    assert [effect["type"] for effect in answer["effects"]] == ["earn", "badge", "earn"]
    assert (await badges(shop, "lea"))["spender"]["level"] == 1
    answer = await shop.live.event(type="returned", member="lea", properties={"order": "o1"})
    assert [effect["type"] for effect in answer["effects"]] == ["reverse", "taken_back", "badge.revoked", "reverse"]
    spender = (await badges(shop, "lea"))["spender"]
    assert (spender["level"], spender["achieved_at"], spender["progress"]["value"]) == (0, None, 0)
    assert await shop.buckets("lea") == (0, 0, 0, 0)


async def test_a_badge_earned_anew_is_as_old_as_the_second_time(shop: Bank) -> None:
    await shop.live.event(type="bought", member="kim", properties={"order": "p1", "total": 100})
    first = (await badges(shop, "kim"))["spender"]["achieved_at"]
    await shop.live.event(type="returned", member="kim", properties={"order": "p1"})
    await shop.live.event(type="bought", member="kim", properties={"order": "p2", "total": 100})
    assert (await badges(shop, "kim"))["spender"]["achieved_at"] > first
    assert await shop.buckets("kim") == (150, 0, 0, 0)


async def test_after_a_merge_the_badges_of_both_are_one_members(shop: Bank) -> None:
    await review(shop, "anon:visitor", 2)
    first = (await badges(shop, "anon:visitor"))["reviewer"]["achieved_at"]
    await shop.live.event(type="profiled", member="vera", properties={})
    await merge(shop.live, "anon:visitor", "vera")
    found = await shop.get("/members/anon:visitor/badges")
    assert found["merged_into"] == "vera"
    assert found["badges"] == (await shop.get("/members/vera/badges"))["badges"]
    mine = await badges(shop, "vera")
    assert {key: badge["level"] for key, badge in mine.items()} == {
        "profile": 1, "reviewer": 1, "hidden": 1, "spender": 0,
    }  # fmt: skip
    assert mine["reviewer"]["achieved_at"] == first


async def test_a_customer_reads_the_same_and_nobody_elses(shop: Bank) -> None:
    await review(shop, "ina")
    customer = Customer(shop.live, (await minted(shop, "ina")).json()["token"])
    answer = await customer.send("GET", "/me/badges")
    assert answer.status_code == 200
    assert answer.json() == await shop.get("/members/ina/badges")
    assert problem(await customer.send("GET", "/members/ina/badges"))[0] == 403


async def test_who_is_unknown_has_no_badges(shop: Bank) -> None:
    assert problem(await shop.live.client.get("/v1/members/nobody/badges")) == (404, "unknown-member")
    assert problem(await shop.live.client.get("/v1/members/anon:/badges")) == (422, "invalid-input")
    headers = {"Authorization": f"Bearer {shop.live.public_key}"}
    assert problem(await shop.live.client.get("/v1/members/ina/badges", headers=headers))[0] == 403


async def test_the_history_keeps_what_was_earned_and_lost(shop: Bank) -> None:
    await shop.live.event(type="bought", member="max", properties={"order": "m1", "total": 100})
    await shop.live.event(type="returned", member="max", properties={"order": "m1"})
    await shop.live.event(type="bought", member="max", properties={"order": "m2", "total": 100})
    await shop.live.event(type="returned", member="max", properties={"order": "m2"})
    service, program_id = shop.live.service, shop.live.program_id
    member = (await service.programs.get(program_id)).identity.member(MemberRef.parse("max"))
    async with service.engine.connect() as connection:
        rows = await achieved(connection, program_id, [member], ["badge"])
    assert [(row.key, row.level, row.instance, row.revoked_at is None) for row in rows] == [
        ("spender", 1, 2, False),
        ("spender", 1, 1, False),
    ]


@pytest.mark.parametrize(
    ("value", "threshold", "remaining", "percent"),
    [
        (0, 3, 3, 0),
        (1, 3, 2, 33),
        (2, 3, 1, 66),
        (3, 3, 0, 100),
        (5, 3, 0, 100),
        (-2, 3, 5, 0),
        (0.1, 0.2, 0.1, 50),
        (0.3, 0.4, 0.1, 75),
        (0.1, 0.3, 0.2, 33),
        (99.999, 100, 0.001, 99),
    ],
)
def test_how_far_a_level_is(value: float, threshold: float, remaining: float, percent: int) -> None:
    assert how_far(value, threshold) == (remaining, percent)
