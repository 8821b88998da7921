"""Events that do not fit are kept, shown, and decided once when the program is fixed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.features.bank import WITH_SURVEY, Bank, problem
from tests.features.members.test_members import merge

from rewards.features.ledger.verification import Verification

SURVEY: dict[str, Any] = {"type": "survey_done", "properties": {"score": 4}}


async def entries(bank: Bank, **query: Any) -> list[Any]:
    found: list[Any] = (await bank.get("/quarantine", **query))["items"]
    return found


async def replay(bank: Bank, entry: str) -> Any:
    return await bank.live.client.post(f"/v1/quarantine/{entry}/replay")


async def test_an_event_is_kept_shown_and_decided_when_the_program_knows_it(own_bank: Bank) -> None:
    occurred_at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    sent = await own_bank.live.event(id="s1", member="ann", occurred_at=occurred_at, context={"device": "tv"}, **SURVEY)
    assert (sent["status"], sent["effects"]) == ("quarantined", [])
    [entry] = await entries(own_bank)
    assert (entry["id"], entry["member"], entry["type"]) == ("s1", "ann", "survey_done")
    assert (entry["properties"], entry["context"]) == (SURVEY["properties"], {"device": "tv"})
    assert datetime.fromisoformat(entry["occurred_at"]) == datetime.fromisoformat(occurred_at)
    assert "survey_done" in entry["why"]["why"]
    assert await own_bank.get(f"/quarantine/{entry['entry']}") == entry

    still = await replay(own_bank, entry["entry"])
    assert problem(still) == (422, "invalid-input")
    assert await entries(own_bank) == [entry]

    await own_bank.publish(WITH_SURVEY)
    answer = (await replay(own_bank, entry["entry"])).json()
    assert (answer["status"], answer["program_version"]) == ("processed", 2)
    assert [(effect["rule"], effect["amount"]) for effect in answer["effects"]] == [("survey", 7)]
    assert await own_bank.buckets("ann") == (7, 0, 0, 0)
    assert await entries(own_bank) == []
    assert problem(await replay(own_bank, entry["entry"])) == (404, "not-found")

    event = await own_bank.get("/members/ann/events/s1")
    assert (event["status"], event["properties"]) == ("processed", {"score": 4})
    assert datetime.fromisoformat(event["occurred_at"]) == datetime.fromisoformat(occurred_at)
    listed = (await own_bank.get("/members/ann/events"))["items"]
    assert [(item["id"], item["status"]) for item in listed] == [("s1", "processed")]


@pytest.mark.parametrize("occurred", [True, False], ids=["with a time", "without a time"])
async def test_after_a_replay_the_sender_repeats_in_vain(own_bank: Bank, occurred: bool) -> None:
    event = {"id": "s1", "member": "ann", **SURVEY}
    if occurred:
        event["occurred_at"] = datetime.now(UTC).isoformat()
    await own_bank.live.event(**event)
    await own_bank.publish(WITH_SURVEY)
    [entry] = await entries(own_bank)
    replayed = (await replay(own_bank, entry["entry"])).json()
    repeated = await own_bank.live.event(**event)
    assert repeated == {**replayed, "status": "duplicate"}
    other = {**event, "properties": {"score": 5}}
    assert problem(await own_bank.live.client.post("/v1/events", json=other)) == (422, "id-reused")
    assert await own_bank.buckets("ann") == (7, 0, 0, 0)


async def test_a_repeat_of_what_is_quarantined_is_a_duplicate_and_pays_nothing(own_bank: Bank) -> None:
    await own_bank.live.event(id="s1", member="ann", **SURVEY)
    await own_bank.publish(WITH_SURVEY)
    assert (await own_bank.live.event(id="s1", member="ann", **SURVEY))["status"] == "duplicate"
    assert len(await entries(own_bank)) == 1


async def test_racing_replays_pay_once(own_bank: Bank) -> None:
    await own_bank.live.event(id="s1", member="ann", **SURVEY)
    await own_bank.publish(WITH_SURVEY)
    [entry] = await entries(own_bank)
    answers = await asyncio.gather(*(replay(own_bank, entry["entry"]) for _ in range(10)))
    statuses = [answer.json()["status"] for answer in answers if answer.status_code == 200]
    assert statuses.count("processed") == 1
    assert set(statuses) <= {"processed", "duplicate"}
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert await own_bank.buckets("ann") == (7, 0, 0, 0)


async def test_many_are_replayed_oldest_first_and_those_that_do_not_fit_stay(own_bank: Bank) -> None:
    for number in range(3):
        await own_bank.live.event(id=f"s{number}", member=f"m{number}", **SURVEY)
    await own_bank.live.event(id="unfit", member="m0", type="survey_done", properties={"score": "high"})
    await own_bank.live.event(id="mystery", member="m1", type="mystery", properties={})
    await own_bank.publish(WITH_SURVEY)
    client = own_bank.live.client
    first = (await client.post("/v1/quarantine/replay", json={"type": "survey_done", "limit": 2})).json()
    assert [(item["member"], item["result"]["status"]) for item in first["results"]] == [
        ("m0", "processed"),
        ("m1", "processed"),
    ]
    body = {"type": "survey_done", "limit": 2, "cursor": first["next_cursor"]}
    second = (await client.post("/v1/quarantine/replay", json=body)).json()
    assert [(item["result"]["id"], item["result"]["status"]) for item in second["results"]] == [
        ("s2", "processed"),
        ("unfit", "rejected"),
    ]
    assert second["results"][1]["result"]["error"]["code"] == "schema-violation"
    assert second["next_cursor"] is None
    assert [entry["id"] for entry in await entries(own_bank)] == ["unfit", "mystery"]
    assert [entry["id"] for entry in await entries(own_bank, type="mystery")] == ["mystery"]
    assert [await own_bank.buckets(f"m{number}") for number in range(3)] == [(7, 0, 0, 0)] * 3


async def test_lateness_counts_from_when_it_first_came(own_bank: Bank) -> None:
    long_ago = (datetime.now(UTC) - timedelta(days=5)).isoformat()
    await own_bank.live.event(id="in-time", member="ann", **SURVEY)
    await own_bank.live.event(id="too-late", member="ann", occurred_at=long_ago, **SURVEY)
    await own_bank.pass_time(days=10)
    await own_bank.publish(WITH_SURVEY)
    answer = (await own_bank.live.client.post("/v1/quarantine/replay", json={})).json()
    assert [item["result"]["status"] for item in answer["results"]] == ["processed", "too_late"]
    assert await own_bank.buckets("ann") == (7, 0, 0, 0)


async def test_after_a_merge_it_is_decided_once_for_the_one_it_became(own_bank: Bank) -> None:
    event = {"id": "s1", "member": "anon:ann", **SURVEY}
    await own_bank.live.event(**event)
    await own_bank.earn("ann", 1)
    await merge(own_bank.live, "anon:ann", "ann")
    await own_bank.publish(WITH_SURVEY)
    [entry] = await entries(own_bank)
    assert (await replay(own_bank, entry["entry"])).json()["status"] == "processed"
    assert await entries(own_bank) == []
    assert problem(await replay(own_bank, entry["entry"])) == (404, "not-found")
    repeated = await own_bank.live.event(**event)
    assert (repeated["status"], len(repeated["effects"])) == ("duplicate", 1)
    assert await own_bank.buckets("ann") == (8, 0, 0, 0)
    assert (await own_bank.get("/members/anon:ann/events/s1"))["status"] == "processed"
    verification = Verification(
        own_bank.live.service.engine, await own_bank.live.service.programs.get(own_bank.live.program_id)
    )
    assert [found async for found in verification.each_bucket(await verification.buckets()) if found] == []


async def test_a_browser_cannot_leave_what_a_later_version_would_pay_for(own_bank: Bank) -> None:
    headers = {"Authorization": f"Bearer {own_bank.live.public_key}"}
    event = {"id": "forged", "member": "eve", **SURVEY}
    answer = await own_bank.live.client.post("/v1/events", json=event, headers=headers)
    assert problem(answer) == (422, "invalid-input")
    assert await entries(own_bank) == []


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": 501}, {"limit": "1"}, {"typ": "x"}, {"cursor": "x"}])
async def test_wrong_replays(bank: Bank, body: dict[str, Any]) -> None:
    answer = await bank.live.client.post("/v1/quarantine/replay", json=body)
    assert answer.status_code in {400, 422}
    assert answer.json()["errors"]


async def test_what_is_not_in_quarantine(bank: Bank) -> None:
    await bank.live.event(id="fits", member="fits", type="visited", properties={})
    entry = (await bank.get("/members/fits/events/fits"))["entry"]
    for identifier in (entry, "01a200bf-a935-8f30-8000-00a53a57529e", "x"):
        assert problem(await bank.live.client.get(f"/v1/quarantine/{identifier}")) == (404, "not-found")
        assert problem(await replay(bank, identifier)) == (404, "not-found")
