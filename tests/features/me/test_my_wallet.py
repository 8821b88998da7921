"""The customer's own wallet and statement: what the server reads, without what is said among staff."""

import pytest
from tests.features.bank import Bank
from tests.features.customers import customer, refused_with, stranger

STAFFS = {"actor", "note", "source", "seq", "requested", "postings", "member", "reversed"}


@pytest.mark.parametrize("path", ["/wallet", "/expiring"])
async def test_it_is_what_the_server_reads(bank: Bank, path: str) -> None:
    ada = await customer(bank, "mine-ada")
    mine, theirs = await ada.get(path), await bank.get(f"/members/mine-ada{path}")
    assert mine["currencies"] == theirs["currencies"]
    assert mine["member"] == "mine-ada"


async def test_the_statement_says_nothing_that_is_meant_for_staff(bank: Bank) -> None:
    ada = await customer(bank, "mine-told")
    await bank.earn("mine-told", 7, note="a rude customer", reason="goodwill", reference="r-1")
    mine = await ada.get("/statement")
    [newest, oldest] = mine["items"]
    assert (newest["amount"], newest["reason"], newest["reference"]) == (7, "goodwill", "r-1")
    assert oldest["balance_after"]["available"] == 5
    assert not STAFFS & {*newest, *oldest}
    assert mine["closing"]["points"]["available"] == 12


async def test_the_statement_comes_in_pages(bank: Bank) -> None:
    ada = await customer(bank, "mine-pages")
    await bank.earn("mine-pages", 6)
    first = await ada.get("/statement", limit=1)
    second = await ada.get("/statement", limit=1, cursor=first["next_cursor"])
    assert [item["amount"] for page in (first, second) for item in page["items"]] == [6, 5]
    assert second["next_cursor"] is None


async def test_a_cursor_of_another_member_fits_nothing(bank: Bank) -> None:
    ada, bob = await customer(bank, "mine-a"), await customer(bank, "mine-b")
    await bank.earn("mine-a", 6)
    cursor = (await ada.get("/statement", limit=1))["next_cursor"]
    refused = await bob.send("GET", "/me/statement", params={"limit": 1, "cursor": cursor})
    assert refused_with(refused, 400)["code"] == "malformed-cursor"


async def test_who_did_nothing_yet_is_not_known(bank: Bank) -> None:
    fresh = await stranger(bank.live, "mine-nobody")
    assert refused_with(await fresh.send("GET", "/me/wallet"), 404)["code"] == "unknown-member"
