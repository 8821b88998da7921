"""What a member did, what came of it, and why."""

from typing import Any

import pytest
from tests.features.bank import DOCUMENT, Bank, problem

STRICT = DOCUMENT.replace("invalid_events: quarantine", "invalid_events: reject")
ORDER: dict[str, Any] = {"type": "order_placed", "properties": {"order_id": "o-1", "total": 40}}


async def test_an_event_tells_what_it_did_and_why(bank: Bank) -> None:
    answer = await bank.live.event(id="told", member="tells", context={"device": "ios"}, **ORDER)
    event = await bank.get("/members/tells/events/told", contributions=True)
    assert (event["id"], event["member"], event["type"], event["status"]) == (
        "told",
        "tells",
        "order_placed",
        "processed",
    )
    assert (event["properties"], event["context"]) == (ORDER["properties"], {"device": "ios"})
    assert (event["effects"], event["balances"]) == (answer["effects"], answer["balances"])
    assert {entry["rule"]: entry["result"] for entry in event["trace"]} == {
        "purchase": "fired",
        "big_purchase": "condition_false",
    }
    [caused] = event["transactions"]
    assert caused == {
        "id": answer["effects"][0]["transaction"],
        "kind": "earn",
        "currency": "points",
        "amount": 40,
        "rule": "purchase",
    }
    assert (await bank.get(f"/transactions/{caused['id']}"))["event"]["entry"] == event["entry"]
    assert event["contributions"] == []
    assert "contributions" not in await bank.get("/members/tells/events/told")


async def test_contributions_name_their_metric(bank: Bank) -> None:
    await bank.live.event(id="visit", member="counts", type="visited", properties={})
    [part] = (await bank.get("/members/counts/events/visit", contributions=True))["contributions"]
    assert part["metric"] == "visits"


async def test_a_name_of_the_sdk_is_stored_by_its_key(bank: Bank) -> None:
    await bank.live.event(id="aka", member="sdk", **{**ORDER, "type": "Order Completed"})
    assert (await bank.get("/members/sdk/events/aka"))["type"] == "order_placed"
    assert len((await bank.get("/members/sdk/events", type="Order Completed"))["items"]) == 1


async def test_events_are_listed_newest_first_page_by_page(bank: Bank) -> None:
    for number in range(5):
        await bank.live.event(id=f"e{number}", member="lists", type="visited", properties={})
    pages, cursor = [], None
    while True:
        page = await bank.get("/members/lists/events", limit=2, **({"cursor": cursor} if cursor else {}))
        pages.append([event["id"] for event in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [["e4", "e3"], ["e2", "e1"], ["e0"]]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, ["unfit", "unknown", "late", "order", "visit"]),
        ({"type": "visited"}, ["late", "visit"]),
        ({"type": "order_placed"}, ["unfit", "order"]),
        ({"type": "nothing"}, []),
        ({"status": "quarantined"}, ["unfit", "unknown"]),
        ({"status": "too_late"}, ["late"]),
        ({"status": "quarantined", "type": "mystery"}, ["unknown"]),
    ],
)
async def test_events_by_type_and_status(bank: Bank, query: dict[str, str], ids: list[str]) -> None:
    for event in (
        {"id": "visit", "type": "visited", "properties": {}},
        {"id": "order", **ORDER},
        {"id": "late", "type": "visited", "properties": {}, "occurred_at": "2026-01-01T00:00:00Z"},
        {"id": "unknown", "type": "mystery", "properties": {}},
        {"id": "unfit", "type": "Order Completed", "properties": {"total": "many"}},
    ):
        await bank.live.event(member="filters", **event)
    assert [event["id"] for event in (await bank.get("/members/filters/events", **query))["items"]] == ids


async def test_wrong_filters(bank: Bank) -> None:
    await bank.live.event(id="e", member="asks", type="visited", properties={})
    for query in ({"status": "lost"}, {"type": "a\0b"}, {"limit": 0}, {"limit": 201}):
        answer = await bank.live.client.get("/v1/members/asks/events", params=query)
        assert problem(answer) == (400, "malformed-parameter")


async def test_an_event_that_waits_says_so(bank: Bank) -> None:
    await bank.live.event(id="first", member="waits", type="visited", properties={})
    event = {"id": "later", "member": "waits", **ORDER}
    assert (await bank.live.client.post("/v1/events?mode=async", json=event)).status_code == 202
    assert await bank.get("/members/waits/events/later") == {"id": "later", "status": "accepted", "sent_by": "server"}
    await bank.live.worker.run_due()
    assert (await bank.get("/members/waits/events/later"))["status"] == "processed"


@pytest.mark.parametrize(("occurred_at", "in_the_end"), [(None, "processed"), ("2999-01-01T00:00:00Z", "rejected")])
async def test_the_first_event_of_a_member_is_told_of_before_there_is_a_member(
    bank: Bank, occurred_at: str | None, in_the_end: str
) -> None:
    member = f"first-{in_the_end}"
    event = {"id": "e", "member": member, "occurred_at": occurred_at, **ORDER}
    assert (await bank.live.client.post("/v1/events?mode=async", json=event)).status_code == 202
    assert (await bank.get(f"/members/{member}/events/e"))["status"] == "accepted"
    await bank.live.worker.run_due()
    assert (await bank.get(f"/members/{member}/events/e"))["status"] == in_the_end
    other = "unknown-member" if in_the_end == "rejected" else "not-found"
    assert problem(await bank.live.client.get(f"/v1/members/{member}/events/f")) == (404, other)


@pytest.mark.parametrize(
    ("event", "key", "path"),
    [
        ({"type": "order_placed", "properties": {"order_id": "o"}}, None, "properties.total"),
        (ORDER, "public", "type"),
        ({"type": "mystery"}, "public", "type"),
    ],
)
async def test_what_can_only_be_refused_is_not_accepted_for_later(
    own_bank: Bank, event: dict[str, Any], key: str | None, path: str
) -> None:
    await own_bank.publish(STRICT)
    await own_bank.live.event(id="v", member="another", type="visited", properties={})  # the version is known now
    headers = {"Authorization": f"Bearer {own_bank.live.public_key}"} if key else {}
    answer = await own_bank.live.client.post(
        "/v1/events?mode=async", json={"id": "e", "member": "bad", **event}, headers=headers
    )
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path)
    assert problem(await own_bank.live.client.get("/v1/members/bad/events/e")) == (404, "unknown-member")


async def test_a_repeat_is_accepted_although_the_program_would_refuse_it_by_now(own_bank: Bank) -> None:
    order = {"id": "o", "member": "patient", **ORDER}
    later = own_bank.live.client.post
    assert (await later("/v1/events?mode=async", json=order)).status_code == 202
    await own_bank.publish(
        STRICT.replace("order_id: text, total: {type: integer}", "order_id: text, total: {type: integer, minimum: 41}")
    )
    await own_bank.live.event(id="v", member="another", type="visited", properties={})
    assert (await later("/v1/events?mode=async", json=order)).status_code == 202
    other = await later("/v1/events?mode=async", json={**order, "id": "p"})
    assert other.status_code == 422


async def test_an_event_of_somebody_else_is_not_there(bank: Bank) -> None:
    await bank.live.event(id="mine", member="has-one", type="visited", properties={})
    await bank.live.event(id="other", member="has-another", type="visited", properties={})
    assert problem(await bank.live.client.get("/v1/members/has-one/events/other")) == (404, "not-found")
