"""Reading a member's tier: what is held, what comes next, what it takes to keep it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import pytest
from tests.domain.play.test_tiers import ADA, World, program, walked
from tests.features.bank import Bank, moment
from tests.features.customers import stranger
from tests.service import Live, another

from rewards.domain.commands import Import, MemberRef
from rewards.features.progress.tier_views import standing_of
from rewards.pipeline.intake import Addressed
from rewards.pipeline.load import Clock
from rewards.pipeline.lookup import Found, FoundWallet

DOCUMENT: Final = """
rewards: 1
program: {key: club, timezone: UTC, locale: en, late_window: 72h}
currencies: {points: {qualifying: true}}
events:
  order_placed: {properties: {order_id: string, total: number}}
  order_refunded: {properties: {order_id: string}}
rules:
  - {key: buy, on: order_placed, then: [{earn: {currency: points, amount: event.total, reference: event.order_id}}]}
  - {key: back, on: order_refunded, then: [{reverse: {reference: event.order_id}}]}
tiers:
  qualify: {earned: points}
  per: 60d
  grace: 10d
  multiplies: []
  levels:
    bronze: {name: Bronze, at: 0}
    silver: {name: {en: Silver, de: Silber}, image: /silver.png, at: 500, earn_rate: 1.5,
             benefits: {shipping: {en: free shipping, de: Versand frei}}}
    gold: {name: Gold, at: 2000, earn_rate: 2}
"""


@pytest.fixture(scope="module")
async def club(shop: Live) -> AsyncIterator[Bank]:
    async with another(shop, DOCUMENT, kind="sandbox") as running:
        yield Bank(running)


async def order(club: Bank, member: str, total: int, order_id: str = "o1") -> dict[str, Any]:
    return await club.live.event(member=member, type="order_placed", properties={"order_id": order_id, "total": total})


async def test_everybodys_tier_and_the_way_to_the_next(club: Bank) -> None:
    await order(club, "tier-new", 125)
    told = await club.get("/members/tier-new/tier")
    assert (told["tier"]["key"], told["since"], told["keeps_until"], told["keep"]) == ("bronze", None, None, None)
    assert (told["next"]["tier"]["key"], told["next"]["remaining"], told["next"]["percent"]) == ("silver", 375, 25)
    assert (told["qualification"]["currency"], told["qualification"]["value"]) == ("points", 125)
    assert told["history"] == []
    assert [tier["key"] for tier in told["tiers"]] == ["bronze", "silver", "gold"]


async def test_taking_an_opening_balance_back_takes_nothing_that_was_earned(club: Bank) -> None:
    """It never counted: the other system's points were not earned here."""
    await order(club, "moved-in", 800)
    opening = Addressed(MemberRef("user", "moved-in"), Import("points", 700), "opening", {}, "tests")
    made = (await club.live.service.intake.one(club.live.program_id, opening)).answer["transactions"][0]["id"]
    await club.move(f"/transactions/{made}/reverse")
    told = await club.get("/members/moved-in/tier")
    assert (told["tier"]["key"], told["qualification"]["value"]) == ("silver", 800)
    assert await club.buckets("moved-in") == (800, 0, 0, 0)


async def test_a_tier_reached_is_told_in_the_members_language_and_to_the_member(club: Bank) -> None:
    answer = await order(club, "tier-up", 800)
    assert [effect for effect in answer["effects"] if effect["type"] == "tier"] == [
        {"type": "tier", "key": "silver", "from": "bronze", "direction": "up"}
    ]
    changed = await club.live.client.patch("/v1/members/tier-up", json={"locale": "de-AT"})
    assert changed.status_code == 200
    told = await club.get("/members/tier-up/tier")
    assert (told["tier"]["name"], told["tier"]["image"], told["tier"]["benefits"]) == (
        "Silber",
        "/silver.png",
        {"shipping": "Versand frei"},
    )
    assert (told["next"]["remaining"], told["next"]["percent"]) == (1200, 40)
    # By then nothing that counts now does.
    assert (told["keep"]["at"], told["keep"]["remaining"], told["keep"]["until"]) == (500, 500, told["keeps_until"])
    assert [each["tier"] for each in told["history"]] == ["silver"]
    assert told["since"] == told["history"][0]["since"]
    mine = await (await stranger(club.live, "tier-up")).get("/tier")
    assert {**mine, "qualification": None} == {**told, "qualification": None}


@pytest.mark.parametrize(
    ("terms", "orders", "now", "remaining", "until"),
    [
        # Earned this year: next year's orders decide, of which there are none yet.
        ("per: year", "2026-03-01 1200", "2026-06-01", 1_000, "2028-01-01"),
        # Earned last year: this year's do.
        ("per: year", "2026-03-01 1200, 2027-02-01 300", "2027-06-01", 700, "2028-01-01"),
        ("per: year", "2026-03-01 1200, 2027-02-01 1000", "2027-06-01", 1_000, "2029-01-01"),
        # In the grace, what is earned in the new year saves it.
        ("per: year; grace: 30d", "2026-03-01 1200, 2027-02-01 900, 2028-01-05 400", "2028-01-10", 600, "2028-01-31"),
        ("per: year; grace: 30d", "2026-03-01 1200, 2027-02-01 900", "2027-12-31", 100, "2028-01-31"),
        # Of a window, what will have left it by then is to be earned anew.
        ("per: 60d", "2026-01-10 700, 2026-02-10 500", "2026-02-12", 500, "2026-03-11"),
        ("per: 60d; grace: 10d", "2026-01-10 700, 2026-02-10 500", "2026-02-12", 500, "2026-03-21"),
    ],
)
def test_what_is_left_to_do_to_keep_it(terms: str, orders: str, now: str, remaining: int, until: str) -> None:
    made = program(terms)
    world = World(made)
    walked(world, orders)
    world.at(moment(f"{now}T00:00Z"))
    clock = Clock(world.now, timedelta(0), 1, seen=False)
    wallet = FoundWallet(Found(MemberRef("user", "ada"), (ADA,), world.member().state, clock), made)
    told = standing_of(wallet, world.member().state)
    assert told.tier is not None
    assert (told.tier.key, told.keep and told.keep.remaining) == ("gold", remaining)
    assert told.keeps_until == moment(f"{until}T00:00Z")


async def test_a_tier_that_lost_its_ground_is_gone_at_once(club: Bank) -> None:
    await order(club, "tier-back", 800, "lost")
    answer = await club.live.event(member="tier-back", type="order_refunded", properties={"order_id": "lost"})
    assert {"type": "tier", "key": "bronze", "from": "silver", "direction": "down"} in answer["effects"]
    told = await club.get("/members/tier-back/tier")
    assert (told["tier"]["key"], told["qualification"]["value"], told["history"]) == ("bronze", 0, [])


async def test_a_program_without_tiers_and_an_unknown_member(bank: Bank, club: Bank) -> None:
    await bank.earn("tierless", 5)
    answer = await bank.live.client.get("/v1/members/tierless/tier")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:rewards:problem:no-tiers")
    answer = await club.live.client.get("/v1/members/nobody/tier")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:rewards:problem:unknown-member")


async def test_the_sandboxs_clock_takes_a_tier_away_when_its_time_is_over(shop: Live) -> None:
    async with another(shop, DOCUMENT, kind="sandbox") as running:
        own = Bank(running)
        await order(own, "tier-gone", 800)
        until = moment((await own.get("/members/tier-gone/tier"))["keeps_until"])
        assert (
            timedelta(days=69)
            < until - moment((await own.get("/members/tier-gone/tier"))["since"])
            <= timedelta(days=70)
        )
        told: dict[str, Any] = {}
        for advanced, tier in (("65d", "silver"), ("6d", "bronze")):
            assert (await own.post("/sandbox/clock", advance=advanced)).status_code == 200
            told = await own.get("/members/tier-gone/tier")
            assert told["tier"]["key"] == tier
        assert [each["tier"] for each in told["history"]] == ["bronze", "silver"]
        assert moment(told["since"]) == until
        assert (told["qualification"]["value"], told["keeps_until"], told["next"]["remaining"]) == (0, None, 500)
