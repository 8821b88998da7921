"""Bad input of every kind, end to end: each is a problem that says where and what would be right, and changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import pytest
from tests.features.hostile import (
    ALIAS_BOMB,
    DOCUMENT,
    HANGING,
    NOBODYS,
    Request,
    Town,
    bought,
    document,
    event,
    get,
    move,
    post,
    profile,
    settle,
)
from tests.service import create_database, live, service_settings

MOST: Final = 2**53 - 1
DEEP: Final = json.loads("[" * 40 + "]" * 40)


@pytest.fixture(scope="module")
async def town(database_url: str, redis_url: str) -> AsyncIterator[Town]:
    """A database of its own, so that every row of it can be compared."""
    url = await create_database(database_url, "bad_input_tests")
    async with live(service_settings(url, redis_url), DOCUMENT) as running:
        yield await settle(running)


async def refused(town: Town, request: Request) -> dict[str, Any]:
    """The problem that the request is answered with, having changed nothing."""
    before = await town.digest()
    answer = await town.send(request)
    assert answer.headers["content-type"] == "application/problem+json", (answer.status_code, answer.text)
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:rewards:problem:{problem['code']}"
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert await town.digest() == before
    return problem


def found(problem: dict[str, Any]) -> tuple[int, str, str | None]:
    """Status and code, and the place of the first mistake."""
    first = (problem.get("errors") or [{}])[0]
    return problem["status"], problem["code"], first.get("path")


def remedy(problem: dict[str, Any]) -> str:
    """What would be right, as the first mistake says it."""
    first = (problem.get("errors") or [{}])[0]
    return str(first.get("expected") or first.get("message"))


@pytest.mark.parametrize(
    ("request_", "status", "code", "where", "right"),
    [
        # not JSON
        (post("/events", b""), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", b"{"), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", b'{"id": "e", "type": "visited", "member": "alice"} {}'), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", b"\xef\xbb\xbf{}"), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", b'{"id": NaN}'), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", b'{"id": Infinity}'), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", b'{"id": 1e400}'), 422, "invalid-input", "id", "2^53−1"),
        (post("/events", b'{"id": 01}'), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", '{"id": "é"}'.encode("utf-16")), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/members/alice/earn", b"{", key="k"), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/programs/rollback", b"{"), 400, "malformed-json", "", "JSON in UTF-8"),
        (post("/events", []), 422, "invalid-input", "", "object"),
        (post("/events/batch", []), 422, "invalid-input", "", "object"),
        (post("/events", b"null"), 422, "invalid-input", "", "object"),
        # wrong types
        (event(id=9), 422, "invalid-input", "id", "string"),
        (event(id=None), 422, "invalid-input", "id", "string"),
        (event(member=["alice"]), 422, "invalid-input", "member", "string"),
        (event(properties=[]), 422, "invalid-input", "properties", "object"),
        (event(context="ios"), 422, "invalid-input", "context", "object"),
        (event(occurred_at=1_700_000_000), 422, "invalid-input", "occurred_at", "datetime"),
        (move("earn", amount="9"), 422, "invalid-input", "amount", "integer"),
        (move("earn", amount=True), 422, "invalid-input", "amount", "integer"),
        (move("earn", amount=9.0), 422, "invalid-input", "amount", "integer"),
        (move("earn", amount=9.5), 422, "invalid-input", "amount", "integer"),
        (move("earn", amount=None), 422, "invalid-input", "amount", "integer"),
        (move("earn", currency=1), 422, "invalid-input", "currency", "string"),
        (profile(attributes=[]), 422, "invalid-input", "attributes", "object"),
        (profile(attributes={"age": "9"}), 422, "schema-violation", "attributes.age", "whole number"),
        (profile(attributes={"age": True}), 422, "schema-violation", "attributes.age", "whole number"),
        (profile(attributes={"age": -1}), 422, "schema-violation", "attributes.age", "at least 0"),
        (bought(total="9"), 422, "schema-violation", "properties.total", "whole number"),
        (bought(total=True), 422, "schema-violation", "properties.total", "whole number"),
        (bought(total=9.5), 422, "schema-violation", "properties.total", "whole number"),
        (bought(at="yesterday"), 422, "schema-violation", "properties.at", "date-time"),
        (bought(order_id="x" * 51), 422, "schema-violation", "properties.order_id", "50"),
        # what is missing or not known
        (post("/events", {}), 422, "invalid-input", "id", "a field `id`"),
        (event(propertys={}), 422, "invalid-input", "propertys", "properties"),
        (move("earn", ammount=1), 422, "invalid-input", "ammount", "amount"),
        (move("earn", refrence="o-1"), 422, "invalid-input", "refrence", "reference"),
        (profile(time_zone="UTC"), 422, "invalid-input", "time_zone", "timezone"),
        (event(type="vistied"), 422, "invalid-input", "type", "visited"),
        (event(type="Visited "), 422, "invalid-input", "type", "visited"),
        (event(type="bought"), 422, "schema-violation", "properties.order_id", "required"),
        (profile(attributes={"pln": "pro"}), 422, "schema-violation", "attributes.pln", "plan"),
        (move("earn", currency="pionts"), 422, "invalid-input", "currency", "points"),
        (get("/members/alice/balance?currency=pionts"), 422, "invalid-input", "query.currency", "points"),
        # amounts
        (move("earn", amount=0), 422, "invalid-input", "amount", ">= 1"),
        (move("earn", amount=-1), 422, "invalid-input", "amount", ">= 1"),
        (move("spend", amount=-(2**63)), 422, "invalid-input", "amount", ">= 1"),
        (move("holds", amount=0), 422, "invalid-input", "amount", ">= 1"),
        (move("earn", amount=MOST + 1), 422, "invalid-input", "amount", str(MOST)),
        (move("earn", amount=2**64), 422, "invalid-input", "amount", str(MOST)),
        (move("earn", amount=10**400), 422, "invalid-input", "amount", "integer"),
        (move("earn", amount=1e308), 422, "invalid-input", "amount", "integer"),
        (bought(total=MOST + 1), 422, "invalid-input", "properties.total", "2^53−1"),
        (bought(total=-(10**30)), 422, "invalid-input", "properties.total", "2^53−1"),
        (bought(weight=1e308), 422, "invalid-input", "properties.weight", "2^53−1"),
        (event(context={"a": [{"b": -1e17}]}), 422, "invalid-input", "context.a[0].b", "2^53−1"),
        (event(context={"a": 10**400}), 422, "invalid-input", "context.a", "2^53−1"),
        (profile(attributes={"age": 1e300}), 422, "invalid-input", "attributes.age", "2^53−1"),
        # too much
        (post("/events", b'{"id": "' + b"x" * 1_100_000 + b'"}'), 413, "body-too-large", None, None),
        (post("/programs/check", b"x" * 10_000_000), 413, "body-too-large", None, None),
        (post("/programs/versions", b"x" * 10_000_000), 413, "body-too-large", None, None),
        (event(properties={"x": DEEP}), 400, "too-deep", None, None),
        (event(context={"x": DEEP}), 400, "too-deep", None, None),
        (post("/events", b"[" * 100_000), 400, "too-deep", None, None),
        (event(id="x" * 101), 422, "invalid-input", "id", "100"),
        (event(member="x" * 201), 422, "invalid-input", "member", "200"),
        (event(type="x" * 201), 422, "invalid-input", "type", "200"),
        (move("earn", "x" * 201), 422, "invalid-input", "member", "200"),
        (move("earn", reference="x" * 201), 422, "invalid-input", "reference", "200"),
        (move("earn", note="x" * 1001), 422, "invalid-input", "note", "1000"),
        (post("/events/batch", {"events": []}), 422, "invalid-input", "events", "1 to 1000"),
        (post("/events/batch", {"events": [{}] * 1001}), 422, "invalid-input", "events", "1 to 1000"),
        (get("/members/alice/events?limit=201"), 400, "malformed-parameter", "query.limit", None),
        (get("/members/alice/events?limit=0"), 400, "malformed-parameter", "query.limit", None),
        # empty
        (event(id=""), 422, "invalid-input", "id", "1"),
        (event(member=""), 422, "invalid-input", "member", "1"),
        (event(type=""), 422, "invalid-input", "type", "1"),
        (event(member="anon:"), 422, "invalid-input", "member", "1 to 200"),
        (move("earn", reference=""), 422, "invalid-input", "reference", "1"),
        (move("earn", currency=""), 422, "invalid-input", "currency", "1"),
        # places and times
        (profile(timezone="Mars/Olympus"), 422, "schema-violation", "timezone", "Europe/Berlin"),
        (profile(timezone="localtime"), 422, "schema-violation", "timezone", "Europe/Berlin"),
        (profile(timezone="right/Europe/Berlin"), 422, "schema-violation", "timezone", "Europe/Berlin"),
        (profile(timezone="../../etc/passwd"), 422, "schema-violation", "timezone", "Europe/Berlin"),
        (profile(timezone="/etc/localtime"), 422, "schema-violation", "timezone", "Europe/Berlin"),
        (profile(timezone="Europe"), 422, "schema-violation", "timezone", "Europe/Berlin"),
        (profile(timezone="Europe/Berlin\x00"), 422, "invalid-input", "timezone", "NUL"),
        (profile(timezone=""), 422, "invalid-input", "timezone", "1"),
        (profile(locale="klingon!"), 422, "schema-violation", "locale", "BCP 47"),
        (profile(locale="de_DE"), 422, "schema-violation", "locale", "BCP 47"),
        (profile(locale="x" * 36), 422, "invalid-input", "locale", "35"),
        (event(occurred_at="yesterday"), 422, "invalid-input", "occurred_at", None),
        (event(occurred_at="2026-11-21T10:00:00"), 422, "invalid-input", "occurred_at", "timezone"),
        (event(occurred_at="2026-02-30T10:00:00Z"), 422, "invalid-input", "occurred_at", None),
        (event(occurred_at="0000-01-01T00:00:00Z"), 422, "invalid-input", "occurred_at", None),
        (event(occurred_at="10000-01-01T00:00:00Z"), 422, "invalid-input", "occurred_at", None),
        (event(occurred_at="9999-12-31T23:59:59Z"), 422, "invalid-input", "occurred_at", "9998"),
        (event(occurred_at="2999-01-01T00:00:00Z"), 422, "invalid-input", "occurred_at", "5 minutes"),
        (event(occurred_at="9999-12-31T23:59:59-14:00"), 422, "invalid-input", "occurred_at", None),
        (event(occurred_at="0001-01-01T00:00:00+14:00"), 422, "invalid-input", "occurred_at", None),
        (move("earn", expires_at="1969-12-31T23:59:59Z"), 422, "invalid-input", "expires_at", "future"),
        (move("earn", hold="99999999999d"), 422, "invalid-input", "hold", None),
        (move("holds", expires_in="999999999d"), 422, "invalid-input", "expires_in", None),
        (get("/members/alice/balance?at=yesterday"), 422, "invalid-input", "query.at", "RFC 3339"),
        (get("/members/alice/balance?at=2026-11-21"), 422, "invalid-input", "query.at", "RFC 3339"),
        (get("/members/alice/balance?at=9999-12-31T23:59:59Z"), 422, "invalid-input", "query.at", "past"),
        (get("/members/alice/balance?at=0001-01-01T00:00:00%2B14:00"), 422, "invalid-input", "query.at", "RFC 3339"),
        (get(f"/members/alice/balance?at={'9' * 41}"), 400, "malformed-parameter", "query.at", None),
        (get("/members/alice/statement?from=soon"), 422, "invalid-input", "query.from", "RFC 3339"),
        # cursors
        (get("/members/alice/events?cursor=nonsense"), 400, "malformed-cursor", "query.cursor", "next_cursor"),
        (get("/members/alice/statement?cursor=%2525"), 400, "malformed-cursor", "query.cursor", "next_cursor"),
        (get("/quarantine?cursor=AAAA"), 400, "malformed-cursor", "query.cursor", "next_cursor"),
        (get("/keys?cursor=%F0%9F%98%80"), 400, "malformed-cursor", "query.cursor", "next_cursor"),
        (get(f"/programs/versions?cursor={'A' * 1025}"), 400, "malformed-parameter", "query.cursor", None),
        (post("/quarantine/replay", {"cursor": "AAAA"}), 400, "malformed-cursor", "query.cursor", "next_cursor"),
        # a member whom nobody knows stays unknown
        (event(member="stranger", type="teleported"), 422, "invalid-input", "type", "visited"),
        (event(member="stranger", type="bought"), 422, "schema-violation", "properties.order_id", "required"),
        (event(member="stranger", occurred_at="2999-01-01T00:00:00Z"), 422, "invalid-input", "occurred_at", "5 minutes"),
        (move("earn", "stranger", currency="pionts"), 422, "invalid-input", "currency", "points"),
        (move("holds", "stranger", expires_at="1970-01-01T00:00:00Z", expires_in=None), 422, "invalid-input",
         "expires_at", "future"),
        (get("/members/stranger"), 404, "unknown-member", None, None),
        # idempotency keys
        (post("/members/alice/earn", {}), 422, "invalid-input", "currency", "currency"),
        (move("earn", key=""), 400, "malformed-idempotency-key", "header.Idempotency-Key", "1 to 255"),
        (move("earn", key="x" * 256), 400, "malformed-idempotency-key", "header.Idempotency-Key", "1 to 255"),
        (move("earn", key="ключ".encode()), 400, "malformed-idempotency-key", "header.Idempotency-Key", "ASCII"),
        (move("earn", key=b"a\x00b"), 400, "malformed-idempotency-key", "header.Idempotency-Key", "ASCII"),
        (move("earn", key=b"a\x7fb"), 400, "malformed-idempotency-key", "header.Idempotency-Key", "ASCII"),
        (move("earn", key="settle-1"), 422, "id-reused", None, None),
        (move("spend", amount=1000, key="settle-1"), 422, "id-reused", None, None),
        (event(id="first", properties={"page": "/"}), 422, "id-reused", None, None),
        # addresses
        (get("/members/nobody"), 404, "unknown-member", None, None),
        (get("/members/%00"), 400, "malformed-parameter", "path", "NUL"),
        (get("/members/%ED%A0%80"), 400, "malformed-parameter", "path", "UTF-8"),
        (get("/members/%FF/wallet"), 400, "malformed-parameter", "path", "UTF-8"),
        (get("/members/alice/events?type=%00"), 400, "malformed-parameter", "query", "NUL"),
        (get("/members/alice/events?type=%FF"), 400, "malformed-parameter", "query", "UTF-8"),
        (get("/members/..%2F..%2Fetc%2Fpasswd"), 404, "unknown-member", None, None),
        (get("/members/alice/events/..%2Fwallet"), 404, "not-found", None, None),
        (get("/transactions/" + "9" * 5000), 404, "not-found", None, None),
        (get(f"/transactions/{NOBODYS.transaction}"), 404, "not-found", None, None),
        (get("/programs/versions/99999999999999999999"), 400, "malformed-parameter", "path.number", None),
        (get("/programs/versions/999"), 404, "unknown-version", None, None),
        (get("/../../etc/passwd"), 404, "not-found", None, None),
        (post("/programs/rules/%2e%2e/resume"), 404, "unknown-rule", None, None),
        # documents
        (post("/programs/versions", ALIAS_BOMB, media_type="application/yaml"), 422, "invalid-program", "", None),
        (post("/programs/versions", b"a: [", media_type="application/yaml"), 422, "invalid-program", "", None),
        (post("/programs/versions", b"\xff\xfe"), 422, "invalid-program", "", None),
        (post("/programs/versions", b"[]"), 422, "invalid-program", "", None),
        (post("/programs/versions", b"[" * 200_000), 422, "invalid-program", "", None),
        (post("/programs/versions", b""), 422, "invalid-program", "", None),
        (post("/programs/rollback", {"to": 0}), 422, "invalid-input", "to", ">= 1"),
        (post("/programs/rollback", {"to": 2**40}), 422, "invalid-input", "to", "2147483647"),
        (post("/programs/rules/purchase/pause", {"reason": "a\0b"}), 422, "invalid-input", "reason", "NUL"),
    ],
    ids=str,
)  # fmt: skip
async def test_wrong(
    town: Town, request_: Request, status: int, code: str, where: str | None, right: str | None
) -> None:
    problem = await refused(town, request_)
    assert found(problem) == (status, code, where), problem
    assert right is None or right in remedy(problem), problem


POISON: Final = {
    "NUL": (rb"a\u0000b", 422, "invalid-input"),
    "lone surrogate": (rb"a\ud800b", 400, "malformed-json"),
    "reversed pair": (rb"a\udc00\ud800b", 400, "malformed-json"),
    "encoded surrogate": (b"a\xed\xa0\x80b", 400, "malformed-json"),
    "latin-1": (b"a\xe9b", 400, "malformed-json"),
    "overlong": (b"a\xc0\x80b", 400, "malformed-json"),
    "control character": (b"a\x01b", 400, "malformed-json"),
}


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (event(id="☠"), "id"),
        (event(type="☠"), "type"),
        (event(member="☠"), "member"),
        (event(type="told", properties={"anything": {"deep": ["☠"]}}), "properties.anything.deep[0]"),
        (event(type="told", properties={"☠": 1}), "properties"),
        (event(context={"☠": 1}), "context"),
        (event(context={"device": "☠"}), "context.device"),
        (move("earn", reference="☠"), "reference"),
        (move("spend", note="☠"), "note"),
        (move("earn", currency="☠"), "currency"),
        (profile(attributes={"plan": "☠"}), "attributes.plan"),
        (profile(attributes={"☠": "pro"}), "attributes"),
        (post("/programs/rules/purchase/pause", {"reason": "☠"}), "reason"),
        (post("/keys", {"name": "☠", "scopes": ["read"]}), "name"),
        (post("/quarantine/replay", {"type": "☠"}), "type"),
    ],
    ids=str,
)  # fmt: skip
async def test_text_that_cannot_be_kept(town: Town, request_: Request, where: str, poison: str) -> None:
    bad, status, code = POISON[poison]
    assert request_.content is not None
    problem = await refused(town, request_.replacing("☠", bad))
    assert problem["status"] in {status, 422}, problem
    if problem["code"] == "malformed-json":
        where = ""
    assert (problem["code"], problem["errors"][0]["path"].rstrip(".")) in {(code, where), ("invalid-input", "")}, (
        problem
    )


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [
        (None, 401, "unauthorized"),
        (b"", 401, "unauthorized"),
        (b"Bearer", 401, "unauthorized"),
        (b"Bearer ", 401, "unauthorized"),
        (b"Bearer nonsense", 401, "unauthorized"),
        (b"Bearer rk_short", 401, "unauthorized"),  # too weak: fewer than 256 bits
        (b"Bearer rk_" + b"a" * 43, 401, "unauthorized"),
        (b"Bearer rk_" + b"a" * 100_000, 401, "unauthorized"),
        (b"Bearer rk_" + b"\xff" * 43, 401, "unauthorized"),
        (b"Bearer rk_' OR 1=1 --", 401, "unauthorized"),
        (b"Basic !!!", 401, "unauthorized"),
        (b"Basic /////w==", 401, "unauthorized"),
        (b"Digest abc", 401, "unauthorized"),
        (b"Bearer rk_" + b"strong-and-unknown-to-everybody-here-012345", 401, "unauthorized"),
        (b"revoked", 401, "unauthorized"),
        (b"public", 403, "forbidden"),
    ],
)
@pytest.mark.parametrize(
    "request_",
    [move("earn"), profile(locale="de"), get("/members/alice"), post("/programs/check", b"{}"), get("/keys")],
    ids=str,
)
async def test_without_a_good_key(
    town: Town, request_: Request, authorization: bytes | None, status: int, code: str
) -> None:
    keys = {b"revoked": town.revoked, b"public": town.live.public_key}
    if authorization in keys:
        authorization = b"Bearer " + keys[authorization].encode()
    problem = await refused(town, request_.with_header("Authorization", authorization))
    assert (problem["status"], problem["code"]) == (status, code)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (event(type="bought", properties={"order_id": "o-1"}), 422, "invalid-input"),  # not `client: true`
        (get("/members/alice"), 403, "forbidden"),
        (get("/members/alice/wallet"), 403, "forbidden"),
        (get("/quarantine"), 403, "forbidden"),
        (get("/programs/versions"), 403, "forbidden"),
        (post("/keys", {"name": "mine", "scopes": ["admin"]}), 403, "forbidden"),
        (move("spend"), 403, "forbidden"),
    ],
    ids=str,
)
async def test_with_a_public_key(town: Town, request_: Request, status: int, code: str) -> None:
    public = request_.with_header("Authorization", f"Bearer {town.live.public_key}".encode())
    assert found(await refused(town, public))[:2] == (status, code)


@pytest.mark.parametrize(
    "request_",
    [
        get("/transactions/{transaction}"),
        post("/transactions/{transaction}/reverse", {}, key="theirs"),
        post("/holds/{hold}/capture", {}, key="theirs"),
        post("/holds/{hold}/release", {"amount": 1}, key="theirs"),
        get("/quarantine/{quarantined}"),
        post("/quarantine/{quarantined}/replay"),
        Request("DELETE", "/v1/keys/{key}"),
        get("/members/bob"),
        get("/members/bob/wallet"),
        get("/members/bob/statement"),
        get("/members/bob/events"),
        get("/members/bob/events/first"),
    ],
    ids=str,
)
async def test_what_belongs_to_another_program_is_not_there(town: Town, request_: Request) -> None:
    problem = await refused(town, request_.about(town.foreign))
    assert problem["status"] == 404
    nobodys = await refused(town, request_.about(NOBODYS))
    assert {**problem, "instance": None} == {**nobodys, "instance": None}, "an answer tells whether it exists elsewhere"


async def test_a_list_holds_nothing_of_another_program(town: Town) -> None:
    for path in ("/v1/quarantine", "/v1/keys", "/v1/programs/versions"):
        answer = await town.live.client.get(path)
        for secret in (town.foreign.quarantined, town.foreign.key):
            assert str(secret) not in answer.text
    foreign = await town.live.client.get("/v1/quarantine?cursor=" + town.foreign.cursor)
    assert foreign.json()["code"] == "malformed-cursor"


async def test_no_balance_grows_past_what_json_can_count(town: Town) -> None:
    """Neither by a call, which is refused, nor by a rule, which does not fire and says why."""
    assert (await town.send(move("earn", "rich", amount=MOST, key="fill"))).status_code == 200
    one_more = await town.send(move("earn", "rich", amount=1, key="one-more"))
    assert (one_more.status_code, one_more.json()["code"]) == (409, "amount-overflow")
    bought_one = bought(total=1).body | {"id": "one-more", "member": "rich"}
    answer = await town.send(post("/events?trace=true", bought_one))
    assert answer.status_code == 200, answer.text
    assert answer.json()["effects"] == []
    assert "amount-overflow" in json.dumps(answer.json()["trace"])
    too_heavy = await town.send(
        post("/events?trace=true", bought(weight=MOST).body | {"id": "too-heavy", "member": "rich"})
    )
    assert "amount-overflow" in json.dumps(too_heavy.json()["trace"]), "a thousand times that would be earned"
    wallet = (await town.live.client.get("/v1/members/rich/wallet")).json()
    assert wallet["currencies"]["points"]["balances"]["available"] == MOST


UNUSUAL: Final = [
    "../../etc/passwd",
    "a/b",
    "a//b",
    ".",
    "..",
    " ",
    " alice",
    "alice ",
    "ALICE",
    "al\tice\n",
    "\x7f\x01",
    "\u202ealice",
    "é",
    "e\u0301",
    "\ufeffalice",
    "ﬁ",
    "fi",
    "İ",
    "😀" * 50,
    "%00",
    "%2F",
    "?a=b#c",
    "'; DROP TABLE member; --",
    "{0}",
    "x" * 100,
    "user:user:alice",
    "__proto__",
]


async def test_unusual_ids_stay_what_they_are_and_apart(town: Town) -> None:
    """As members and as events: nothing is normalised, trimmed, unescaped twice or taken for a path."""
    assert len(set(UNUSUAL)) == len(UNUSUAL)
    for number, name in enumerate(UNUSUAL, 1):
        properties = {"order_id": "o", "total": number}
        answer = await town.send(event(id=name, member=name, type="bought", properties=properties))
        assert answer.status_code == 200, (name, answer.text)
    for number, name in enumerate(UNUSUAL, 1):
        member = quote(name, safe="").replace(".", "%2E")
        answer = await town.live.client.get(f"/v1/members/{member}/wallet")
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["currencies"]["points"]["balances"]["available"] == number, name
        answer = await town.live.client.get(f"/v1/members/{member}/events/{member}")
        assert (answer.status_code, answer.json().get("id")) == (200, name), (name, answer.text)


@pytest.mark.parametrize(
    "value",
    [1e15, -1e15, 5e-324, 0.0, 0.1, MOST, -MOST, "", " ", "\ufffd", "\u2028", [], {}, None, [[[[]]]], {"": {"": ""}}],
    ids=repr,
)
async def test_unusual_values_come_back_as_they_were(town: Town, value: Any) -> None:
    sent = event(id=f"value-{value!r}"[:100], member="values", type="told", properties={"anything": {"is": value}})
    assert (await town.send(sent)).status_code == 200
    path = f"/v1/members/values/events/{quote(sent.body['id'], safe='')}"
    stored = (await town.live.client.get(path)).json()["properties"]["anything"]["is"]
    assert (stored, repr(stored)) == (value, repr(value))


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (ALIAS_BOMB, "too-large"),
        (b"[" * 500_000, "too-deep"),
        (document(when="size([" + "1, " * 200_000 + "1]) > 0"), None),
        (document(when=" && ".join(["event.total > 1"] * 3_000)), None),
        (document(when="(" * 5_000 + "true" + ")" * 5_000), None),
        (document(when=HANGING), None),
        (b"rewards: 1\nrules: [" + b"{key: r, on: e, then: []}, " * 5_000 + b"]", None),
        pytest.param(
            b"rewards: 1\nrules: [" + b"{key: r, on: e, then: []}, " * 30_000 + b"]", None, marks=pytest.mark.slow
        ),
        (b"\x00", None),
        (b"? [a]\n: b", None),
        (b"!!python/object/apply:os.system ['true']", None),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("path", ["/programs/check", "/programs/test"])
async def test_hostile_documents(town: Town, path: str, source: bytes, code: str | None) -> None:
    """They are answered within the time of a check, as mistakes of the document, and the next one is checked as ever."""
    before = await town.digest()
    async with asyncio.timeout(20):
        answer = await town.send(post(path, source, media_type="application/yaml"))
        assert answer.status_code == 200, answer.text
        report = answer.json()
        assert not report["ok"]
        assert code is None or [mistake["code"] for mistake in report["errors"]] == [code]
        good = await town.send(post(path, DOCUMENT.encode(), media_type="application/yaml"))
        assert good.json()["ok"], good.text
    assert await town.digest() == before


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (document(when=HANGING), None),
        (document(when="event.totl > 1"), "unknown-field"),
        (DOCUMENT.replace("key: town", "key: neighbour").encode(), "other-program"),
    ],
    ids=["hanging", "a typo", "another program"],
)
async def test_a_bad_draft_can_be_kept_and_never_published(town: Town, source: bytes, code: str | None) -> None:
    drafted = await town.send(post("/programs/versions", source, media_type="application/yaml"))
    assert drafted.status_code == 201, drafted.text
    number = drafted.json()["version"]["number"]
    problem = await refused(town, post(f"/programs/versions/{number}/publish"))
    assert (problem["status"], problem["code"]) == (422, "invalid-program")
    assert code is None or [mistake["code"] for mistake in problem["errors"]] == [code]
    assert problem["errors"][0]["path"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/programs/check", "/v1/programs/versions"])
async def test_a_body_that_does_not_say_how_long_it_is(town: Town, path: str) -> None:
    """It is cut off at the limit, not read to its end."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 1_000_000_000:
            read += 65_536
            yield b" " * 65_536

    before = await town.digest()
    answer = await town.live.client.post(path, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert read < 3_000_000
    assert await town.digest() == before
