"""Members: who they are, however they are written, after a merge too; and what of a profile may change."""

from typing import Any

import pytest
from tests.features.bank import DOCUMENT, Bank, problem
from tests.service import Live

from rewards.domain.commands import MemberRef, MergeOut
from rewards.pipeline.intake import Addressed


async def change(bank: Bank, member: str, *, key: str | None = None, **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await bank.live.client.patch(f"/v1/members/{member}", json=body, headers=headers)


async def merge(live: Live, member: str, into: str) -> None:
    """As `alias` does: the first member gives all it has to the second."""
    published = await live.service.programs.get(live.program_id)
    target = MemberRef.parse(into)
    command = MergeOut(target, published.identity.member(target))
    await live.service.intake.one(live.program_id, Addressed(MemberRef.parse(member), command, None, {}, "tests"))
    await live.worker.run_due()


async def test_a_member_with_attributes_segments_and_balances(bank: Bank) -> None:
    for number in range(2):
        await bank.live.event(id=f"visit-{number}", type="visited", member="whole-member", properties={})
    await bank.earn("whole-member", 5)
    await change(bank, "whole-member", attributes={"plan": "gold"}, locale="de-AT", timezone="Europe/Vienna")
    member = await bank.get("/members/whole-member")
    assert member.pop("created_at")
    balances = member.pop("balances")
    assert balances["points"] == {"available": 5, "pending": 0, "held": 0, "debt": 0}
    assert sorted(balances) == ["credit", "miles", "points", "status"]
    assert member == {
        "member": "whole-member",
        "kind": "user",
        "merged_into": None,
        "attributes": {"plan": "gold"},
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "segments": ["regulars"],
    }


@pytest.mark.parametrize(
    ("sent", "path", "kind"),
    [
        ("plain", "plain", "user"),
        ("plain-2", "user:plain-2", "user"),
        ("user:plain-3", "plain-3", "user"),
        ("anon:a-1", "anon:a-1", "anon"),
        ("anon:a-2", "anon%3Aa-2", "anon"),
        ("group:team", "group:team", "group"),
        ("auth0|77", "auth0%7C77", "user"),
        ("ann@shop.example", "ann@shop.example", "user"),
        ("Zoë Müller", "Zo%C3%AB%20M%C3%BCller", "user"),
        ("a+b", "a+b", "user"),
        ("100%", "100%25", "user"),
        ("what?#", "what%3F%23", "user"),
        ("arn:shop/7", "arn:shop%2F7", "user"),
        ("/", "%2f", "user"),
        ("%2F", "%252F", "user"),
    ],
)
async def test_a_member_is_found_however_it_is_written(bank: Bank, sent: str, path: str, kind: str) -> None:
    await bank.live.event(id="found", type="visited", member=sent, properties={})
    member = await bank.get(f"/members/{path}")
    assert (member["member"], member["kind"]) == (sent.removeprefix("user:"), kind)
    assert (await bank.get(f"/members/{path}/events/found"))["status"] == "processed"


async def test_ids_that_are_none(bank: Bank) -> None:
    assert problem(await bank.live.client.get("/v1/members/anon:")) == (422, "invalid-input")
    assert problem(await bank.live.client.get(f"/v1/members/{'x' * 201}")) == (422, "invalid-input")


async def test_a_merged_member_reads_as_the_one_it_became(bank: Bank) -> None:
    await bank.earn("anon:device", 30)
    await bank.live.event(id="before", type="visited", member="anon:device", properties={})
    await bank.earn("known", 12)
    await merge(bank.live, "anon:device", "known")
    for path in ("", "/wallet", "/statement", "/expiring", "/balance"):
        answer = await bank.get(f"/members/anon:device{path}")
        assert (answer["member"], answer["merged_into"]) == ("anon:device", "known")
    assert await bank.buckets("anon:device") == await bank.buckets("known") == (42, 0, 0, 0)
    # What it did is still told under the id that it was sent with.
    assert (await bank.get("/members/anon:device/events/before"))["status"] == "processed"
    assert [event["id"] for event in (await bank.get("/members/anon:device/events"))["items"]] == ["before"]
    await bank.spend("anon:device", 2)
    assert await bank.buckets("known") == (40, 0, 0, 0)


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"attributes": {"plan": 7}}, ["attributes.plan"]),
        ({"attributes": {"plann": "gold"}}, ["attributes.plann"]),
        ({"timezone": "Europe/Berln"}, ["timezone"]),
        ({"timezone": "../../etc/passwd"}, ["timezone"]),
        ({"timezone": "Europe"}, ["timezone"]),
        ({"locale": "de_DE"}, ["locale"]),
        ({"locale": "german language"}, ["locale"]),
        ({"locale": ""}, ["locale"]),
        ({"locale": 7}, ["locale"]),
        ({"surplus": 1}, ["surplus"]),
        (
            {"attributes": {"plan": 7, "age": -1, "shoe": 44}, "timezone": "Mars", "locale": "?"},
            ["attributes.plan", "attributes.age", "attributes.shoe", "locale", "timezone"],
        ),
    ],
)
async def test_all_mistakes_of_a_profile_are_told_at_once(bank: Bank, body: dict[str, Any], paths: list[str]) -> None:
    await change(bank, "mistaken", attributes={"plan": "silver"})
    answer = await change(bank, "mistaken", **body)
    assert answer.status_code == 422, answer.text
    assert [mistake["path"] for mistake in answer.json()["errors"]] == paths
    member = await bank.get("/members/mistaken")
    assert (member["attributes"], member["locale"], member["timezone"]) == ({"plan": "silver"}, None, None)


async def test_what_is_null_goes_and_what_is_not_named_stays(bank: Bank) -> None:
    await change(bank, "changes", attributes={"plan": "gold", "age": 30}, locale="pt-BR", timezone="Asia/Tokyo")
    answer = (await change(bank, "changes", attributes={"age": None}, timezone=None)).json()
    assert (answer["attributes"], answer["locale"], answer.get("timezone")) == ({"plan": "gold"}, "pt-BR", None)
    member = await bank.get("/members/changes")
    assert (member["attributes"], member["locale"], member["timezone"]) == ({"plan": "gold"}, "pt-BR", None)


async def test_what_the_program_declares_no_more_can_still_be_removed(own_bank: Bank) -> None:
    path = "/v1/members/ann"
    await own_bank.live.client.patch(path, json={"attributes": {"plan": "gold", "age": 7}})
    await own_bank.publish(
        DOCUMENT.replace("  age: {type: integer, minimum: 0, purpose: offers that are allowed}\n", "")
    )
    refused = await own_bank.live.client.patch(path, json={"attributes": {"age": 8}})
    assert problem(refused) == (422, "schema-violation")
    changed = await own_bank.live.client.patch(path, json={"attributes": {"age": None}})
    assert (changed.status_code, changed.json()["attributes"]) == (200, {"plan": "gold"})


async def test_a_change_under_a_key_happens_once(bank: Bank) -> None:
    first = await change(bank, "keyed", key="change", attributes={"plan": "gold"})
    await change(bank, "keyed", attributes={"plan": "silver"})
    again = await change(bank, "keyed", key="change", attributes={"plan": "gold"})
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    assert (await bank.get("/members/keyed"))["attributes"] == {"plan": "silver"}
    other = await change(bank, "keyed", key="change", attributes={"plan": "iron"})
    assert problem(other) == (422, "id-reused")
