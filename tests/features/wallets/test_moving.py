"""Moving points: what succeeds, what is refused and how, and that every request happens once."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.features.bank import DOCUMENT, Bank, problem
from tests.features.members.test_members import merge
from tests.service import Live

MOST = 2**53 - 1


async def test_a_repetition_repeats_the_answer_and_says_so(bank: Bank) -> None:
    body = {"currency": "points", "amount": 100, "reason": "goodwill", "reference": "case-7", "note": "sorry"}
    first = await bank.post("/members/repeats/earn", key="again", **body)
    second = await bank.post("/members/repeats/earn", key="again", **body)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert await bank.buckets("repeats") == (100, 0, 0, 0)


async def test_a_refusal_is_kept_and_repeated_too(bank: Bank) -> None:
    body = {"currency": "points", "amount": 10}
    first = await bank.post("/members/broke/spend", key="refused", **body)
    await bank.earn("broke", 50)
    second = await bank.post("/members/broke/spend", key="refused", **body)
    assert problem(first) == problem(second) == (402, "insufficient-points")
    assert {**first.json(), "instance": None} == {**second.json(), "instance": None}
    assert first.json()["available"] == 0
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert await bank.buckets("broke") == (50, 0, 0, 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/members/reuse/earn", {"currency": "points", "amount": 2}),
        ("/members/reuse/earn", {"currency": "credit", "amount": 1}),
        ("/members/reuse/earn", {"currency": "points", "amount": 1, "note": "more"}),
        ("/members/reuse/spend", {"currency": "points", "amount": 1}),
    ],
)
async def test_a_key_serves_one_request_only(bank: Bank, path: str, body: dict[str, Any]) -> None:
    await bank.move("/members/reuse/earn", key="reused", currency="points", amount=1)
    assert problem(await bank.post(path, key="reused", **body)) == (422, "id-reused")
    assert await bank.buckets("reuse") == (1, 0, 0, 0)


async def test_without_a_key_nothing_moves(bank: Bank) -> None:
    answer = await bank.live.client.post("/v1/members/keyless/earn", json={"currency": "points", "amount": 1})
    assert problem(answer) == (400, "malformed-idempotency-key")
    assert (await bank.live.client.get("/v1/members/keyless")).status_code == 404


EARN: dict[str, Any] = {"currency": "points", "amount": 1}


@pytest.mark.parametrize(
    ("operation", "body", "path"),
    [
        ("earn", {"currency": "gold", "amount": 1}, "currency"),
        ("earn", {"amount": 1}, "currency"),
        ("earn", {"currency": "points"}, "amount"),
        ("earn", {"currency": "points", "amount": 0}, "amount"),
        ("earn", {"currency": "points", "amount": -1}, "amount"),
        ("earn", {"currency": "points", "amount": MOST + 1}, "amount"),
        ("earn", {"currency": "points", "amount": 1.5}, "amount"),
        ("earn", {"currency": "points", "amount": "9"}, "amount"),
        ("earn", {"currency": "points", "amount": True}, "amount"),
        ("earn", {**EARN, "surplus": 1}, "surplus"),
        ("earn", {**EARN, "reason": "two words"}, "reason"),
        ("earn", {**EARN, "reference": ""}, "reference"),
        ("earn", {**EARN, "reference": "x" * 201}, "reference"),
        ("earn", {**EARN, "note": "a\0b"}, "note"),
        ("earn", {**EARN, "hold": "14 days"}, "hold"),
        ("earn", {**EARN, "hold": "1mo"}, "hold"),
        ("earn", {**EARN, "hold": "999999999d"}, "hold"),
        ("earn", {**EARN, "expires_at": "2026-01-01T00:00:00Z"}, "expires_at"),
        ("earn", {**EARN, "expires_at": "2036-01-01T00:00:00"}, "expires_at"),
        # points that would be gone before they can be spent; those of the currency last 30 days
        ("earn", {**EARN, "hold": "3650d", "expires_at": "2036-01-01T00:00:00Z"}, "expires_at"),
        ("earn", {**EARN, "hold": "30d"}, "hold"),
        ("earn", {**EARN, "hold": 30 * 86_400}, "hold"),
        ("holds", EARN, "expires_in"),
        ("holds", {**EARN, "expires_in": 60, "expires_at": "2036-01-01T00:00:00Z"}, "expires_in"),
        ("holds", {**EARN, "expires_in": 0}, "expires_in"),
        ("holds", {**EARN, "expires_at": "2026-01-01T00:00:00Z"}, "expires_at"),
        ("reverse", {}, "reference"),
        ("reverse", {"reference": "o-1", "policy": "mercy"}, "policy"),
    ],
)
async def test_wrong_input_says_where_and_changes_nothing(
    bank: Bank, operation: str, body: dict[str, Any], path: str
) -> None:
    answer = await bank.post(f"/members/wrong-{operation}/{operation}", **body)
    assert answer.status_code == 422, answer.text
    assert [mistake["path"] for mistake in answer.json()["errors"]] == [path]
    wallet = await bank.live.client.get(f"/v1/members/wrong-{operation}/wallet")
    assert wallet.status_code == 404 or wallet.json()["currencies"]["points"]["lifetime"]["issued"] == 0


async def test_points_mature_before_they_expire(bank: Bank) -> None:
    """Miles wait for fourteen days, whatever is said of their end."""
    now = datetime.fromisoformat((await bank.live.client.get("/v1/sandbox/clock")).json()["now"])
    matures_in, soon = timedelta(days=14), timedelta(minutes=5)
    wrong: dict[str, Any] = {"currency": "miles", "amount": 1, "expires_at": (now + matures_in - soon).isoformat()}
    answer = await bank.post("/members/ripe/earn", **wrong)
    assert answer.status_code == 422, answer.text
    [mistake] = answer.json()["errors"]
    assert mistake["path"] == "expires_at"
    matures_at = datetime.fromisoformat(mistake["expected"].removeprefix("a moment after "))
    assert abs(matures_at - now - matures_in) < soon
    assert (await bank.live.client.get("/v1/members/ripe")).status_code == 404
    right = {**wrong, "expires_at": (now + matures_in + soon).isoformat()}
    assert (await bank.post("/members/ripe/earn", **right)).status_code == 200
    assert (await bank.post("/members/ripe/earn", **{**wrong, "hold": 0})).status_code == 200
    assert await bank.buckets("ripe", "miles") == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("operation", "body", "status", "code"),
    [
        ("spend", {"currency": "points", "amount": 101}, 402, "insufficient-points"),
        ("spend", {"currency": "status", "amount": 1}, 409, "not-spendable"),
        ("holds", {"currency": "points", "amount": 101, "expires_in": "1h"}, 402, "insufficient-points"),
        ("holds", {"currency": "status", "amount": 1, "expires_in": "1h"}, 409, "not-spendable"),
        ("earn", {"currency": "points", "amount": MOST}, 409, "amount-overflow"),
        ("reverse", {"reference": "never"}, 409, "nothing-to-reverse"),
    ],
)
async def test_what_is_refused(bank: Bank, operation: str, body: dict[str, Any], status: int, code: str) -> None:
    member = f"refused-{operation}-{code}"
    await bank.earn(member, 100)
    await bank.earn(member, 5, "status")
    assert problem(await bank.post(f"/members/{member}/{operation}", **body)) == (status, code)
    assert await bank.buckets(member) == (100, 0, 0, 0)


async def test_the_largest_amount_can_be_earned_and_spent(bank: Bank) -> None:
    assert (await bank.earn("rich", MOST))["balances"]["points"]["available"] == MOST
    assert (await bank.spend("rich", MOST))["balances"]["points"]["available"] == 0


@pytest.mark.parametrize(
    ("hold", "buckets"),
    [
        ({}, (0, 10, 0, 0)),  # the currency's own fourteen days
        ({"hold": 0}, (10, 0, 0, 0)),
        ({"hold": "10m"}, (0, 10, 0, 0)),
        ({"hold": 600}, (0, 10, 0, 0)),
    ],
)
async def test_earned_points_may_wait(bank: Bank, hold: dict[str, Any], buckets: tuple[int, ...]) -> None:
    member = f"waits-{hold.get('hold')}"
    await bank.earn(member, 10, "miles", **hold)
    assert await bank.buckets(member, "miles") == buckets


async def test_without_a_body_all_that_is_left_is_meant(bank: Bank) -> None:
    earned = await bank.earn("bodiless", 100)
    released, captured = [await bank.hold("bodiless", amount) for amount in (60, 10)]
    for path, sent, buckets in (
        (f"/holds/{released['id']}/release", {}, (90, 0, 10, 0)),
        (f"/holds/{captured['id']}/capture", {"Content-Type": "application/json"}, (90, 0, 0, 0)),
        (f"/transactions/{earned['transactions'][0]['id']}/reverse", {}, (0, 0, 0, 0)),
    ):
        headers = {**sent, "Idempotency-Key": path}
        first = await bank.live.client.post(f"/v1{path}", headers=headers)
        again = await bank.live.client.post(f"/v1{path}", headers=headers, json={})
        assert (first.status_code, again.status_code) == (200, 200), first.text
        assert (first.content, await bank.buckets("bodiless")) == (again.content, buckets)


async def test_a_hold_is_captured_in_parts_and_the_rest_released(bank: Bank) -> None:
    await bank.earn("holder", 100)
    hold = await bank.hold("holder", 60, reference="basket-1")
    assert await bank.buckets("holder") == (40, 0, 60, 0)
    [shown] = (await bank.get("/members/holder/wallet"))["holds"]
    assert (shown["id"], shown["remaining"], shown["reference"]) == (hold["id"], 60, "basket-1")

    answer = await bank.move(f"/holds/{hold['id']}/capture", amount=20)
    assert (answer["hold"]["captured"], answer["hold"]["remaining"]) == (20, 40)
    answer = await bank.move(f"/holds/{hold['id']}/release", amount=10)
    assert (answer["hold"]["released"], answer["hold"]["remaining"]) == (10, 30)
    answer = await bank.move(f"/holds/{hold['id']}/capture", amount=5, final=True)
    assert [made["kind"] for made in answer["transactions"]] == ["capture", "release"]
    assert answer["hold"]["remaining"] == 0
    assert await bank.buckets("holder") == (75, 0, 0, 0)
    assert (await bank.get("/members/holder/wallet"))["holds"] == []


async def test_a_capture_happens_once_under_its_key(bank: Bank) -> None:
    await bank.earn("captor", 100)
    hold = await bank.hold("captor", 60)
    path = f"/holds/{hold['id']}/capture"
    answers = await asyncio.gather(*(bank.post(path, key="capture-once", amount=20) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == [""] + ["true"] * 9
    assert await bank.buckets("captor") == (40, 0, 40, 0)
    assert problem(await bank.post(path, key="capture-once", amount=21)) == (422, "id-reused")


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        ({}, ("capture", {"amount": 61}), "hold-exceeded"),
        ({}, ("release", {"amount": 61}), "hold-exceeded"),
        ({"capture": {}}, ("capture", {}), "hold-resolved"),
        ({"capture": {}}, ("release", {}), "hold-resolved"),
        ({"release": {}}, ("capture", {}), "hold-resolved"),
    ],
)
async def test_no_hold_gives_more_than_it_holds(
    bank: Bank, first: dict[str, Any], then: tuple[str, dict[str, Any]], code: str
) -> None:
    member = f"bounded-{'-'.join(first)}-{then[0]}-{code}"
    await bank.earn(member, 100)
    hold = (await bank.hold(member, 60))["id"]
    for operation, body in first.items():
        await bank.move(f"/holds/{hold}/{operation}", **body)
    before = await bank.buckets(member)
    assert problem(await bank.post(f"/holds/{hold}/{then[0]}", **then[1])) == (409, code)
    assert await bank.buckets(member) == before


async def test_a_hold_goes_back_by_itself(own_bank: Bank) -> None:
    await own_bank.earn("forgets", 100)
    hold = await own_bank.hold("forgets", 60, expires_in="10m")
    await own_bank.pass_time(minutes=9)
    assert await own_bank.buckets("forgets") == (40, 0, 60, 0)
    await own_bank.pass_time(minutes=2)
    assert await own_bank.buckets("forgets") == (100, 0, 0, 0)
    assert (await own_bank.get("/members/forgets/wallet"))["holds"] == []
    assert problem(await own_bank.post(f"/holds/{hold['id']}/capture")) == (409, "hold-expired")
    assert (await own_bank.spend("forgets", 100))["balances"]["points"]["available"] == 0


@pytest.mark.parametrize(
    ("currency", "policy", "taken", "requested", "buckets"),
    [
        ("points", None, 40, 100, (0, 0, 0, 0)),  # within_balance, as the currency says
        ("points", "pending_only", 0, 100, (40, 0, 0, 0)),
        ("points", "allow_debt", 100, None, (0, 0, 0, 60)),
        ("credit", None, 100, None, (0, 0, 0, 60)),  # allow_debt
        ("credit", "within_balance", 40, 100, (0, 0, 0, 0)),
    ],
)
async def test_what_is_taken_back_when_sixty_of_a_hundred_are_spent(
    bank: Bank, currency: str, policy: str | None, taken: int, requested: int | None, buckets: tuple[int, ...]
) -> None:
    member = f"clawback-{currency}-{policy}"
    earned = (await bank.earn(member, 100, currency))["transactions"][0]["id"]
    await bank.spend(member, 60, currency)
    body = {} if policy is None else {"policy": policy}
    [made] = (await bank.move(f"/transactions/{earned}/reverse", **body))["transactions"]
    assert (made["kind"], made["amount"], made.get("requested"), made["reverses"]) == (
        "clawback",
        taken,
        requested,
        earned,
    )
    assert await bank.buckets(member, currency) == buckets


async def test_a_spend_is_given_back_in_parts_and_no_more(bank: Bank) -> None:
    await bank.earn("refunded", 100)
    spent = (await bank.spend("refunded", 60))["transactions"][0]["id"]
    for amount, left in ((25, 65), (35, 100)):
        [made] = (await bank.move(f"/transactions/{spent}/reverse", amount=amount))["transactions"]
        assert (made["kind"], made["amount"]) == ("refund", amount)
        assert (await bank.buckets("refunded"))[0] == left
    assert (await bank.get(f"/transactions/{spent}"))["reversed"] == 60
    assert problem(await bank.post(f"/transactions/{spent}/reverse")) == (409, "already-reversed")


async def test_a_transaction_tells_what_was_taken_back_of_it_before_a_merge_and_after(bank: Bank) -> None:
    earned = (await bank.earn("anon:taken-along", 100))["transactions"][0]["id"]
    taken = []
    for merged, amount in (
        (None, 10),
        (("anon:taken-along", "anon:between"), 20),
        (("anon:between", "at-the-end"), 70),
    ):
        if merged is not None:
            await merge(bank.live, *merged)
        await bank.move(f"/transactions/{earned}/reverse", amount=amount)
        taken.append((await bank.get(f"/transactions/{earned}"))["reversed"])
    assert taken == [10, 30, 100]
    assert problem(await bank.post(f"/transactions/{earned}/reverse")) == (409, "already-reversed")


@pytest.mark.parametrize("spent_first", [True, False])
async def test_what_an_order_was_paid_with_comes_back_before_what_it_brought_is_taken(
    bank: Bank, *, spent_first: bool
) -> None:
    """So nothing has to be forgiven of what it brought, and all is as before the order."""
    member = f"pays-with-points-{spent_first}"
    await bank.earn(member, 30)
    movements = [("spend", 30), ("earn", 100)] if spent_first else [("earn", 100), ("spend", 30)]
    for movement, amount in movements:
        await bank.move(f"/members/{member}/{movement}", currency="points", amount=amount, reference="o-1")
    answer = await bank.move(f"/members/{member}/reverse", reference="o-1")
    assert [(made["kind"], made["amount"]) for made in answer["transactions"]] == [("refund", 30), ("clawback", 100)]
    assert await bank.buckets(member) == (30, 0, 0, 0)


@pytest.mark.parametrize("by", ["transaction", "reference"])
async def test_what_a_guest_paid_is_refunded_to_whom_the_guest_became(bank: Bank, by: str) -> None:
    guest, somebody = f"anon:pays-{by}", f"paid-as-guest-{by}"
    await bank.earn(guest, 50)
    [paid] = (await bank.move(f"/members/{guest}/spend", currency="points", amount=40, reference="o-1"))["transactions"]
    await merge(bank.live, guest, somebody)
    path = f"/transactions/{paid['id']}/reverse" if by == "transaction" else f"/members/{somebody}/reverse"
    body = {} if by == "transaction" else {"reference": "o-1"}
    first = await bank.post(path, key=f"refund-{by}", **body)
    assert await bank.buckets(somebody) == (50, 0, 0, 0)
    again = await bank.post(path, key=f"refund-{by}", **body)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert problem(await bank.post(f"/transactions/{paid['id']}/reverse")) == (409, "already-reversed")
    await bank.live.worker.run_due()
    told = await bank.get(f"/transactions/{paid['id']}")
    assert (told["reversed"], await bank.buckets(guest)) == (40, (50, 0, 0, 0))


@pytest.mark.parametrize("resolve", ["capture", "release"])
async def test_a_hold_of_a_guest_ends_when_the_guest_becomes_somebody(bank: Bank, resolve: str) -> None:
    guest, somebody = f"anon:holds-{resolve}", f"held-by-{resolve}"
    await bank.earn(guest, 50)
    hold = (await bank.hold(guest, 40))["id"]
    await merge(bank.live, guest, somebody)
    assert await bank.buckets(somebody) == (50, 0, 0, 0)
    assert problem(await bank.post(f"/holds/{hold}/{resolve}")) == (409, "hold-resolved")


WITHOUT_CREDIT = DOCUMENT.replace("  credit: {clawback: allow_debt}\n", "")


async def test_a_currency_that_is_no_more_keeps_no_other_from_being_taken_back(own_bank: Bank) -> None:
    """Whichever of the two was earned first."""
    await own_bank.earn("ann", 5, "credit", reference="o1")
    await own_bank.earn("ann", 10, reference="o1")
    only = (await own_bank.earn("ann", 3, "credit", reference="o2"))["transactions"][0]["id"]
    await own_bank.publish(WITHOUT_CREDIT)
    answer = await own_bank.move("/members/ann/reverse", reference="o1")
    assert [(made["kind"], made["amount"]) for made in answer["transactions"]] == [("clawback", 10)]
    assert [effect["type"] for effect in answer["effects"]] == ["not_reversed"]
    assert await own_bank.buckets("ann") == (0, 0, 0, 0)
    assert await own_bank.buckets("ann", "credit") == (8, 0, 0, 0)
    for path, body in (("/members/ann/reverse", {"reference": "o2"}), (f"/transactions/{only}/reverse", {})):
        assert problem(await own_bank.post(path, **body)) == (409, "not-reversible")


async def test_what_was_put_on_hold_is_resolved_when_the_currency_is_no_more(own_bank: Bank) -> None:
    await own_bank.earn("ann", 10, "credit")
    hold = (await own_bank.hold("ann", 8, "credit"))["id"]
    await own_bank.publish(WITHOUT_CREDIT)
    await own_bank.move(f"/holds/{hold}/capture", amount=5)
    await own_bank.move(f"/holds/{hold}/release")
    assert await own_bank.buckets("ann", "credit") == (5, 0, 0, 0)


async def test_no_more_is_taken_back_than_was_given(bank: Bank) -> None:
    earned = (await bank.earn("exceeds", 100))["transactions"][0]["id"]
    await bank.move(f"/transactions/{earned}/reverse", amount=30)
    answer = await bank.post(f"/transactions/{earned}/reverse", amount=71)
    assert problem(answer) == (409, "reversal-exceeds-original")
    assert answer.json()["remaining"] == 70


async def test_an_order_is_taken_back_by_its_number(bank: Bank) -> None:
    order = {"type": "order_placed", "member": "returns", "properties": {"order_id": "o-9", "total": 30}}
    await bank.live.event(**order)
    await bank.earn("returns", 5, reference="o-9")
    await bank.earn("returns", 100, reference="o-10")
    answer = await bank.move("/members/returns/reverse", reference="o-9", reason="returned")
    assert sorted(made["amount"] for made in answer["transactions"]) == [5, 30]
    assert await bank.buckets("returns") == (100, 0, 0, 0)
    assert problem(await bank.post("/members/returns/reverse", reference="o-9")) == (409, "nothing-to-reverse")


async def test_racing_spends_never_overdraw(bank: Bank) -> None:
    await bank.earn("raced", 100)
    answers = await asyncio.gather(
        *(bank.post("/members/raced/spend", currency="points", amount=30) for _ in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [402] * 9
    assert await bank.buckets("raced") == (10, 0, 0, 0)


UNKNOWN = "01a200bf-a935-8f30-8000-00a53a57529e"


@pytest.mark.parametrize(
    "path",
    [
        f"/holds/{UNKNOWN}/capture",
        f"/holds/{UNKNOWN}/release",
        f"/transactions/{UNKNOWN}/reverse",
        "/holds/no-id/capture",
        "/transactions/no-id/reverse",
    ],
)
async def test_what_is_not_there(bank: Bank, path: str) -> None:
    assert problem(await bank.post(path)) == (404, "not-found")


async def test_another_program_sees_nothing_of_it(bank: Bank, shop: Live) -> None:
    earned = (await bank.earn("private", 100))["transactions"][0]["id"]
    hold = (await bank.hold("private", 10))["id"]
    headers = {"Idempotency-Key": "foreign"}
    for path in (f"/v1/holds/{hold}/capture", f"/v1/transactions/{earned}/reverse"):
        assert problem(await shop.client.post(path, json={}, headers=headers)) == (404, "not-found")
    assert problem(await shop.client.get(f"/v1/transactions/{earned}")) == (404, "not-found")
    assert problem(await shop.client.get("/v1/members/private/wallet")) == (404, "unknown-member")


async def test_moving_points_needs_the_scope_for_it(bank: Bank) -> None:
    headers = {"Authorization": f"Bearer {bank.live.public_key}", "Idempotency-Key": "public"}
    answer = await bank.live.client.post("/v1/members/x/earn", json=EARN, headers=headers)
    assert problem(answer) == (403, "forbidden")


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/members/edge/earn", {**EARN, "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ("/members/edge/holds", {**EARN, "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ("/events", {"id": "e", "type": "visited", "occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ("/events", {"id": "e", "type": "visited", "occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at"),
    ],
)
async def test_moments_beyond_the_calendar(bank: Bank, path: str, body: dict[str, Any], where: str) -> None:
    if path == "/events":
        body = {**body, "member": "edge"}
    answer = await bank.post(path, **body)
    assert problem(answer) == (422, "invalid-input")
    assert [mistake["path"] for mistake in answer.json()["errors"]] == [where]


async def test_who_is_refused_before_doing_anything_stays_unknown(bank: Bank) -> None:
    spend = {"currency": "points", "amount": 5}
    keyed = {"Idempotency-Key": "ghost-1"}
    answers = [await bank.live.client.post("/v1/members/ghost/spend", json=spend, headers=keyed) for _ in range(2)]
    assert [problem(answer) for answer in answers] == [(402, "insufficient-points")] * 2
    assert (await bank.live.client.get("/v1/members/ghost")).status_code == 404
    earned = await bank.live.client.post(
        "/v1/members/ghost/earn", json={**spend, "reason": "goodwill"}, headers={"Idempotency-Key": "ghost-2"}
    )
    assert earned.status_code == 200, earned.text
    again = await bank.live.client.post("/v1/members/ghost/spend", json=spend, headers=keyed)
    assert problem(again) == (402, "insufficient-points"), "what was refused under a key stays refused"
    assert await bank.live.balance("ghost") == 5
