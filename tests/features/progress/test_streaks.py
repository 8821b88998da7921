"""Streaks over HTTP: read in the member's language and zone, frozen, paused and restored, each once, by those who may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from tests.features.bank import Bank
from tests.features.customers import refused_with, stranger
from tests.service import Live, another

PROGRAM = """
rewards: 1
program: {key: fit, timezone: UTC, locale: en}
currencies: {points: {}}
events:
  ran: {properties: {km: number}}
streaks:
  daily:
    name: {en: Every day, de: Jeden Tag}
    description: {en: Run every day, de: Laufe jeden Tag}
    image: https://img.example/daily.png
    on: ran
    freezes: {most: 2, start: 0, earn_every: 7, price: {currency: points, amount: 50}}
    pause: {longest: 30d}
    warn_before: 4h
    milestones:
      - {at: 3, name: {en: Three, de: Drei}, rewards: [{earn: {currency: points, amount: 30}}]}
      - {every: 7, rewards: [{earn: {currency: points, amount: 70}}]}
  far: {name: Far, on: ran, value: event.km, target: 12.5, per: week}
"""


@pytest.fixture
async def app(bank: Bank) -> AsyncIterator[Live]:
    async with another(bank.live, PROGRAM, kind="sandbox") as running:
        yield running


async def ask(app: Live, path: str, key: str, **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    sent = None if path.endswith("resume") else body
    return await app.client.post(f"/v1/members/ada/streaks/{path}", json=sent, headers=headers)


async def read(app: Live, member: str = "ada") -> dict[str, Any]:
    answer = await app.client.get(f"/v1/members/{member}/streaks")
    assert answer.status_code == 200, answer.text
    streaks: dict[str, Any] = {each["key"]: each for each in answer.json()["streaks"]}
    return streaks


async def advance(app: Live, length: str) -> None:
    answer = await app.client.post("/v1/sandbox/clock", json={"advance": length})
    assert answer.status_code == 200, answer.text


async def run_daily(app: Live, days: int) -> list[dict[str, Any]]:
    """Runs on so many days in a row, and leaves the clock on the last of them; what the last event set off."""
    effects: list[dict[str, Any]] = []
    for day in range(days):
        if day:
            await advance(app, "24h")
        effects = (await app.event(type="ran", member="ada", properties={"km": 5}))["effects"]
    return effects


async def test_a_streak_is_read_in_the_members_language_and_zone(app: Live) -> None:
    await app.client.patch("/v1/members/ada", json={"locale": "de-AT", "timezone": "Asia/Kathmandu"})
    effects = await run_daily(app, 3)
    assert [each["type"] for each in effects if each.get("key") == "daily"] == ["streak", "streak_milestone"]
    answer = (await app.client.get("/v1/members/ada/streaks")).json()
    assert (answer["member"], answer["timezone"]) == ("ada", "Asia/Kathmandu")
    daily, far = sorted(answer["streaks"], key=lambda each: str(each["key"]))
    ends = datetime.fromisoformat(daily.pop("period_ends_at")).astimezone(ZoneInfo("Asia/Kathmandu"))
    assert (ends.hour, ends.minute) == (0, 0)
    renews = datetime.fromisoformat(daily["pauses"].pop("renews_at")).astimezone(ZoneInfo("Asia/Kathmandu"))
    assert (renews.month, renews.day, renews.hour, renews.minute) == (1, 1, 0, 0)
    assert daily == {
        "key": "daily", "name": "Jeden Tag", "description": "Laufe jeden Tag", "image": "https://img.example/daily.png",
        "per": "day", "length": 3, "best": 3, "lost": 0, "kept": True, "progress": 1.0, "target": 1.0, "at_risk": False,
        "freezes": 0, "freezes_most": 2, "freeze_price": {"currency": "points", "amount": 50}, "paused_until": None,
        "pauses": {"longest_seconds": 30 * 86_400, "left_seconds": 60 * 86_400},
        "next_milestone": {"length": 7, "remaining": 4, "name": None},
    }  # fmt: skip
    assert (far["name"], far["target"], far["freeze_price"], far["next_milestone"]) == ("Far", 12.5, None, None)


async def test_time_freezes_and_breaks_a_streak_and_staff_put_it_back(app: Live) -> None:
    await run_daily(app, 3)
    bought = await ask(app, "daily/freezes", "buy-1", count=0)
    assert bought.status_code == 422
    await app.client.post(
        "/v1/members/ada/earn", json={"currency": "points", "amount": 70}, headers={"Idempotency-Key": "e"}
    )
    for _ in range(2):  # the repetition changes nothing
        bought = await ask(app, "daily/freezes", "buy-2", count=2)
        assert bought.status_code == 200, bought.text
    assert bought.headers["Idempotency-Replayed"] == "true"
    assert bought.json()["streak"]["freezes"] == 2
    assert [each["kind"] for each in bought.json()["transactions"]] == ["spend"]
    assert await app.balance("ada") == 0
    refused_with(await ask(app, "daily/freezes", "buy-3"), 409)
    await advance(app, "72h")
    daily = (await read(app))["daily"]
    assert (daily["length"], daily["freezes"], daily["kept"], daily["at_risk"]) == (3, 0, False, True)
    await advance(app, "24h")
    daily = (await read(app))["daily"]
    assert (daily["length"], daily["best"], daily["lost"], daily["at_risk"]) == (0, 3, 3, False)
    restored = await ask(app, "daily/restore", "back", reason="outage")
    assert restored.status_code == 200, restored.text
    assert restored.json()["streak"]["length"] == 3
    assert restored.json()["effects"][0]["reason"] == "outage"
    assert (await read(app))["daily"]["length"] == 3
    assert refused_with(await ask(app, "daily/restore", "again", reason="outage"), 409)["code"] == "streak-not-broken"


async def test_a_streak_is_paused_and_resumed(app: Live) -> None:
    await run_daily(app, 2)
    assert refused_with(await ask(app, "far/pause", "p0", **{"for": "7d"}), 409)["code"] == "streak-not-pausable"
    too_long = refused_with(await ask(app, "daily/pause", "p1", **{"for": "31d"}), 422)
    assert too_long["errors"] == [
        {"path": "for", "message": "daily can be paused for so long only", "expected": "at most 30d"}
    ]
    paused = await ask(app, "daily/pause", "p2", **{"for": "7d"})
    assert paused.status_code == 200, paused.text
    assert refused_with(await ask(app, "daily/pause", "p3", **{"for": "7d"}), 409)["code"] == "streak-paused"
    await advance(app, "5d")
    daily = (await read(app))["daily"]
    assert (daily["length"], daily["at_risk"], daily["paused_until"] is not None) == (2, False, True)
    resumed = await ask(app, "daily/resume", "p4")
    assert resumed.status_code == 200, resumed.text
    assert refused_with(await ask(app, "daily/resume", "p5"), 409)["code"] == "streak-not-paused"
    await advance(app, "3d")
    assert (await read(app))["daily"]["length"] == 0


async def test_pauses_of_a_year_are_bounded(app: Live) -> None:
    await run_daily(app, 1)
    renews = (await read(app))["daily"]["pauses"]["renews_at"]
    assert (await ask(app, "daily/pause", "p1", **{"for": "30d"})).status_code == 200
    assert (await ask(app, "daily/resume", "p2")).status_code == 200  # begun on this day, so one of sixty is used
    assert (await read(app))["daily"]["pauses"]["left_seconds"] == 60 * 86_400  # and goes on if it is paused anew today
    until = datetime.fromisoformat(renews) - datetime.now(UTC)
    days = until.days
    if days < 90:
        await advance(app, f"{days + 2}d")
        await run_daily(app, 1)
    for key in ("p3", "p4"):
        assert (await ask(app, "daily/pause", key, **{"for": "30d"})).status_code == 200
        await advance(app, "30d")
        await run_daily(app, 1)
    told = refused_with(await ask(app, "daily/pause", "p5", **{"for": "1d"}), 409)
    renews = (await read(app))["daily"]["pauses"]["renews_at"]
    assert told["code"] == "streak-pauses-used-up"
    assert datetime.fromisoformat(told["next_at"]) == datetime.fromisoformat(renews)
    assert told["detail"].endswith(f"the next pause may begin at {told['next_at']}")


async def test_freezes_are_given_for_a_reason(app: Live) -> None:
    given = await ask(app, "daily/freezes", "g1", count=1, free=True, reason="goodwill")
    assert given.status_code == 200, given.text
    assert (given.json()["streak"]["freezes"], given.json().get("transactions")) == (1, None)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("daily/freezes", {}, 402, "insufficient-points"),
        ("far/freezes", {}, 409, "freezes-not-for-sale"),
        ("weekly/freezes", {}, 404, "unknown-streak"),
        ("daily/pause", {"for": "7d"}, 409, "streak-not-running"),
        ("daily/pause", {"for": "7 days"}, 422, "invalid-input"),
        ("daily/pause", {"for": "999999999d"}, 422, "invalid-input"),
        ("daily/pause", {}, 422, "invalid-input"),
        ("daily/restore", {}, 422, "invalid-input"),
        ("daily/restore", {"reason": "x", "length": 0}, 422, "invalid-input"),
    ],
)
async def test_what_is_refused(app: Live, path: str, body: dict[str, Any], status: int, code: str) -> None:
    answer = await app.client.post(
        f"/v1/members/ada/streaks/{path}", json=body, headers={"Idempotency-Key": f"{path}{body}"}
    )
    assert refused_with(answer, status)["code"] == code


async def test_an_unknown_streak_is_told_the_one_that_was_meant(app: Live) -> None:
    answer = await app.client.post("/v1/members/ada/streaks/daly/resume", headers={"Idempotency-Key": "daly"})
    assert refused_with(answer, 404)["detail"] == "the program has no streak 'daly'; did you mean daily?"


async def test_every_change_needs_a_key(app: Live) -> None:
    answer = await app.client.post("/v1/members/ada/streaks/daily/freezes", json={})
    assert refused_with(answer, 400)["code"] == "malformed-idempotency-key"


async def test_customers_read_buy_pause_and_resume_their_own(app: Live) -> None:
    await run_daily(app, 3)
    await app.client.post(
        "/v1/members/ada/earn", json={"currency": "points", "amount": 20}, headers={"Idempotency-Key": "e"}
    )
    ada = await stranger(app, "ada")

    async def daily() -> dict[str, Any]:
        return next(each for each in (await ada.get("/streaks"))["streaks"] if each["key"] == "daily")

    assert (await daily())["length"] == 3

    async def change(path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {ada.token}", "Idempotency-Key": path}
        return (await app.client.post(f"/v1/me/streaks/{path}", json=body, headers=headers)).json()

    assert (await change("daily/freezes", {}))["streak"]["freezes"] == 1
    until = datetime.fromisoformat((await change("daily/pause", {"for": "2d"}))["streak"]["paused_until"])
    assert (await daily())["paused_until"] is not None
    assert until.tzinfo is not None
    assert until - datetime.now(until.tzinfo) > timedelta(days=3)  # the sandbox's clock is two days ahead
    assert (await change("daily/resume"))["streak"]["paused_until"] is None
    # What is given away and put back is for the app and its staff.
    assert (await change("daily/freezes", {"free": True}))["status"] == 422
    assert (await change("daily/restore", {"reason": "please"}))["status"] == 404
