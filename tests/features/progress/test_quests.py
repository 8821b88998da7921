"""Quests over HTTP: how far a member is, joining and leaving, for the app server and for the customer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.features.customers import refused_with, stranger
from tests.service import Live, another

from rewards.domain.commands import MemberRef, MergeOut
from rewards.pipeline.intake import Addressed

DOCUMENT = """
rewards: 1
program: {key: walks, timezone: UTC, locale: en}
currencies: {points: {}}
events: {walked: {client: true, properties: {km: number}}, rested: {}}
attributes: {brave: {type: boolean, purpose: tests}}
badges: {hiker: {name: Hiker}, owl: {name: Night owl, secret: true}}
rules: [{key: hikers, on: rested, then: [{badge: {key: hiker}}]}]
quests:
  far:
    name: {en: A long way, de: Ein weiter Weg}
    description: {en: Walk ten kilometres in a week.}
    image: https://img.example/far.png
    steps:
      - {name: {en: Ten kilometres, de: Zehn Kilometer}, event: walked, sum: event.km, target: 10}
      - {name: {en: Three walks, de: Drei Spaziergänge}, event: walked, target: 3}
    window: 7d
    repeat: {after: 30d}
    rewards: [{earn: {currency: points, amount: 100}}]
  club: {name: The club, opt_in: true, steps: [{event: walked}], window: 2d, requires: {badges: [hiker]}}
  climb: {name: The climb, requires: {quests: [far]}, when: member.brave, steps: [{event: walked}]}
  hidden: {name: Hidden, secret: true, steps: [{event: rested, target: 2}]}
  night: {name: The night, requires: {badges: [owl], quests: [hidden]}, steps: [{event: walked}]}
  gone: {name: Gone, opt_in: true, ends: 2020-01-01T00:00:00, steps: [{event: walked}]}
"""


@pytest.fixture(scope="session")
async def walks(shop: Live) -> AsyncIterator[Live]:
    async with another(shop, DOCUMENT) as running:
        yield running


async def quests(walks: Live, member: str) -> dict[str, dict[str, Any]]:
    answer = await walks.client.get(f"/v1/members/{member}/quests")
    assert answer.status_code == 200, answer.text
    return {quest["key"]: quest for quest in answer.json()["quests"]}


async def ask(walks: Live, member: str, quest: str, what: str = "join", **headers: str) -> httpx.Response:
    return await walks.client.post(f"/v1/members/{member}/quests/{quest}/{what}", headers=headers)


async def walk(walks: Live, member: str, *kilometres: float) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for km in kilometres:
        answer = await walks.event(member=member, type="walked", properties={"km": km})
    return answer


async def test_progress_is_told_in_the_members_language(walks: Live) -> None:
    await walks.client.patch("/v1/members/q-ada", json={"locale": "de-AT"})
    await walk(walks, "q-ada", 2.5, 3)
    far = (await quests(walks, "q-ada"))["far"]
    assert (far["name"], far["state"], far["image"]) == ("Ein weiter Weg", "active", "https://img.example/far.png")
    assert far["description"] == "Walk ten kilometres in a week."
    assert far["steps"] == [
        {"step": 1, "name": "Zehn Kilometer", "value": 5.5, "target": 10, "done": False},
        {"step": 2, "name": "Drei Spaziergänge", "value": 2, "target": 3, "done": False},
    ]
    assert far["began_at"] < far["ends_at"]


async def test_a_quest_is_completed_and_paid(walks: Live) -> None:
    answer = await walk(walks, "q-ben", 5, 5, 5)
    assert [effect["type"] for effect in answer["effects"]] == ["quest_step", "quest", "earn"]
    assert answer["effects"][1] == {"type": "quest", "key": "far", "instance": 1}
    assert await walks.balance("q-ben") == 100
    far = (await quests(walks, "q-ben"))["far"]
    assert (far["state"], far["completed"], far["available_at"] > far["completed_at"]) == ("completed", 1, True)
    assert [step["done"] for step in far["steps"]] == [True, True]


async def test_achievements_are_rows(walks: Live) -> None:
    await walk(walks, "q-rows", 5, 5, 5)
    async with walks.service.engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT a.kind, a.key, a.level, a.instance FROM achievement a JOIN event e ON e.id = a.event_id"
                " WHERE a.program_id = :program AND e.member_id = a.member_id AND a.achieved_at = e.occurred_at"
                " ORDER BY a.kind, a.level"
            ),
            {"program": walks.program_id},
        )
        rows = {tuple(row) for row in found}
    assert rows >= {("quest", "far", 0, 1), ("quest_step", "far", 1, 1), ("quest_step", "far", 2, 1)}


async def test_what_a_quest_waits_for_is_told(walks: Live) -> None:
    await walk(walks, "q-locked", 1)
    told = await quests(walks, "q-locked")
    assert (told["club"]["state"], told["club"]["missing"]) == (
        "locked",
        [{"kind": "badge", "key": "hiker", "name": "Hiker"}],
    )
    assert told["climb"]["missing"] == [
        {"kind": "quest", "key": "far", "name": "A long way"},
        {"kind": "condition", "key": None, "name": None},
    ]
    # What is secret is not given away by what waits for it.
    assert told["night"]["missing"] == [
        {"kind": "quest", "key": None, "name": None},
        {"kind": "badge", "key": None, "name": None},
    ]
    assert told["gone"]["state"] == "over"


async def test_a_secret_quest_is_shown_once_it_has_begun(walks: Live) -> None:
    await walk(walks, "q-secret", 1)
    assert "hidden" not in await quests(walks, "q-secret")
    await walks.event(member="q-secret", type="rested", properties={})
    assert (await quests(walks, "q-secret"))["hidden"]["state"] == "active"


async def test_joining_and_leaving(walks: Live) -> None:
    await walks.event(member="q-join", type="rested", properties={})
    assert (await quests(walks, "q-join"))["club"]["state"] == "available"
    joined = (await ask(walks, "q-join", "club")).json()
    assert (joined["quest"], joined["active"]) == ("club", True)
    assert joined["effects"] == [{"type": "quest_started", "key": "club"}]
    assert (await quests(walks, "q-join"))["club"]["ends_at"] == joined["ends_at"]
    left = (await ask(walks, "q-join", "club", "leave")).json()
    assert "active" not in left
    assert (await quests(walks, "q-join"))["club"]["state"] == "available"


@pytest.mark.parametrize(
    ("quest", "what", "before", "status", "code"),
    [
        ("nothing", "join", [], 404, "unknown-quest"),
        ("nothing", "leave", [], 404, "unknown-quest"),
        ("club", "join", [], 409, "quest-locked"),
        ("club", "leave", [], 409, "quest-not-active"),
        ("gone", "join", [], 409, "quest-unavailable"),
        ("far", "join", ["walk"], 409, "quest-active"),
        ("far", "join", ["complete"], 409, "quest-unavailable"),
    ],
)
async def test_refusals(walks: Live, quest: str, what: str, before: list[str], status: int, code: str) -> None:
    member = f"q-refused-{quest}-{what}-{len(before)}-{''.join(before)}"
    if "walk" in before:
        await walk(walks, member, 1)
    if "complete" in before:
        await walk(walks, member, 5, 5, 5)
    assert refused_with(await ask(walks, member, quest, what), status)["code"] == code


@pytest.mark.parametrize("path", ["members/q-near/quests/clubb/join", "members/q-near/quests/clubb/leave"])
async def test_an_unknown_quest_is_told_the_one_that_was_meant(walks: Live, path: str) -> None:
    answer = await walks.client.post(f"/v1/{path}", headers={"Idempotency-Key": path})
    assert refused_with(answer, 404)["detail"] == "the program has no quest 'clubb'; did you mean club?"


async def test_no_refusal_gives_a_secret_quest_away(walks: Live) -> None:
    for guessed in ("hiden", "nothing_like_it"):
        answer = await walks.client.post(
            f"/v1/members/q-guess/quests/{guessed}/join", headers={"Idempotency-Key": guessed}
        )
        detail = refused_with(answer, 404)["detail"]
        assert ("hidden" in detail, "club" in detail) == (False, True), detail


LOCKED = {
    "club": ([{"badge": "hiker"}], [{"badge": "hiker"}]),
    "climb": ([{"quest": "far"}, {"condition": "member.brave"}], [{"quest": "far"}, {"condition": None}]),
    "night": ([{"quest": "hidden"}, {"badge": "owl"}], [{"quest": None}, {"badge": None}]),
}


@pytest.mark.parametrize("quest", LOCKED)
async def test_only_the_app_hears_which_secret_a_locked_quest_waits_for(walks: Live, quest: str) -> None:
    to_the_app, to_the_member = LOCKED[quest]
    assert refused_with(await ask(walks, "q-gate", quest), 409)["missing"] == to_the_app
    member = await stranger(walks, "q-gate")
    headers = {"Authorization": f"Bearer {member.token}", "Idempotency-Key": quest}
    for replayed in (None, "true"):
        answer = await walks.client.post(f"/v1/me/quests/{quest}/join", headers=headers)
        told = refused_with(answer, 409)
        assert (told["code"], told["missing"]) == ("quest-locked", to_the_member)
        assert answer.headers.get("Idempotency-Replayed") == replayed


async def test_joining_is_repeated_with_its_key(walks: Live) -> None:
    key = {"Idempotency-Key": "join-1"}
    one, two = await ask(walks, "q-again", "far", **key), await ask(walks, "q-again", "far", **key)
    assert (one.status_code, two.json(), two.headers["Idempotency-Replayed"]) == (200, one.json(), "true")
    assert refused_with(await ask(walks, "q-again", "far"), 409)["code"] == "quest-active"


async def test_the_customer_sees_and_joins(walks: Live) -> None:
    ada = await stranger(walks, "q-me")
    joined = await ada.send("POST", "/me/quests/far/join")
    assert joined.json()["active"] is True
    assert {quest["key"] for quest in (await ada.get("/quests"))["quests"]} == {"far", "club", "climb", "night", "gone"}
    assert (await ada.send("POST", "/me/quests/far/leave")).status_code == 200
    assert refused_with(await ada.send("POST", "/me/quests/far/leave"), 409)["code"] == "quest-not-active"


async def test_two_members_who_become_one_finish_a_quest_together(walks: Live) -> None:
    await walk(walks, "anon:q-two", 4, 3)
    await walk(walks, "q-two", 3)
    published = await walks.service.programs.get(walks.program_id)
    user = MemberRef("user", "q-two")
    command = MergeOut(user, published.identity.member(user))
    addressed = Addressed(MemberRef("anon", "q-two"), command, "q-two", {"key": "q-two"}, "tests")
    await walks.service.intake.one(walks.program_id, addressed)
    await walks.worker.run_due()
    far = (await quests(walks, "q-two"))["far"]
    assert (far["state"], far["completed"]) == ("completed", 1)
    assert await walks.balance("q-two") == 100


async def test_a_quest_of_nobody(walks: Live) -> None:
    assert refused_with(await walks.client.get("/v1/members/q-nobody/quests"), 404)["code"] == "unknown-member"
