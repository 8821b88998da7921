"""Whoever sends it, an event happens once; and nobody can use up the id of an event that somebody else will send."""

import asyncio
from typing import Any, Final

import pytest
from tests.features.bank import DOCUMENT, Bank, problem
from tests.features.customers import stranger
from tests.features.members.test_members import merge

from rewards.db.transact import transact
from rewards.domain.commands import SENDERS, MemberRef
from rewards.service import owner_database

VISIT: Final[dict[str, Any]] = {"type": "visited", "properties": {"page": "home"}}
ORDER: Final[dict[str, Any]] = {"type": "order_placed", "properties": {"order_id": "o-1", "total": 40}}


async def sent(bank: Bank, sender: str, member: str, how: str = "single", **event: Any) -> dict[str, Any]:
    """What the service says of an event: of a `server`, with a `public` key, or of the `customer`."""
    if sender == "customer":
        own = await stranger(bank.live, member)
        body = {"events": [event]} if how == "batch" else event
        answer = await own.send("POST", "/me/events", json=body)
    else:
        key = bank.live.server_key if sender == "server" else bank.live.public_key
        event = {"member": member, **event}
        answer = await bank.live.client.post(
            "/v1/events/batch" if how == "batch" else "/v1/events",
            json={"events": [event]} if how == "batch" else event,
            headers={"Authorization": f"Bearer {key}"},
        )
    told: dict[str, Any] = answer.json()
    return told["results"][0] if how == "batch" and answer.status_code == 200 else told


async def detail(bank: Bank, member: str, event: str, **query: Any) -> Any:
    return await bank.get(f"/members/{member}/events/{event}", **query)


@pytest.mark.parametrize("guesser", ["public", "customer"])
@pytest.mark.parametrize("how", ["single", "batch"])
async def test_who_guesses_an_id_does_not_stop_the_server(bank: Bank, guesser: str, how: str) -> None:
    member = f"guessed-{guesser}-{how}"
    assert (await sent(bank, guesser, member, how, id="order-1001", **VISIT))["status"] == "processed"
    order = await sent(bank, "server", member, how, id="order-1001", **ORDER)
    assert (order["id"], order["status"]) == ("order-1001", "processed")
    assert await bank.live.balance(member) == 40

    assert (await sent(bank, "server", member, how, id="order-1001", **ORDER))["status"] == "duplicate"
    assert (await sent(bank, guesser, member, how, id="order-1001", **VISIT))["status"] == "duplicate"
    assert await bank.live.balance(member) == 40

    listed = (await bank.get(f"/members/{member}/events"))["items"]
    assert [(event["id"], event["sent_by"], event["type"]) for event in listed] == [
        ("order-1001", "server", "order_placed"),
        ("order-1001", guesser, "visited"),
    ]
    found = await detail(bank, member, "order-1001")
    assert (found["sent_by"], found["type"]) == ("server", "order_placed")
    [earned] = found["transactions"]
    assert (await bank.get(f"/transactions/{earned['id']}"))["event"]["sent_by"] == "server"
    theirs = await detail(bank, member, "order-1001", sent_by=guesser)
    assert (theirs["sent_by"], theirs["type"], theirs["transactions"]) == (guesser, "visited", [])


async def test_each_sender_has_ids_of_its_own(bank: Bank) -> None:
    for sender in reversed(SENDERS):
        statuses = [(await sent(bank, sender, "apart", id="same", **VISIT))["status"] for _ in range(2)]
        assert statuses == ["processed", "duplicate"], sender
        assert (await detail(bank, "apart", "same"))["sent_by"] == sender  # the most trusted one that there is
    for sender in SENDERS:
        assert (await detail(bank, "apart", "same", sent_by=sender))["sent_by"] == sender


@pytest.mark.parametrize("sender", SENDERS)
async def test_another_event_under_an_id_of_ones_own_is_refused(bank: Bank, sender: str) -> None:
    member = f"reuses-{sender}"
    await sent(bank, sender, member, id="v", **VISIT)
    refused = await sent(bank, sender, member, id="v", type="visited", properties={"page": "basket"})
    assert (refused["status"], refused["code"]) == (422, "id-reused")


async def test_an_event_that_only_a_customer_sent_is_found_by_its_id(bank: Bank) -> None:
    await sent(bank, "customer", "found", id="v", **VISIT)
    assert (await detail(bank, "found", "v"))["sent_by"] == "customer"
    answer = await bank.live.client.get("/v1/members/found/events/v", params={"sent_by": "server"})
    assert problem(answer) == (404, "not-found")
    answer = await bank.live.client.get("/v1/members/found/events/v", params={"sent_by": "nobody"})
    assert problem(answer) == (400, "malformed-parameter")


async def test_twins_of_all_senders_pay_once_each(bank: Bank) -> None:
    answers = await asyncio.gather(
        *(sent(bank, sender, "twins", id="t", **VISIT) for sender in SENDERS for _ in range(5))
    )
    statuses = [answer["status"] for answer in answers]
    assert (statuses.count("processed"), statuses.count("duplicate")) == (3, 12)


@pytest.mark.parametrize("guesser", ["public", "customer"])
async def test_accepted_for_later_and_tried_out(bank: Bank, guesser: str) -> None:
    member = f"later-{guesser}"
    await sent(bank, guesser, member, id="o", **VISIT)
    order = {"id": "o", "member": member, **ORDER}
    dry = await bank.live.client.post("/v1/events?dry_run=true", json=order)
    assert (dry.status_code, dry.json()["status"]) == (200, "processed")
    assert (await bank.live.client.post("/v1/events?mode=async", json=order)).status_code == 202
    assert await detail(bank, member, "o") == {"id": "o", "status": "accepted", "sent_by": "server"}
    assert (await detail(bank, member, "o", sent_by=guesser))["type"] == "visited"
    await bank.live.worker.run_due()
    assert (await detail(bank, member, "o"))["type"] == "order_placed"
    assert await bank.live.balance(member) == 40


async def test_a_public_key_accepts_for_later_under_its_own_ids(bank: Bank) -> None:
    headers = {"Authorization": f"Bearer {bank.live.public_key}"}
    event = {"id": "p", "member": "later-p", **VISIT}
    for _ in range(2):
        answer = await bank.live.client.post("/v1/events?mode=async", json=event, headers=headers)
        assert answer.status_code == 202
    await bank.live.worker.run_due()
    assert (await sent(bank, "public", "later-p", id="p", **VISIT))["status"] == "duplicate"
    assert (await sent(bank, "server", "later-p", id="p", **ORDER))["status"] == "processed"
    assert (await detail(bank, "later-p", "p", sent_by="public"))["sent_by"] == "public"


VISITED: Final = "visited: {client: true, properties: {page: text}}"


async def test_what_is_quarantined_keeps_its_sender(own_bank: Bank) -> None:
    unfit: dict[str, Any] = {"type": "visited", "properties": {"page": 7}}
    assert (await sent(own_bank, "customer", "ann", id="q", **unfit))["status"] == "quarantined"
    assert (await sent(own_bank, "server", "ann", id="q", **ORDER))["status"] == "processed"
    [entry] = (await own_bank.get("/quarantine"))["items"]
    assert (entry["id"], entry["sent_by"]) == ("q", "customer")
    await own_bank.publish(DOCUMENT.replace(VISITED, "visited: {client: true, properties: {page: {type: integer}}}"))
    replayed = await own_bank.live.client.post(f"/v1/quarantine/{entry['entry']}/replay")
    assert replayed.json()["status"] == "processed"
    assert (await sent(own_bank, "customer", "ann", id="q", **unfit))["status"] == "duplicate"
    theirs = await detail(own_bank, "ann", "q", sent_by="customer")
    assert (theirs["status"], theirs["sent_by"], theirs["type"]) == ("processed", "customer", "visited")


async def test_a_replay_gives_no_customer_what_only_servers_may_say(own_bank: Bank) -> None:
    await sent(own_bank, "customer", "ann", id="q", type="visited", properties={"page": 7})
    [entry] = (await own_bank.get("/quarantine"))["items"]
    await own_bank.publish(DOCUMENT.replace(VISITED, "visited: {properties: {page: {type: integer}}}"))
    refused = await own_bank.live.client.post(f"/v1/quarantine/{entry['entry']}/replay")
    assert (problem(refused), refused.json()["errors"][0]["path"]) == ((422, "invalid-input"), "type")
    assert (await own_bank.get("/quarantine"))["items"] == [entry]


async def test_members_that_become_one_keep_what_each_sent(bank: Bank) -> None:
    for member in ("anon:guest", "merged"):
        for sender in SENDERS:
            assert (await sent(bank, sender, member, id="m", **VISIT))["status"] == "processed"
    await merge(bank.live, "anon:guest", "merged")
    for member in ("anon:guest", "merged"):
        for sender in SENDERS:
            assert (await sent(bank, sender, member, id="m", **VISIT))["status"] == "duplicate"
            assert (await detail(bank, member, "m", sent_by=sender))["sent_by"] == sender
    assert len((await bank.get("/members/anon:guest/events"))["items"]) == 6


@pytest.mark.parametrize("sender", SENDERS)
async def test_what_was_recorded_before_senders_were_told_apart(bank: Bank, sender: str) -> None:
    """Then all of them shared the server's ids, and nothing says who it was."""
    member = f"old-{sender}"
    await sent(bank, "server", member, id="old", **VISIT)
    published = await bank.live.service.programs.get(bank.live.program_id)
    await _as_owner(
        bank, "UPDATE event SET sent_by = NULL WHERE member_id = $1", published.identity.member(MemberRef.parse(member))
    )
    assert (await detail(bank, member, "old"))["sent_by"] is None
    assert (await sent(bank, sender, member, id="old", **VISIT))["status"] == (
        "duplicate" if sender == "server" else "processed"
    )


async def _as_owner(bank: Bank, sql: str, *arguments: Any) -> None:
    owner = owner_database(bank.live.service.settings)
    await transact(owner, lambda connection: connection.exec_driver_sql(sql, arguments))
    await owner.dispose()


async def test_an_event_that_waits_since_before_is_decided_under_its_name(bank: Bank) -> None:
    headers = {"Authorization": f"Bearer {bank.live.public_key}"}
    event = {"id": "w", "member": "waits-old", **VISIT}
    assert (await bank.live.client.post("/v1/events?mode=async", json=event, headers=headers)).status_code == 202
    published = await bank.live.service.programs.get(bank.live.program_id)
    member = published.identity.member(MemberRef.parse("waits-old"))
    key = published.identity.event(MemberRef.parse("waits-old"), "server", "w")
    await _as_owner(
        bank,
        """UPDATE due SET key = $2, payload = payload - 'sent_by' || '{"client": true}' WHERE member_id = $1""",
        member,
        key,
    )
    await bank.live.worker.run_due()
    found = await detail(bank, "waits-old", "w")
    assert (found["status"], found["sent_by"]) == ("processed", "public")


async def test_a_public_key_hears_nothing_of_a_member_but_what_its_event_brought(bank: Bank) -> None:
    """The key is in every page, and the member that is named may be anybody."""
    await sent(bank, "server", "spied-on", id="order-1", **ORDER)
    headers = {"Authorization": f"Bearer {bank.live.public_key}"}
    for how in ("single", "batch"):
        told = await sent(bank, "public", "spied-on", how, id=f"looked-{how}", **VISIT)
        assert (told["status"], "effects" in told, "balances" in told) == ("processed", True, False)
    event = {"id": "pried", "member": "spied-on", **VISIT}
    for address, body in (
        ("/v1/events?trace=true", event),
        ("/v1/events?dry_run=true", event),
        ("/v1/events/batch?trace=true", {"events": [event]}),
    ):
        refused = await bank.live.client.post(address, json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), address
    assert [event["id"] for event in (await bank.get("/members/spied-on/events"))["items"]] == [
        "looked-batch",
        "looked-single",
        "order-1",
    ]
