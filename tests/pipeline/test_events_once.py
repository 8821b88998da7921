"""An event pays once: repeats, races, reuse of an id, and batches with mistakes in them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.service import SEEDS, EventFactory, Live, another


@pytest.fixture
async def lenient(shop: Live) -> AsyncIterator[Live]:
    """The shop, keeping aside what it would refuse."""
    source = (
        (SEEDS / "shop.yaml").read_text().replace("late_window: 72h", "late_window: 72h, invalid_events: quarantine")
    )
    async with another(shop, source) as running:
        yield running


async def test_the_first_event_of_the_readme_earns_five_points(shop: Live) -> None:
    answer = await shop.event(id="evt-1", member="alice")
    assert answer["status"] == "processed"
    assert [(effect["type"], effect["amount"], effect["rule"]) for effect in answer["effects"]] == [
        ("earn", 5, "audio_interest")
    ]
    assert answer["balances"]["points"] == {"available": 5, "pending": 0, "held": 0, "debt": 0}
    assert await shop.balance("alice") == 5


async def test_a_repeat_answers_what_was_said_the_first_time(shop: Live) -> None:
    first = await shop.event(id="again", member="repeat")
    await shop.event(type="order_placed", member="repeat", properties={"order_id": "o1", "total": 10})
    second = await shop.event(id="again", member="repeat")
    assert second == {**first, "status": "duplicate"}
    assert await shop.balance("repeat") == 15


async def test_twenty_racing_repeats_pay_once(shop: Live) -> None:
    event = EventFactory(id="race", member="racer")
    answers = await asyncio.gather(*(shop.client.post("/v1/events", json=event) for _ in range(20)))
    assert sorted(answer.json()["status"] for answer in answers) == ["duplicate"] * 19 + ["processed"]
    assert len({answer.json()["effects"][0]["transaction"] for answer in answers}) == 1
    assert await shop.balance("racer") == 5


async def test_the_same_id_with_other_content_changes_nothing(shop: Live) -> None:
    await shop.event(id="reused", member="reuser")
    other = EventFactory(id="reused", member="reuser", properties={"category": "audio", "dwell_seconds": 43})
    answer = await shop.client.post("/v1/events", json=other)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:rewards:problem:id-reused"
    assert await shop.balance("reuser") == 5


async def test_the_same_id_for_another_member_is_another_event(shop: Live) -> None:
    await shop.event(id="shared", member="one-of-two")
    answer = await shop.event(id="shared", member="two-of-two")
    assert answer["status"] == "processed"


async def test_one_wrong_event_spoils_no_other(shop: Live) -> None:
    events = [EventFactory(member="batch") for _ in range(5)]
    events[1]["properties"] = {"dwell_seconds": "9"}
    events[2]["type"] = "no_such_type"
    events[3]["surplus"] = 1
    answer = await shop.client.post("/v1/events/batch", json={"events": events})
    assert answer.status_code == 200
    results = answer.json()["results"]
    statuses = [result["status"] for result in results]
    assert statuses[0] == "processed"
    assert statuses[3] == "rejected"
    assert statuses[4] == "processed"
    assert [result["id"] for result in results] == [event["id"] for event in events]
    assert await shop.balance("batch") == 5  # once a day


@pytest.mark.parametrize(
    ("query", "balance"),
    [
        ("?dry_run=true", 0),
        ("?trace=true", 5),
    ],
)
async def test_dry_runs_commit_nothing_and_traces_explain(shop: Live, query: str, balance: int) -> None:
    member = f"query-{balance}"
    answer = await shop.client.post(f"/v1/events{query}", json=EventFactory(member=member))
    assert answer.json()["effects"][0]["amount"] == 5
    assert await shop.balance(member) == balance
    if "trace" in query:
        fired = {line["rule"]: line["result"] for line in answer.json()["trace"] if "rule" in line}
        assert fired["audio_interest"] == "fired"


@pytest.mark.parametrize(
    ("query", "sent", "ignored"),
    [
        ("?dry_run=true", {"categry": "audio", "dwell_seconds": 1, "Price": 2}, ["Price", "categry"]),
        ("?trace=true", {"categry": "audio", "dwell_seconds": 1}, ["categry"]),
        ("?trace=true", {"category": "audio"}, None),
        ("", {"categry": "audio"}, None),
    ],
)
async def test_whoever_asks_why_hears_which_properties_were_ignored(
    shop: Live, query: str, sent: dict[str, Any], ignored: list[str] | None
) -> None:
    event = EventFactory(properties=sent)
    by_the_short_way = await shop.client.post(f"/v1/events{query}", json=event)
    by_the_framework = await shop.client.post(f"/v1/events{query}", json=event, headers={"Origin": "https://x"})
    answers = [by_the_short_way.json(), by_the_framework.json()]
    if "dry_run" not in query:
        answers += (await shop.client.post(f"/v1/events/batch{query}", json={"events": [event]})).json()["results"]
    assert [answer["status"] in {"processed", "duplicate"} for answer in answers] == [True] * len(answers)
    assert [answer.get("ignored") for answer in answers] == [ignored] * len(answers)


async def test_a_dry_run_names_no_transaction_since_there_is_none(shop: Live) -> None:
    event = EventFactory(member="dry")
    dry = (await shop.client.post("/v1/events?dry_run=true", json=event)).json()
    real = (await shop.client.post("/v1/events", json=event)).json()
    (effect,) = real["effects"]
    transaction = effect.pop("transaction")
    assert dry == {**real, "dry_run": True}
    assert (await shop.client.get(f"/v1/transactions/{transaction}")).status_code == 200
    again = (await shop.client.post("/v1/events?dry_run=true", json=event)).json()
    assert (again["status"], again["effects"][0]["transaction"]) == ("duplicate", transaction), "this one exists"


@pytest.mark.parametrize(
    ("wrong", "status", "reason"),
    [
        ({"type": "no_such_type"}, "quarantined", ("invalid-input", "declares no event type", "type")),
        (
            {"properties": {"dwell_seconds": "9"}},
            "quarantined",
            ("schema-violation", "dwell_seconds", "properties.dwell_seconds"),
        ),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, "too_late", ("too-late", "3 days", "occurred_at")),
    ],
    ids=["unknown type", "wrong property", "too late"],
)
async def test_an_event_that_is_not_decided_says_why(
    lenient: Live, wrong: dict[str, Any], status: str, reason: tuple[str, str, str]
) -> None:
    event = EventFactory(member="puzzled", **wrong)
    answers = [(await lenient.client.post("/v1/events", json=event)).json() for _ in range(2)]
    other = EventFactory(member="puzzled", **wrong)
    batch = await lenient.client.post("/v1/events/batch", json={"events": [other, other]})
    answers += batch.json()["results"]
    code, part, path = reason
    assert [answer["status"] for answer in answers] == [status, "duplicate", status, "duplicate"]
    for answer in answers:
        assert (answer["reason"]["code"], answer["reason"]["path"]) == (code, path)
        assert part in answer["reason"]["message"]
        right = {"expected"} if status == "quarantined" else set()
        assert set(answer["reason"]) == {"code", "message", "path"} | right
    kept = (await lenient.client.get(f"/v1/members/puzzled/events/{event['id']}")).json()
    assert kept["reason"] == answers[0]["reason"]


async def test_an_event_accepted_for_later_is_decided_once(shop: Live) -> None:
    event = EventFactory(member="later")
    for _ in range(2):
        answer = await shop.client.post("/v1/events?mode=async", json=event)
        assert answer.status_code == 202
    assert await shop.balance("later") == 0
    await shop.worker.run_due()
    assert await shop.balance("later") == 5
    assert (await shop.event(**event))["status"] == "duplicate"
