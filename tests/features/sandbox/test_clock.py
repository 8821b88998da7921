"""The test clock: what falls due on the way happens, in order and once, and live programs have no such clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.command import rewards
from tests.service import Live, another, create_database, live, service_settings

from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.ledger.verification import Verification

PROGRAM = """
rewards: 1
program: {key: shop, timezone: UTC}
currencies:
  coins: {hold: 3d}
  points: {expires: {after: 10d}}
  idle: {expires: {inactive: 20d}}
events:
  ordered: {properties: {total: integer}}
  browsed: {}
  missed: {}
metrics:
  recent: {count: ordered, over: 7d}
segments:
  active: metrics.recent > 0
rules:
  - {key: order, on: ordered, then: [{earn: {currency: coins, amount: event.total}}, {earn: {currency: idle, amount: 1}}]}
  - {key: thanks, on: ordered, delay: 1d, then: [{earn: {currency: points, amount: 2}}]}
  - key: silent
    on: ordered
    quiet: {for: 2d, of: [ordered, browsed]}
    then: [{earn: {currency: points, amount: 3}}, {event: {type: missed}}]
  - {key: chained, on: missed, delay: 1d, then: [{earn: {currency: points, amount: 5}}]}
  - {key: loyal, on: browsed, delay: 1h, still: metrics.recent > 0, then: [{earn: {currency: points, amount: 9}}]}
  - {key: left, on: segment.left, then: [{earn: {currency: points, amount: 7}}]}
"""


@pytest.fixture(scope="module")
async def sandbox(database_url: str, redis_url: str) -> AsyncIterator[Live]:
    url = await create_database(database_url, "sandbox_clock")
    async with live(service_settings(url, redis_url), PROGRAM, kind="sandbox") as running:
        yield running


async def advance(running: Live, length: str) -> httpx.Response:
    return await running.client.post("/v1/sandbox/clock", json={"advance": length})


async def now(running: Live) -> datetime:
    return datetime.fromisoformat((await running.client.get("/v1/sandbox/clock")).json()["now"])


async def entries(running: Live, member: str, began: datetime) -> list[tuple[str, str, int, int]]:
    """Kind, currency, amount and days since the beginning of every ledger entry, the oldest first."""
    found = (await running.client.get(f"/v1/members/{member}/statement?limit=100")).json()["items"]
    rows = [
        (datetime.fromisoformat(each["effective_at"]), each["kind"], each["currency"], each["amount"])
        for each in reversed(found)
    ]
    rows.sort(key=lambda row: row[0])
    return [(kind, currency, amount, round((at - began) / timedelta(days=1))) for at, kind, currency, amount in rows]


async def test_everything_that_falls_due_on_the_way_happens_in_order(sandbox: Live) -> None:
    began = await now(sandbox)
    await sandbox.event(type="ordered", member="ada", properties={"total": 10})
    answer = await advance(sandbox, "30d")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert datetime.fromisoformat(body["now"]) - began >= timedelta(days=30)
    assert body["moments"] >= 6
    assert await entries(sandbox, "ada", began) == [
        ("earn", "coins", 10, 0),
        ("earn", "idle", 1, 0),
        ("earn", "points", 2, 1),
        ("earn", "points", 3, 2),
        ("mature", "coins", 10, 3),
        ("earn", "points", 5, 3),
        ("earn", "points", 7, 7),
        ("expire", "points", 2, 11),
        ("expire", "points", 3, 12),
        ("expire", "points", 5, 13),
        ("expire", "points", 7, 17),
        ("expire", "idle", 1, 20),
    ]
    assert await sandbox.balance("ada", "points") == 0
    assert await sandbox.balance("ada", "coins") == 10


async def test_what_time_did_can_be_explained(sandbox: Live) -> None:
    sent = await sandbox.event(type="ordered", member="ben", properties={"total": 10})
    await advance(sandbox, "25h")
    page = (await sandbox.client.get("/v1/members/ben/statement?currency=points")).json()
    [paid] = page["items"]
    told = (await sandbox.client.get(f"/v1/transactions/{paid['id']}")).json()
    assert (told["source"], told["event"]["id"]) == ("rule:thanks", sent["id"])
    events = (await sandbox.client.get("/v1/members/ben/events")).json()["items"]
    assert [each["type"] for each in events] == ["time.passed", "ordered"]
    passed = (await sandbox.client.get(f"/v1/members/ben/events/{events[0]['id']}")).json()
    assert (passed["entry"], passed["effects"]) == (events[0]["entry"], events[0]["effects"])
    assert [(each["rule"], each["result"]) for each in passed["trace"]] == [("thanks", "fired")]
    assert [(each["id"], each["amount"], each["rule"]) for each in passed["transactions"]] == [
        (paid["id"], 2, "thanks")
    ]
    verification = Verification(sandbox.service.engine, await sandbox.service.programs.get(sandbox.program_id))
    findings = [found async for found in verification.each_bucket(await verification.buckets())]
    assert sum(findings, await verification.house()) == []


async def test_a_rule_that_waited_in_vain_says_why(sandbox: Live) -> None:
    await sandbox.event(type="browsed", member="dan")
    await advance(sandbox, "1d")
    [passed, _] = (await sandbox.client.get("/v1/members/dan/events")).json()["items"]
    told = (await sandbox.client.get(f"/v1/members/dan/events/{passed['id']}")).json()
    [why] = told["trace"]
    assert (why["rule"], why["result"], why["seen"]) == ("loyal", "condition_false", {"metrics.recent": 0})
    assert (told["effects"], told["transactions"], told["sent_by"]) == ([], [], None)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("{id}", "?sent_by=server"),                         # nobody sent it
        ("{entry}", ""),
        ("backfill:{entry}", ""),
        ("time.passed:01a2040c-0405-8750-8020-0093069505d9", ""),
        ("time.passed:", ""),
    ],
)  # fmt: skip
async def test_what_time_did_goes_by_its_own_name_alone(sandbox: Live, name: str, query: str) -> None:
    member = f"fay-{len(name)}"
    await sandbox.event(type="browsed", member=member)
    await advance(sandbox, "1d")
    [passed, _] = (await sandbox.client.get(f"/v1/members/{member}/events")).json()["items"]
    answer = await sandbox.client.get(f"/v1/members/{member}/events/{name.format(**passed)}{query}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_two_that_move_the_clock_at_once_pay_once(sandbox: Live) -> None:
    await sandbox.event(type="ordered", member="eve", properties={"total": 10})
    answers = await asyncio.gather(*(advance(sandbox, "26h") for _ in range(3)))
    assert {answer.status_code for answer in answers} == {200}
    page = (await sandbox.client.get("/v1/members/eve/statement?currency=points")).json()
    assert [each["amount"] for each in page["items"] if each["kind"] == "earn"][-1] == 2
    assert sum(each["amount"] == 2 for each in page["items"]) == 1


@pytest.mark.parametrize("length", ["0d", "3 d", "-1d", "12mo", "401d", "293362d", "", None, 3])
async def test_a_length_that_is_none_moves_nothing(sandbox: Live, length: Any) -> None:
    before = await now(sandbox)
    answer = await sandbox.client.post("/v1/sandbox/clock", json={"advance": length})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["path"] == "advance"
    assert await now(sandbox) - before < timedelta(minutes=1)


async def test_a_live_program_has_no_such_clock(shop: Live) -> None:
    async with another(shop, PROGRAM) as running:
        for answer in (await advance(running, "1d"), await running.client.get("/v1/sandbox/clock")):
            assert (answer.status_code, answer.json()["code"]) == (409, "not-a-sandbox")


async def test_the_clock_needs_the_scope_program(sandbox: Live) -> None:
    token, _ = await create_key(
        sandbox.service.engine,
        sandbox.service.secret_key,
        program_id=sandbox.program_id,
        request=KeyRequest("reader", scopes=("read", "events")),
        actor="tests",
    )
    answer = await sandbox.client.get("/v1/sandbox/clock", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403


async def test_a_sandbox_is_made_from_a_program(shop: Live, migrated_url: str, redis_url: str) -> None:
    async with another(shop, PROGRAM) as running:
        command = rewards(migrated_url, redis_url)
        made = await command("sandbox", "create", "--program", running.program_key)
        assert made.returncode == 0, made.stderr
        assert f"`{running.program_key}_sandbox` decides by version 1" in made.stderr
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        event = {"id": "s1", "type": "ordered", "member": "sam", "properties": {"total": 5}}
        assert (await running.client.post("/v1/events", json=event, headers=headers)).status_code == 200
        moved = await running.client.post("/v1/sandbox/clock", json={"advance": "4d"}, headers=headers)
        assert moved.status_code == 200, moved.text
        wallet = (await running.client.get("/v1/members/sam/wallet", headers=headers)).json()
        assert wallet["currencies"]["coins"]["balances"]["available"] == 5
        assert (await running.client.get("/v1/members/sam")).status_code == 404, "its members are its own"
        for key, says in (
            (f"{running.program_key}_sandbox", "exists; name another one with --key"),
            ("Trial2", "'Trial2' cannot be a program's key\n  key: expected lower-case letters"),
            ("trial\n", "cannot be a program's key"),
            ("t" * 65, "at most 64 characters"),
        ):
            refused = await command("sandbox", "create", "--program", running.program_key, "--key", key)
            assert (refused.returncode, refused.stdout, says in refused.stderr) == (1, "", True), refused.stderr


async def test_a_move_that_is_asked_for_again_under_its_key_happens_once(sandbox: Live) -> None:
    headers = {"Idempotency-Key": "one-day"}
    first = await sandbox.client.post("/v1/sandbox/clock", json={"advance": "1d"}, headers=headers)
    again = await sandbox.client.post("/v1/sandbox/clock", json={"advance": "1d"}, headers=headers)
    other = await sandbox.client.post("/v1/sandbox/clock", json={"advance": "2d"}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 422), other.text
    assert other.json()["type"].endswith("id-reused")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    moved = datetime.fromisoformat(again.json()["now"]) - datetime.fromisoformat(first.json()["now"])
    assert moved < timedelta(hours=1)
    assert again.json()["moments"] == first.json()["moments"]


async def test_moves_of_one_key_that_race_go_to_one_place(sandbox: Live) -> None:
    began = await now(sandbox)
    headers = {"Idempotency-Key": "raced"}
    answers = await asyncio.gather(
        *(sandbox.client.post("/v1/sandbox/clock", json={"advance": "1d"}, headers=headers) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert timedelta(days=1) <= await now(sandbox) - began < timedelta(days=1, hours=1)
