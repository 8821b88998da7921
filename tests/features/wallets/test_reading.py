"""Reading the ledger: wallets as of now, statements and balances of the past, what expires, and why a transaction is there."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.features.bank import DOCUMENT, Bank, problem
from tests.features.members.test_members import merge

ZERO = {"available": 0, "pending": 0, "held": 0, "debt": 0}


def of(available: int, pending: int = 0, held: int = 0, debt: int = 0) -> dict[str, int]:
    return {"available": available, "pending": pending, "held": held, "debt": debt}


async def test_a_wallet_tells_everything_of_every_currency(bank: Bank) -> None:
    await bank.earn("whole", 100)
    await bank.spend("whole", 30)
    await bank.hold("whole", 20)
    await bank.earn("whole", 9, "miles")
    wallet = await bank.get("/members/whole/wallet")
    points, miles, credit = (wallet["currencies"][key] for key in ("points", "miles", "credit"))
    assert points["balances"] == of(50, held=20)
    assert points["lifetime"] == {"issued": 100, "redeemed": 30, "expired": 0, "revoked": 0, "sent": 0, "received": 0}
    assert points["next_expiry"]["amount"] == 70
    assert miles["balances"] == of(0, pending=9)
    assert (miles["next_expiry"], credit["balances"], credit["last_activity_at"]) == (None, ZERO, None)
    assert [hold["amount"] for hold in wallet["holds"]] == [20]


async def test_reading_projects_what_time_has_done_and_writes_nothing(own_bank: Bank) -> None:
    await own_bank.earn("slept", 100)
    await own_bank.earn("slept", 10, "miles")
    await own_bank.pass_time(days=15)
    assert await own_bank.buckets("slept", "miles") == (10, 0, 0, 0)
    await own_bank.pass_time(days=16)
    assert await own_bank.buckets("slept") == (0, 0, 0, 0)
    wallet = (await own_bank.get("/members/slept/wallet"))["currencies"]["points"]
    assert (wallet["lifetime"]["expired"], wallet["next_expiry"]) == (100, None)
    assert (await own_bank.get("/members/slept"))["balances"]["points"] == ZERO
    # What is not recorded yet is in no statement and no past balance.
    assert (await own_bank.get("/members/slept/balance"))["balances"]["points"] == of(100)
    assert len((await own_bank.get("/members/slept/statement"))["items"]) == 2
    assert await own_bank.count("transaction") == 2


async def test_the_whole_schedule_of_expiry(own_bank: Bank) -> None:
    for amount in (10, 20, 30):
        await own_bank.earn("plans", amount)
        await own_bank.pass_time(days=9)
    await own_bank.spend("plans", 15)
    schedule = (await own_bank.get("/members/plans/expiring"))["currencies"]
    assert [part["amount"] for part in schedule["points"]] == [15, 30]
    first, second = (datetime.fromisoformat(part["at"]) for part in schedule["points"])
    assert timedelta(days=8.9) < second - first < timedelta(days=9.1)
    assert schedule["credit"] == []


async def test_a_statement_goes_through_all_pages_newest_first(bank: Bank) -> None:
    for amount in range(1, 8):
        await bank.earn("pages", amount)
    pages: list[list[int]] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = await bank.get("/members/pages/statement", **query)
        pages.append([item["amount"] for item in page["items"]])
        assert (page["opening"]["points"], page["closing"]["points"]) == (ZERO, of(28))
        if page["next_cursor"] is None:
            break
        if len(pages) == 1:
            await bank.earn("pages", 100)  # what comes later is in none of the pages
        query["cursor"] = page["next_cursor"]
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]


async def test_a_statement_of_a_range_starts_and_ends_with_balances(bank: Bank) -> None:
    moments = []
    for amount in (1, 2, 4, 8):
        answer = await bank.earn("ranges", amount)
        moments.append(answer["transactions"][0]["recorded_at"])
    await bank.earn("ranges", 50, "credit")
    statement = await bank.get("/members/ranges/statement", **{"from": moments[1], "to": moments[3]})
    assert [item["amount"] for item in statement["items"]] == [4, 2]
    assert (statement["opening"]["points"], statement["closing"]["points"]) == (of(1), of(7))
    assert statement["opening"]["credit"] == statement["closing"]["credit"] == ZERO
    of_credit = await bank.get("/members/ranges/statement", currency="credit")
    assert [item["currency"] for item in of_credit["items"]] == ["credit"]
    assert of_credit["closing"] == {"credit": of(50)}


async def test_a_statement_tells_why(bank: Bank) -> None:
    await bank.earn("reasons", 5, reason="goodwill", reference="case-1", note="sorry")
    await bank.live.event(
        id="evt-why", type="order_placed", member="reasons", properties={"order_id": "o-1", "total": 40}
    )
    statement = await bank.get("/members/reasons/statement", postings=True)
    by_rule, by_hand = statement["items"]
    assert (by_hand["source"], by_hand["reason"], by_hand["reference"], by_hand["note"]) == (
        "api",
        "goodwill",
        "case-1",
        "sorry",
    )
    assert by_hand["actor"].startswith("key:")
    assert "event" not in by_hand
    assert (by_rule["rule"], by_rule["reference"]) == ("purchase", "o-1")
    assert (by_rule["event"]["id"], by_rule["event"]["type"]) == ("evt-why", "order_placed")
    assert [(part["debit"], part["credit"], part["amount"]) for part in by_rule["postings"]] == [
        ("issued", "available", 40)
    ]
    single = await bank.get(f"/transactions/{by_rule['id']}")
    assert single == {**by_rule, "member": "reasons", "reversed": 0}


PATIENT = """
  - {key: patient, on: visited, delay: 1h, then: [{earn: {currency: points, amount: 2}}]}
"""


async def test_what_a_merged_member_did_explains_what_it_brought_to_the_other(own_bank: Bank) -> None:
    """The rule was waiting when the two became one."""
    await own_bank.publish(DOCUMENT + PATIENT.strip("\n"))
    await own_bank.live.event(id="seen", type="visited", member="anon:ann", properties={})
    await merge(own_bank.live, "anon:ann", "ann")
    await own_bank.pass_time(hours=2)
    await own_bank.live.worker.run_due()
    [line] = (await own_bank.get("/members/ann/statement"))["items"]
    assert (line["rule"], line["event"]["id"], line["event"]["type"]) == ("patient", "seen", "visited")
    single = await own_bank.get(f"/transactions/{line['id']}")
    assert (single["member"], single["event"]) == ("ann", line["event"])


async def test_what_was_said_of_a_moment_stays_true(own_bank: Bank) -> None:
    said = {}
    for step in ("earn", "spend", "earn", "spend", "earn"):
        await (own_bank.earn("past", 50) if step == "earn" else own_bank.spend("past", 20))
        answer = await own_bank.get("/members/past/balance")
        said[answer["at"]] = answer["balances"]
    await own_bank.pass_time(days=40)
    await own_bank.earn("past", 1)  # posts the expiry of all before
    assert [balances["points"]["available"] for balances in said.values()] == [50, 30, 80, 60, 110]
    for at, balances in said.items():
        assert (await own_bank.get("/members/past/balance", at=at))["balances"] == balances
        assert (await own_bank.get("/members/past/balance", at=at, currency="points"))["balances"] == {
            "points": balances["points"]
        }
    assert (await own_bank.get("/members/past/balance", at="2020-01-01T00:00:00Z"))["balances"]["points"] == ZERO


async def test_postings_of_a_statement_add_up_to_its_balances(bank: Bank) -> None:
    await bank.earn("adds", 100)
    hold = await bank.hold("adds", 30)
    await bank.move(f"/holds/{hold['id']}/capture", amount=10)
    spent = (await bank.spend("adds", 15))["transactions"][0]["id"]
    await bank.move(f"/transactions/{spent}/reverse", amount=5)
    items = (await bank.get("/members/adds/statement", postings=True))["items"]
    balances = dict(ZERO)
    for item in reversed(items):
        for part in item["postings"]:
            if part["debit"] in balances:
                balances[part["debit"]] -= part["amount"]
            if part["credit"] in balances:
                balances[part["credit"]] += part["amount"]
        assert item["balance_after"] == balances
    assert [item["seq"] for item in items] == [5, 4, 3, 2, 1]
    assert [item["kind"] for item in items] == ["refund", "spend", "capture", "hold", "earn"]


@pytest.mark.parametrize(
    ("path", "query", "where"),
    [
        ("balance", {"at": "yesterday"}, "query.at"),
        ("balance", {"at": "2026-01-01T00:00:00"}, "query.at"),  # whose midnight?
        ("balance", {"at": "1767225600"}, "query.at"),
        ("balance", {"at": "0001-01-01T00:00:00+14:00"}, "query.at"),
        ("balance", {"at": "2999-01-01T00:00:00Z"}, "query.at"),
        ("balance", {"currency": "gold"}, "query.currency"),
        ("statement", {"from": "2026-13-01T00:00:00Z"}, "query.from"),
        ("statement", {"to": "x"}, "query.to"),
        ("statement", {"currency": "gold"}, "query.currency"),
    ],
)
async def test_wrong_questions(bank: Bank, path: str, query: dict[str, str], where: str) -> None:
    await bank.earn("asked", 1)
    answer = await bank.live.client.get(f"/v1/members/asked/{path}", params=query)
    assert problem(answer) == (422, "invalid-input")
    assert [mistake["path"] for mistake in answer.json()["errors"]] == [where]


async def test_a_plus_that_was_not_encoded_is_understood(bank: Bank) -> None:
    await bank.earn("plus", 1)
    answer = await bank.live.client.get("/v1/members/plus/balance?at=2026-01-01T00:00:00+01:00")
    assert answer.json()["at"] == "2025-12-31T23:00:00Z"


async def test_a_cursor_fits_its_own_list_only(bank: Bank) -> None:
    for _ in range(3):
        await bank.earn("cursor", 1)
    cursor = (await bank.get("/members/cursor/statement", limit=1))["next_cursor"]
    for path, query in (
        ("/v1/members/other/statement", {}),
        ("/v1/members/cursor/statement", {"currency": "points"}),
        ("/v1/members/cursor/events", {}),
    ):
        answer = await bank.live.client.get(path, params={"cursor": cursor, **query})
        assert problem(answer) == (400, "malformed-cursor")


@pytest.mark.parametrize("identifier", [str(UUID(int=404)), str(UUID(int=0)), str(UUID(int=2**128 - 1)), "x"])
async def test_unknown_transactions(bank: Bank, identifier: str) -> None:
    assert problem(await bank.live.client.get(f"/v1/transactions/{identifier}")) == (404, "not-found")


@pytest.mark.parametrize("path", ["", "/wallet", "/statement", "/balance", "/expiring", "/events", "/events/e"])
async def test_unknown_members(bank: Bank, path: str) -> None:
    answer = await bank.live.client.get(f"/v1/members/nobody{path}")
    assert problem(answer) == (404, "unknown-member")
