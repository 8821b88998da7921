"""What a command that is no event set off is told like an event, so that support can say why points came."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.service import Live, another

PROGRAM = """
rewards: 1
program: {key: explained, name: Explained, timezone: UTC, locale: en, money: EUR}
currencies: {points: {name: Points, expires: never}}
events: {opened: {properties: {}}}
attributes: {plan: {type: string, purpose: what is paid for}}
segments:
  paying: {when: member.plan == "gold"}
rules:
  - {key: thanks, on: segment.entered, when: event.segment == "paying", then: [{earn: {currency: points, amount: 7}}]}
  - {key: never, on: segment.entered, when: event.segment == "other", then: [{earn: {currency: points, amount: 9}}]}
"""


@pytest.fixture
async def running(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, PROGRAM) as running:
        yield running


async def test_points_that_a_profile_change_brought_lead_back_to_it(running: Live) -> None:
    client = running.client
    changed = await client.patch("/v1/members/ada", json={"attributes": {"plan": "gold"}})
    assert changed.status_code == 200, changed.text
    [entry] = (await client.get("/v1/members/ada/statement?currency=points")).json()["items"]
    assert (entry["amount"], entry["source"]) == (7, "rule:thanks")
    told = (await client.get(f"/v1/members/ada/events/{entry['event']['id']}")).json()
    assert told["type"] == "time.passed"
    assert [(line["rule"], line["result"]) for line in told["trace"]] == [
        ("thanks", "fired"),
        ("never", "condition_false"),
    ]
    assert [effect["type"] for effect in told["effects"]] == ["segment.entered", "earn"]


async def test_a_change_of_which_there_is_nothing_to_tell_leaves_no_event(running: Live) -> None:
    await running.client.patch("/v1/members/bob", json={"attributes": {"plan": "free"}})
    assert (await running.client.get("/v1/members/bob/events")).json()["items"] == []
