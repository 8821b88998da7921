"""Minting and revoking member tokens, what they open, and from which pages."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text
from tests.features.bank import DOCUMENT, Bank
from tests.features.customers import Customer, customer, minted, refused_with, stranger
from tests.features.members.test_members import merge
from tests.service import live, service_settings

from rewards.db.tables import ended_member_token
from rewards.domain.commands import MemberRef
from rewards.domain.ids import bucket_of
from rewards.features.tokens.queries import ENDED_TOKENS_MAX

SHOP = "https://shop.example"
EVIL = "https://evil.example"


async def test_a_token_opens_what_the_member_has(bank: Bank) -> None:
    ada = await customer(bank, "token-ada")
    answer = (await ada.send("GET", "/me")).json()
    assert answer["member"] == "token-ada"
    assert answer["balances"]["points"]["available"] == 5
    assert "segments" not in answer


@pytest.mark.parametrize(("body", "seconds"), [({}, 900), ({"ttl_seconds": 60}, 60), ({"ttl_seconds": 86_400}, 86_400)])
async def test_it_lasts_as_long_as_asked(bank: Bank, body: dict[str, Any], seconds: int) -> None:
    answer = (await minted(bank, "token-brief", **body)).json()
    lasts = (datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert seconds - 30 < lasts <= seconds


async def test_without_a_body_the_defaults_hold(bank: Bank) -> None:
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = await bank.live.client.post("/v1/members/token-bare/tokens", headers=headers)
        assert answer.status_code == 201, answer.text
        lasts = (datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)).total_seconds()
        assert 870 < lasts <= 900
    paths = (await bank.live.client.get("/openapi.json")).json()["paths"]
    assert not paths["/v1/members/{member}/tokens"]["post"]["requestBody"]["required"]
    assert paths["/v1/tokens/origins"]["put"]["requestBody"]["required"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"ttl_seconds": 59}, "ttl_seconds"),
        ({"ttl_seconds": 86_401}, "ttl_seconds"),
        ({"ttl_seconds": "900"}, "ttl_seconds"),
        ({"ttl": 900}, "ttl"),
    ],
)
async def test_another_length_is_refused(bank: Bank, body: dict[str, Any], path: str) -> None:
    refused = refused_with(await minted(bank, "token-odd", **body), 422)
    assert refused["errors"][0]["path"] == path


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/members/token-own/wallet"),
        ("GET", "/members/token-own"),
        ("POST", "/members/token-own/tokens"),
        ("POST", "/events"),
        ("GET", "/keys"),
        ("DELETE", "/tokens"),
        ("PUT", "/tokens/origins"),
    ],
)
async def test_it_opens_nothing_else(bank: Bank, method: str, path: str) -> None:
    own = await customer(bank, "token-own")
    body: dict[str, Any] | None = {} if method in {"POST", "PUT"} else None
    refused = refused_with(await own.send(method, path, json=body), 403)
    assert "`/v1/me`" in refused["detail"]


async def test_a_key_does_not_open_what_is_the_members(bank: Bank) -> None:
    for key in (bank.live.server_key, bank.live.public_key):
        refused = refused_with(await Customer(bank.live, key).send("GET", "/me"), 403)
        assert "POST /v1/members/{member}/tokens" in refused["detail"]


@pytest.mark.parametrize(
    ("cut", "code", "says"),
    [
        (slice(0, -3), "token-ended", "no member token, or it was cut or changed; the app's server makes another"),
        (slice(1, None), "unauthorized", "no member token, which begins with `mt_`"),
        (slice(0, 2), "unauthorized", "no member token, which begins with `mt_`"),
    ],
)
async def test_a_mangled_token_is_told_as_one(bank: Bank, cut: slice, code: str, says: str) -> None:
    own = await customer(bank, "token-cut")
    refused = refused_with(await Customer(bank.live, own.token[cut]).send("GET", "/me"), 401)
    assert (refused["code"], says in refused["detail"]) == (code, True), refused


async def test_only_a_key_that_may_send_events_mints(bank: Bank) -> None:
    headers = {"Authorization": f"Bearer {bank.live.public_key}"}
    answer = await bank.live.client.post("/v1/members/token-any/tokens", json={}, headers=headers)
    assert refused_with(answer, 403)["required"] == "events"


@pytest.mark.parametrize(
    ("method", "path", "authorization"),
    [
        ("GET", "/v1/me", ""),
        ("GET", "/v1/me", "Basic !!!"),
        ("GET", "/v1/me", "Bearer nonsense"),
        ("GET", "/v1/me", "Bearer mt_nonsense"),
        ("POST", "/v1/me/events", ""),
        ("GET", "/v1/me/leaderboards/any/stream", ""),
        ("GET", "/v1/me/leaderboards/any/stream?ticket=used", ""),
    ],
)
async def test_no_browser_asks_a_customer_for_a_password(
    bank: Bank, method: str, path: str, authorization: str
) -> None:
    headers = {"Authorization": authorization}
    body = {"id": "e1", "type": "any"} if method == "POST" else None
    answer = await bank.live.client.request(method, path, headers=headers, json=body)
    refused = refused_with(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "Basic" not in answer.headers["www-authenticate"]
    assert "key" not in refused["detail"], "that is no business of customers"


async def test_who_is_not_known_yet_can_have_one(bank: Bank) -> None:
    fresh = await stranger(bank.live, "token-fresh")
    assert await fresh.status() == 404
    await bank.earn("token-fresh", 1)
    assert await fresh.status() == 200


async def test_revoking_ends_all_tokens_of_the_member(bank: Bank) -> None:
    first, second, other = [await customer(bank, member) for member in ("token-r", "token-r", "token-o")]
    answer = await bank.live.client.delete("/v1/members/token-r/tokens")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [await each.status() for each in (first, second, other)] == [401, 401, 200]
    refused = await first.send("GET", "/me")
    assert refused_with(refused, 401)["code"] == "token-ended"
    assert "Basic" not in refused.headers["www-authenticate"]  # it would have the browser ask for a password
    assert await (await customer(bank, "token-r")).status() == 200


async def test_revoking_one_token_leaves_the_others(bank: Bank) -> None:
    (lost, lost_id), (kept, _) = [await identified(bank, "token-one") for _ in range(2)]
    for _ in range(2):
        answer = await bank.live.client.delete(f"/v1/members/token-one/tokens/{lost_id}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert [await each.status() for each in (lost, kept)] == [401, 404]
    refused = await lost.send("POST", "/me/events", json={"id": "e", "type": "visited"})
    assert refused_with(refused, 401)["code"] == "token-ended"
    assert (await bank.live.client.delete("/v1/members/token-one/tokens")).status_code == 204
    assert [await each.status() for each in (lost, kept)] == [401, 401]


async def test_an_id_that_is_no_token_of_the_member(bank: Bank) -> None:
    own, own_id = await identified(bank, "token-mine")
    for member, token in [("token-theirs", own_id), ("token-mine", uuid4()), ("token-mine", "nonsense")]:
        answer = await bank.live.client.delete(f"/v1/members/{member}/tokens/{token}")
        assert refused_with(answer, 404)["code"] == "not-found"
    headers = {"Authorization": f"Bearer {bank.live.public_key}"}
    answer = await bank.live.client.delete(f"/v1/members/token-mine/tokens/{own_id}", headers=headers)
    assert refused_with(answer, 403)["required"] == "events"
    assert await own.status() == 404


async def test_a_merged_members_token_is_revoked_under_either_name(bank: Bank) -> None:
    held = [await identified(bank, "anon:token-was") for _ in range(3)]
    await bank.earn("anon:token-was", 5)
    await merge(bank.live, "anon:token-was", "token-is")
    for (_, identifier), member in zip(held, ("anon:token-was", "token-is"), strict=False):
        assert (await bank.live.client.delete(f"/v1/members/{member}/tokens/{identifier}")).status_code == 204
    assert [await each.status() for each, _ in held] == [401, 401, 200]


async def test_what_was_done_with_a_token_names_its_id(bank: Bank) -> None:
    own, identifier = await identified(bank, "token-actor")
    assert (await own.send("POST", "/me/events", json={"id": "v", "type": "visited"})).status_code == 200
    caller = await bank.live.app.app.state.member_tokens.caller(own.token)
    assert caller.actor == f"token:{identifier}"


async def test_past_a_hundred_all_tokens_of_the_member_end(own_bank: Bank) -> None:
    held = [await identified(own_bank, "many") for _ in range(3)]
    await ended_before(own_bank, "many", ENDED_TOKENS_MAX - 1)
    for (_, identifier), others in zip(held, (404, 401), strict=False):
        assert (await own_bank.live.client.delete(f"/v1/members/many/tokens/{identifier}")).status_code == 204
        assert await held[-1][0].status() == others
    assert await own_bank.count("ended_member_token") == 0
    assert await (await stranger(own_bank.live, "many")).status() == 404


async def ended_before(bank: Bank, member: str, count: int) -> None:
    """So many other tokens of the member, as if they had been revoked one by one."""
    published = await bank.live.service.programs.get(bank.live.program_id)
    identifier = published.identity.member(MemberRef.parse(member))
    row = {"program_id": bank.live.program_id, "bucket": bucket_of(identifier), "member_id": identifier}
    expires_at = datetime.now(UTC) + timedelta(minutes=10)
    async with bank.live.service.engine.begin() as connection:
        await connection.execute(
            insert(ended_member_token),
            [{**row, "token_id": uuid4(), "expires_at": expires_at} for _ in range(count)],
        )


async def test_ended_tokens_are_forgotten_some_time_after_they_would_have_expired(own_bank: Bank) -> None:
    ended = [await identified(own_bank, member) for member in ("ada", "ada", "bob")]
    for member, (_, identifier) in zip(("ada", "ada", "bob"), ended, strict=True):
        await own_bank.live.client.delete(f"/v1/members/{member}/tokens/{identifier}")
    assert await own_bank.count("ended_member_token") == 3
    async with own_bank.live.service.engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE ended_member_token SET expires_at = now() - interval '61 minutes'"
                " WHERE program_id = :program AND token_id = ANY(:tokens)"
            ),
            {"program": own_bank.live.program_id, "tokens": [ended[0][1], ended[2][1]]},
        )
    [upkeep] = [job for job in own_bank.live.worker.jobs() if job.name == "upkeep"]
    await upkeep.run()
    assert await own_bank.count("ended_member_token") == 1
    assert await ended[1][0].status() == 401


async def identified(bank: Bank, member: str) -> tuple[Customer, UUID]:
    """A customer with a fresh token, and the token's id."""
    answer = (await minted(bank, member)).json()
    return Customer(bank.live, answer["token"]), UUID(answer["id"])


async def test_revoking_ends_all_tokens_of_the_program(own_bank: Bank) -> None:
    before = [await customer(own_bank, member) for member in ("ada", "bob")]
    assert (await own_bank.live.client.delete("/v1/tokens")).status_code == 204
    assert [await each.status() for each in before] == [401, 401]
    assert await (await customer(own_bank, "ada")).status() == 200


async def test_a_merged_members_token_acts_for_the_member_it_became(bank: Bank) -> None:
    before = await customer(bank, "anon:token-1")
    await customer(bank, "token-known")
    await merge(bank.live, "anon:token-1", "token-known")
    answer = (await before.send("GET", "/me")).json()
    assert (answer["merged_into"], answer["balances"]["points"]["available"]) == ("token-known", 10)
    await bank.live.client.delete("/v1/members/token-known/tokens")
    assert await before.status() == 401


async def test_an_erased_members_token_is_gone(bank: Bank) -> None:
    erased = await customer(bank, "token-erased")
    published = await bank.live.service.programs.get(bank.live.program_id)
    async with bank.live.service.engine.begin() as connection:
        identifier = published.identity.member(MemberRef.parse("token-erased"))
        await connection.execute(text("UPDATE member SET erased_at = now() WHERE member_id = :id"), {"id": identifier})
    assert await erased.status() == 410
    assert refused_with(await minted(bank, "token-erased"), 410)["code"] == "member-erased"


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ([], SHOP, 200),  # none is listed: any page
        ([SHOP], SHOP, 200),
        ([SHOP], None, 200),  # an app, not a page
        ([SHOP], EVIL, 403),
        ([SHOP], f"{SHOP}.evil.example", 403),
        (["*"], EVIL, 200),
    ],
)
async def test_pages_that_the_program_lists_may_use_it(
    own_bank: Bank, origins: list[str], origin: str | None, status: int
) -> None:
    ada = await customer(own_bank, "ada")
    answer = await own_bank.live.client.put("/v1/tokens/origins", json={"origins": origins})
    assert (answer.status_code, answer.json()) == (200, {"origins": origins})
    assert await own_bank.get("/tokens/origins") == {"origins": origins}
    answer = await ada.send("GET", "/me", origin=origin)
    allowed = answer.headers.get("access-control-allow-origin")
    assert (answer.status_code, allowed) == (status, origin if status == 200 else None)


async def test_what_is_no_origin_is_refused(bank: Bank) -> None:
    answer = await bank.live.client.put("/v1/tokens/origins", json={"origins": [SHOP, "shop.example"]})
    assert refused_with(answer, 422)["errors"][0]["path"] == "origins[1]"


async def test_a_page_can_read_that_its_token_has_ended(bank: Bank) -> None:
    answer = await Customer(bank.live, "mt_over").send("GET", "/me", origin=EVIL)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, EVIL)


async def test_one_token_cannot_flood_the_service(migrated_url: str, redis_url: str) -> None:
    settings = service_settings(migrated_url, redis_url, member_requests_per_second=1)
    async with live(settings, DOCUMENT) as slow:
        flood, calm = await stranger(slow, "flood"), await stranger(slow, "calm")
        answers = await asyncio.gather(*(flood.send("GET", "/me", origin=SHOP) for _ in range(30)))
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused_with(refused, 429)["code"] == "too-many-requests"
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["access-control-allow-origin"] == SHOP
        assert await calm.status() == 404


async def test_a_member_changes_language_and_time_zone(bank: Bank) -> None:
    ada = await customer(bank, "token-moves")
    changed = await ada.send("PATCH", "/me", json={"locale": "de-AT", "timezone": "Europe/Vienna"})
    assert (changed.status_code, changed.json()["locale"]) == (200, "de-AT")
    profile = (await ada.send("GET", "/me")).json()
    assert (profile["locale"], profile["timezone"]) == ("de-AT", "Europe/Vienna")
    await ada.send("PATCH", "/me", json={"locale": None})
    assert (await ada.send("GET", "/me")).json()["locale"] is None


@pytest.mark.parametrize(
    ("body", "path"),
    [({"timezone": "Mars/Olympus"}, "timezone"), ({"attributes": {"plan": "gold"}}, "attributes")],
)
async def test_a_member_changes_nothing_else(bank: Bank, body: dict[str, Any], path: str) -> None:
    ada = await customer(bank, "token-stays")
    assert refused_with(await ada.send("PATCH", "/me", json=body), 422)["errors"][0]["path"] == path


@pytest.mark.parametrize("scopes", [["events"], ["events", "read"], ["events", "ledger"], ["read", "ledger"]])
async def test_a_key_mints_only_what_it_may_do_itself(bank: Bank, scopes: list[str]) -> None:
    made = await bank.live.client.post("/v1/keys", json={"name": "weak", "scopes": scopes})
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    answer = await bank.live.client.post("/v1/members/token-any/tokens", json={}, headers=headers)
    refused_with(answer, 403)


async def test_a_customer_cannot_use_up_a_key_that_the_server_will_send(bank: Bank) -> None:
    own = await customer(bank, "token-keys")
    key = {"Idempotency-Key": "refund-1001"}
    mine = {**key, "Authorization": f"Bearer {own.token}"}
    assert (await bank.live.client.patch("/v1/me", json={"locale": "de"}, headers=mine)).status_code == 200
    answer = await bank.live.client.post(
        "/v1/members/token-keys/earn", json={"currency": "points", "amount": 3, "reason": "goodwill"}, headers=key
    )
    assert answer.status_code == 200, answer.text


async def test_pages_may_ask_for_every_method_of_the_customers_api(bank: Bank) -> None:
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "PUT"}
    answer = await bank.live.client.options("/v1/me/leaderboards/opt-out", headers=headers)
    methods = {each.strip() for each in answer.headers["access-control-allow-methods"].split(",")}
    asked = {
        method.upper()
        for path, item in (await bank.live.client.get("/openapi.json")).json()["paths"].items()
        if path.startswith("/v1/me")
        for method in item
    }
    assert asked <= methods
