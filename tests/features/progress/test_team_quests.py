"""Team quests over HTTP: who belongs to which group, how far a group is, and what its members get for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.features.customers import stranger
from tests.service import Live, another

DOCUMENT = """
rewards: 1
program: {key: club, timezone: UTC, locale: en}
currencies: {points: {}}
events: {walked: {properties: {km: number}}, group_joined: {properties: {group_id: string}}}
quests:
  alone: {steps: [{event: walked, target: 50}]}
  far:
    team: true
    steps: [{event: walked, sum: event.km, target: 10}]
    rewards: [{earn: {currency: points, amount: 100}}]
  hidden: {team: true, secret: true, steps: [{event: walked, target: 2}]}
"""


@pytest.fixture(scope="module")
async def club(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, DOCUMENT) as running:
        yield running


async def join(club: Live, member: str, *groups: str) -> httpx.Response:
    answers = [await club.client.put(f"/v1/members/{member}/groups/{group}") for group in groups]
    return answers[-1]


async def walk(club: Live, member: str, km: float) -> None:
    await club.event(member=member, type="walked", properties={"km": km})
    await club.worker.run_due()


async def told(club: Live, member: str) -> dict[str, Any]:
    answer = await club.client.get(f"/v1/members/{member}/quests")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def standing(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(each["key"], each["group"], each["state"], each["steps"][0]["value"]) for each in found["quests"]]


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:rewards:problem:")


async def test_a_team_quest_from_membership_to_reward(club: Live) -> None:
    assert (await join(club, "t-ada", "t-red", "group:t-blue")).json() == {"groups": ["group:t-red", "group:t-blue"]}
    await join(club, "t-ben", "t-red")
    assert standing(await told(club, "t-ben")) == [
        ("alone", None, "available", 0),
        ("far", "group:t-red", "available", 0),
    ]
    await walk(club, "t-ada", 4)
    ada = await told(club, "t-ada")
    assert ada["groups"] == ["group:t-red", "group:t-blue"]
    assert standing(ada) == [
        ("alone", None, "active", 1),
        ("far", "group:t-red", "active", 4),
        ("far", "group:t-blue", "active", 4),
        ("hidden", "group:t-red", "active", 1),
        ("hidden", "group:t-blue", "active", 1),
    ]
    assert standing(await told(club, "group:t-red"))[1] == ("far", "group:t-red", "active", 4)
    await walk(club, "t-ben", 6)
    assert [await club.balance(name) for name in ("t-ada", "t-ben", "group:t-red")] == [100, 100, 0]
    assert [each["state"] for each in (await told(club, "t-ben"))["quests"]] == ["active", "completed", "completed"]
    news = await (await stranger(club, "t-ben")).get("/news")
    assert ("quest", "far") in {(each["kind"], each["key"]) for each in news["items"]}


async def test_without_a_group_a_team_quest_is_locked(club: Live) -> None:
    await walk(club, "t-alone", 20)
    [_, far] = (await told(club, "t-alone"))["quests"]
    assert (far["state"], far["team"], far["missing"]) == (
        "locked",
        True,
        [{"kind": "group", "key": None, "name": None}],
    )


async def test_memberships_once_and_refused(club: Live) -> None:
    key = {"Idempotency-Key": "t-once"}
    answers = [await club.client.put("/v1/members/t-key/groups/a", headers=key) for _ in range(2)]
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true"]
    assert answers[0].json() == answers[1].json() == {"groups": ["group:a"]}
    other = await club.client.delete("/v1/members/t-key/groups/a", headers=key)
    assert refused(other) == (422, "id-reused")
    await join(club, "t-key", *"bcde")
    assert refused(await join(club, "t-key", "f")) == (409, "too-many-groups")
    assert refused(await join(club, "group:t-key", "f")) == (409, "group-in-group")
    assert refused(await join(club, "t-key", "x" * 201)) == (422, "invalid-input")
    left = await club.client.delete("/v1/members/t-key/groups/group:c")
    assert left.json() == {"groups": ["group:a", "group:b", "group:d", "group:e"]}
    assert refused(await club.client.delete("/v1/members/t-key/groups/c")) == (409, "not-in-group")
    await join(club, "t-only", "a")
    assert (await club.client.delete("/v1/members/t-only/groups/a")).json() == {"groups": []}
    assert refused(await club.client.post("/v1/members/t-key/quests/far/join")) == (409, "team-quest")


async def test_the_customer_reads_the_groups_standing(club: Live) -> None:
    await join(club, "t-me", "t-green")
    await walk(club, "t-me", 3)
    customer = await stranger(club, "t-me")
    mine = await customer.get("/quests")
    assert mine == await told(club, "t-me")
    assert ("far", "group:t-green", "active", 3) in standing(mine)


async def test_segments_group_call_makes_a_member_of_the_group(club: Live) -> None:
    call = {"type": "group", "userId": "t-seg", "groupId": "t-seg-team", "messageId": "m1"}
    for _ in range(2):
        answer = await club.client.post("/segment/v1/batch", json={"batch": [call]})
        assert answer.json() == {"success": True}
    assert (await told(club, "t-seg"))["groups"] == ["group:t-seg-team"]
