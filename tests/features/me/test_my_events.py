"""Events straight from the browser: which may be sent, how the token comes along, and when they happened."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.features.customers import Customer, refused_with, stranger
from tests.service import Live

VIEW = {"type": "product_viewed", "properties": {"category": "audio", "dwell_seconds": 42}}


async def sent(customer: Customer, body: Any, **more: Any) -> httpx.Response:
    return await customer.send("POST", "/me/events", json=body, **more)


async def test_an_event_earns_for_the_member_of_the_token(shop: Live) -> None:
    ada = await stranger(shop, "me-ada")
    answer = (await sent(ada, {"id": "v-1", **VIEW})).json()
    assert (answer["status"], answer["effects"][0]["amount"]) == ("processed", 5)
    assert await shop.balance("me-ada") == 5


async def test_the_same_event_pays_each_member_once(shop: Live) -> None:
    ada, bob = await stranger(shop, "me-once"), await stranger(shop, "me-other")
    other_device = await stranger(shop, "me-once")
    senders = (ada, ada, other_device, bob)
    statuses = [(await sent(each, {"id": "same", **VIEW})).json()["status"] for each in senders]
    assert statuses == ["processed", "duplicate", "duplicate", "processed"]
    assert [await shop.balance(member) for member in ("me-once", "me-other")] == [5, 5]


async def test_another_event_under_the_same_id_is_refused(shop: Live) -> None:
    ada = await stranger(shop, "me-reuse")
    await sent(ada, {"id": "v", **VIEW})
    assert refused_with(await sent(ada, {"id": "v", "type": "app_opened"}), 422)["code"] == "id-reused"


async def test_in_a_batch_one_that_is_wrong_spoils_no_other(shop: Live) -> None:
    ada = await stranger(shop, "me-batch")
    events: list[Any] = [
        {"id": "b-1", **VIEW},
        {"id": "b-2", "type": "order_placed", "properties": {"order_id": "o", "total": 9000}},
        {"id": "b-3", "type": "app_opened", "member": "somebody else"},
        {"id": "", "type": "app_opened"},
        {"id": "b-4", "type": "app_opened"},
    ]
    answer = await sent(ada, {"events": events})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["processed", "rejected", "rejected", "rejected", "processed"]
    assert [result["id"] for result in results] == ["b-1", "b-2", "b-3", "", "b-4"]
    assert results[2]["error"]["errors"][0]["path"] == "events[2].member"
    assert await shop.balance("me-batch") == 5


async def test_only_what_browsers_may_send(shop: Live) -> None:
    ada = await stranger(shop, "me-forger")
    order = {"id": "o-1", "type": "order_placed", "properties": {"order_id": "o", "total": 9000}}
    refused = await sent(ada, order)
    assert refused.status_code in {403, 422}
    assert await shop.balance("me-forger") == 0


@pytest.mark.parametrize(
    "media_type", ["text/plain;charset=UTF-8", "application/json", "application/x-www-form-urlencoded"]
)
async def test_a_page_that_is_left_sends_the_token_in_the_body(shop: Live, media_type: str) -> None:
    ada = await stranger(shop, f"me-left-{len(media_type)}")
    body = json.dumps({"token": ada.token, "events": [{"id": "left", **VIEW}]})
    headers = {"Content-Type": media_type, "Origin": "https://shop.example", "Authorization": ""}
    answer = await _without_key(shop, body, headers)
    assert (answer.status_code, answer.json()["results"][0]["status"]) == (200, "processed")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


async def test_a_compressed_body(shop: Live) -> None:
    ada = await stranger(shop, "me-packed")
    body = gzip.compress(json.dumps({"token": ada.token, "events": [{"id": "packed", **VIEW}]}).encode())
    answer = await _without_key(shop, body, {"Content-Encoding": "gzip"})
    assert answer.json()["results"][0]["status"] == "processed"
    bomb = gzip.compress(b" " * 1_000_000)
    assert refused_with(await _without_key(shop, bomb, {}), 413)["code"] == "body-too-large"


async def _without_key(shop: Live, body: str | bytes, headers: dict[str, str]) -> httpx.Response:
    request = shop.client.build_request("POST", "/v1/me/events", content=body, headers=headers)
    del request.headers["Authorization"]
    return await shop.client.send(request)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "x", **VIEW}, 401),
        ({"id": "x", **VIEW, "token": None}, 401),
        ({"id": "x", **VIEW, "token": 7}, 401),
        ({"id": "x", **VIEW, "token": "mt_forged"}, 401),
        ({"events": [{"id": "x", **VIEW, "token": "mt_forged"}]}, 401),
    ],
)
async def test_without_a_token_nothing_is_taken(shop: Live, body: Any, status: int) -> None:
    answer = await _without_key(shop, json.dumps(body), {"Origin": "https://shop.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, "https://shop.example")


async def test_a_key_in_the_body_opens_nothing(shop: Live) -> None:
    answer = await _without_key(shop, json.dumps({"id": "x", **VIEW, "token": shop.server_key}), {})
    assert refused_with(answer, 403)["required"] == "a member token"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"id": "x"}, "type"),
        ({"id": "x" * 101, "type": "app_opened"}, "id"),
        ({"id": "x", "type": "app_opened", "member": "bob"}, "member"),
        ({"id": "x", "type": "app_opened", "occurred_at": "yesterday"}, "occurred_at"),
        ({"events": []}, "events"),
        ({"events": [{"id": "x", "type": "app_opened"}] * 101}, "events"),
        ({"events": {}}, "events"),
        ({"event": 1, "events": [{"id": "x", "type": "app_opened"}]}, "event"),
    ],
)
async def test_what_is_wrong_is_named(shop: Live, body: Any, path: str) -> None:
    ada = await stranger(shop, "me-wrong")
    assert refused_with(await sent(ada, body), 422)["errors"][0]["path"] == path


async def test_a_body_of_more_than_a_beacon_is_too_large(shop: Live) -> None:
    ada = await stranger(shop, "me-large")
    event = {"id": "x", "type": "app_opened", "context": {"page": "x" * 70_000}}
    assert refused_with(await sent(ada, event), 413)["code"] == "body-too-large"


@pytest.mark.parametrize(
    ("clock_minutes", "told"),
    [
        (0, True),
        (120, True),  # the browser's clock is two hours fast
        (-120, True),
        (-120, False),  # and it does not say what it thinks the time is
    ],
)
async def test_a_wrong_clock_is_put_right(shop: Live, clock_minutes: int, told: bool) -> None:
    member = f"me-clock-{clock_minutes}-{told}"
    ada = await stranger(shop, member)
    now = datetime.now(UTC)
    clock = now + timedelta(minutes=clock_minutes)
    body = {"id": "c", **VIEW, "occurred_at": (clock - timedelta(minutes=30)).isoformat()}
    if told:
        body["sent_at"] = clock.isoformat()
    assert (await sent(ada, body)).json()["status"] == "processed"
    [event] = (await shop.client.get(f"/v1/members/{member}/events")).json()["items"]
    happened = datetime.fromisoformat(event["occurred_at"])
    minutes_ago = round((now - happened).total_seconds() / 60)
    assert minutes_ago == (30 if told else 150)


async def test_a_repeat_that_is_sent_later_is_the_same_event(shop: Live) -> None:
    ada = await stranger(shop, "me-later")
    occurred_at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    event = {"id": "l", **VIEW, "occurred_at": occurred_at}
    first = await sent(ada, {"events": [event], "sent_at": occurred_at})
    second = await sent(ada, {"events": [event], "sent_at": datetime.now(UTC).isoformat()})
    assert [answer.json()["results"][0]["status"] for answer in (first, second)] == ["processed", "duplicate"]
