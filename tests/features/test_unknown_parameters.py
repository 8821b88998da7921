"""Query parameters that an address does not know: refused wherever something is changed, overlooked where one only reads."""

from __future__ import annotations

import itertools
import re
from typing import Any

import httpx
import pytest
from tests.features.bank import Bank, problem
from tests.features.customers import stranger

ORDER: dict[str, Any] = {"type": "order_placed", "properties": {"order_id": "o-1", "total": 10}}
VISIT: dict[str, Any] = {"type": "visited", "properties": {}}
_numbers = itertools.count(1)


def refused(answer: httpx.Response) -> tuple[str, str | None, str]:
    """The parameter, what would be right, and the sentence."""
    assert problem(answer) == (422, "unknown-parameter"), answer.text
    [mistake] = answer.json()["errors"]
    return mistake["path"], mistake["expected"], answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "name", "ends"),
    [
        ("dryrun=true", "query.dryrun", "did you mean `dry_run`?"),
        ("dry-run=true", "query.dry-run", "did you mean `dry_run`?"),
        ("trace=true&x=1", "query.x", "`x`."),
        ("dryrun", "query.dryrun", "did you mean `dry_run`?"),
        ("dry_run=true&Trace=true", "query.Trace", "did you mean `trace`?"),
        ("=1", "query.", "``."),
        ("a%26b=%C3%A4", "query.a&b", "`a&b`."),
    ],
)
async def test_an_event_is_not_processed_as_if_nothing_more_had_been_said(
    bank: Bank, query: str, name: str, ends: str
) -> None:
    """Neither by the framework nor on the short way past it, which plain requests of a known key take."""
    member = f"misread-{next(_numbers)}"
    event = {"id": "e-1", "member": member, **ORDER}
    await bank.live.client.get("/v1/members/nobody")
    for body in ({"json": event}, {"content": httpx.Request("POST", "http://x", json=event).content}):
        answer = await bank.live.client.post(f"/v1/events?{query}", **body)
        path, expected, sentence = refused(answer)
        assert (path, expected) == (name, "none but dry_run, mode, trace")
        assert sentence.endswith(ends)
    assert (await bank.live.client.get(f"/v1/members/{member}")).status_code == 404


async def test_a_customers_event_takes_no_parameters(bank: Bank) -> None:
    browser = await stranger(bank.live, "browses")
    answer = await browser.send("POST", "/me/events?dry_run=true", json={"id": "e-1", **VISIT})
    assert refused(answer)[:2] == ("query.dry_run", "no query")
    assert (await bank.live.client.get("/v1/members/browses")).status_code == 404


async def test_every_address_that_changes_something_refuses_them(bank: Bank) -> None:
    """After the key, and before anything else is looked at; and the description says so."""
    paths = (await bank.live.client.get("/openapi.json")).json()["paths"]
    browser = await stranger(bank.live, "explores")
    tried = 0
    for path, item in paths.items():
        for method in item.keys() & {"post", "put", "patch", "delete"}:
            if not path.startswith("/v1/"):
                continue
            filled = re.sub(r"\{[^}]*\}", "00000000-0000-8000-8000-000000000000", path.replace("{number}", "1"))
            key = browser.token if f"{path}/".startswith("/v1/me/") else bank.live.server_key
            headers = {"Authorization": f"Bearer {key}"}
            answer = await bank.live.client.request(method, f"{filled}?surplus=1", headers=headers)
            assert refused(answer)[0] == "query.surplus", path
            assert "422" in item[method]["responses"], path
            tried += 1
            known = {each["name"] for each in item[method].get("parameters", ()) if each["in"] == "query"}
            assert refused(answer)[1] == (f"none but {', '.join(sorted(known))}" if known else "no query")
    assert tried > 30


async def test_known_parameters_are_taken_and_the_key_comes_first(bank: Bank) -> None:
    client = bank.live.client
    dry = await client.post("/v1/events?dry_run=true&trace=true", json={"id": "e-1", "member": "knows", **ORDER})
    assert (dry.status_code, dry.json()["status"]) == (200, "processed")
    stranger_ = await client.post("/v1/events?surplus=1", json={}, headers={"Authorization": "Bearer nobody"})
    assert problem(stranger_) == (401, "unauthorized")


async def test_reading_and_the_clients_of_others_are_not_held_to_it(bank: Bank) -> None:
    await bank.earn("read", 1)
    assert (await bank.live.client.get("/v1/members/read?surplus=1")).status_code == 200
    track = {"userId": "read", "event": "visited", "messageId": "m-1", "properties": {}}
    answer = await bank.live.client.post(
        "/segment/v1/track?surplus=1", json=track, auth=(bank.live.server_key, ""), headers={"Authorization": ""}
    )
    assert answer.status_code == 200, answer.text
