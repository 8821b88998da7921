"""Every answer of the edge: problems, keys, headers, limits, documents."""

import asyncio
import base64
import json
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

import httpx
import jsonschema
import pytest
from tests.http.application import BODY_BYTES_MAX, SECRET_KEY, Application
from tests.http.conftest import MakeKey

from rewards import __version__
from rewards.db.engine import make_engine
from rewards.db.migrate import head_revision
from rewards.domain.errors import RewardsError
from rewards.features.health.controller import Readiness
from rewards.http.auth import new_token
from rewards.http.limits import RateLimiter
from rewards.http.openapi import describe
from rewards.http.problems import MEDIA_TYPE, STATUSES, status_of
from rewards.local.ports import free_port
from rewards.valkey import make_valkey

Headers = dict[str, str]


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def basic(user: str, password: str = "") -> Headers:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "where"),
    [
        ("POST", "/v1/events", "", 400, "malformed-json", [""]),
        ("POST", "/v1/events", "{", 400, "malformed-json", [""]),
        ("POST", "/v1/events", '{"id": "\\ud800"}', 400, "malformed-json", [""]),
        ("POST", "/v1/events", "[" * 1000 + "]" * 1000, 400, "too-deep", None),
        ("POST", "/v1/events", '{"id": 9}', 422, "invalid-input", ["id"]),
        ("POST", "/v1/events", '{"id": "a", "points": "9"}', 422, "invalid-input", ["points"]),
        ("POST", "/v1/events", '{"id": "a", "points": -1}', 422, "invalid-input", ["points"]),
        ("POST", "/v1/events", '{"id": "a", "points": 1e3}', 422, "invalid-input", ["points"]),
        ("POST", "/v1/events", '{"id": "a", "points": 9007199254740992}', 422, "invalid-input", ["points"]),
        ("POST", "/v1/events", '{"id": "a", "pionts": 1}', 422, "invalid-input", ["pionts"]),
        ("POST", "/v1/events", '{"id": "a\\u0000"}', 422, "invalid-input", ["id"]),
        ("POST", "/v1/events", '{"id": "' + "a" * BODY_BYTES_MAX + '"}', 413, "body-too-large", None),
        ("POST", "/v1/events?trace=perhaps", '{"id": "a"}', 400, "malformed-parameter", ["query.trace"]),
        ("POST", "/v1/events", '{"id": "refuse"}', 409, "refused", None),
        ("POST", "/v1/events", '{"id": "away"}', 503, "database-unavailable", None),
        ("POST", "/v1/events", '{"id": "defect"}', 500, "internal-error", None),
        ("POST", "/v1/events/batch", '{"events": []}', 422, "invalid-input", ["events"]),
        ("POST", "/v1/spend", "", 400, "malformed-idempotency-key", ["header.Idempotency-Key"]),
        ("GET", "/v1/things/17", None, 404, "not-found", None),
        ("GET", "/v1/nothing", None, 404, "not-found", None),
        ("PUT", "/v1/events", "{}", 405, "method-not-allowed", None),
        ("GET", "/v1/keys?limit=0", None, 400, "malformed-parameter", ["query.limit"]),
        ("GET", "/v1/keys?cursor=bm9uc2Vuc2U", None, 400, "malformed-cursor", ["query.cursor"]),
        ("DELETE", f"/v1/keys/{UUID(int=404)}", None, 404, "not-found", None),
    ],
)  # fmt: skip
async def test_every_mistake_is_a_problem(
    client: httpx.AsyncClient, everything: Headers, app: Application,
    method: str, path: str, body: str | None, status: int, code: str, where: list[str] | None,
) -> None:  # fmt: skip
    answer = await client.request(method, path, content=body, headers=everything)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert problem["type"] == f"urn:rewards:problem:{code}"
    assert problem["instance"] == f"urn:rewards:request:{answer.headers['x-request-id']}"
    assert "secret of ours" not in answer.text
    if where is not None:
        assert [mistake["path"] for mistake in problem["errors"]] == where
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        assert int(answer.headers["retry-after"]) >= 1
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        assert "POST" in answer.headers["allow"]
    schema = {"$ref": "#/components/schemas/Problem", **describe(app.litestar)}
    jsonschema.validate(problem, schema)


async def test_what_is_right_is_answered(client: httpx.AsyncClient, everything: Headers) -> None:
    answer = await client.post("/v1/events?trace=true", json={"id": "evt-1", "points": 9}, headers=everything)
    assert (answer.status_code, answer.json()) == (200, {"id": "evt-1", "kind": "secret", "trace": True})
    batch = {"events": [{"id": "a"}, {"id": 2}, {"id": "c"}]}
    answer = await client.post("/v1/events/batch", json=batch, headers=everything)
    assert answer.json() == ["a", "invalid-input at events[1].id", "c"]


def test_every_code_has_a_status() -> None:
    """Through its own entry or an ancestor's other than the root's, whose 400 would tell a caller nothing."""

    def kinds(kind: type[RewardsError]) -> set[type[RewardsError]]:
        return {kind}.union(*(kinds(below) for below in kind.__subclasses__()))

    fallen_through = {
        kind.__name__
        for kind in kinds(RewardsError)
        if kind is not RewardsError
        and not any(getattr(above, "code", "") in STATUSES for above in kind.__mro__ if above is not RewardsError)
        and "FrameworkError" not in kind.__name__
    }
    assert fallen_through == set()
    assert status_of(RewardsError("x")) == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": ""}, 401, "unauthorized"),
        ({"Authorization": "Bearer"}, 401, "unauthorized"),
        ({"Authorization": "Digest abc"}, 401, "unauthorized"),
        ({"Authorization": "Basic !!!"}, 401, "unauthorized"),
        ({"Authorization": "Basic /w=="}, 401, "unauthorized"),
        (bearer("rk_short"), 401, "unauthorized"),
        (bearer("password"), 401, "unauthorized"),
        (bearer(new_token("secret")), 401, "unauthorized"),
        (basic(new_token("secret")), 401, "unauthorized"),
    ],
)
async def test_no_entry_without_a_key(client: httpx.AsyncClient, headers: Headers, status: int, code: str) -> None:
    answer = await client.post("/v1/events", json={"id": "a"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("key", "method", "path", "status"),
    [
        (["events"], "POST", "/v1/events", 200),
        (["events"], "POST", "/v1/events/batch", 200),
        (["events"], "POST", "/v1/spend", 403),
        (["events"], "GET", "/v1/keys", 403),
        (["ledger"], "POST", "/v1/spend", 200),
        (["ledger"], "POST", "/v1/events", 403),
        (["admin"], "GET", "/v1/keys", 200),
        (["read", "ledger", "program"], "GET", "/v1/keys", 403),
        ("public", "POST", "/v1/events", 200),
        ("public", "POST", "/v1/events/batch", 403),
        ("public", "GET", "/v1/keys", 403),
    ],
)
async def test_a_key_may_do_what_its_scopes_say(
    client: httpx.AsyncClient, make_key: MakeKey, key: list[str] | str, method: str, path: str, status: int
) -> None:
    token = await (make_key("events", kind="public") if key == "public" else make_key(*key))
    body: dict[str, Any] = {"events": [{"id": "a"}]} if path.endswith("batch") else {"id": "a"}
    for headers in (bearer(token), basic(token), basic(token, "anything")):
        headers["Idempotency-Key"] = "k"
        answer = await client.request(method, path, json=body if method == "POST" else None, headers=headers)
        assert answer.status_code == status


async def test_a_key_belongs_to_one_program(client: httpx.AsyncClient, make_key: MakeKey) -> None:
    shop, fitness = await make_key("read", "admin"), await make_key("read", "admin", program="fitness")
    thing = f"/v1/things/{uuid4()}"
    assert (await client.get(thing, headers=bearer(shop))).json()["program"] == "shop"
    assert (await client.get(thing, headers=bearer(fitness))).json()["program"] == "fitness"
    of_shop = (await client.get("/v1/keys?limit=200", headers=bearer(shop))).json()["items"]
    of_fitness = (await client.get("/v1/keys?limit=200", headers=bearer(fitness))).json()["items"]
    assert not {key["id"] for key in of_shop} & {key["id"] for key in of_fitness}
    answer = await client.delete(f"/v1/keys/{of_shop[0]['id']}", headers=bearer(fitness))
    assert answer.status_code == HTTPStatus.NOT_FOUND


async def test_the_life_of_a_key(client: httpx.AsyncClient, everything: Headers) -> None:
    created = await client.post(
        "/v1/keys", json={"name": "server", "scopes": ["read"], "rate_per_second": 50}, headers=everything
    )
    assert created.status_code == HTTPStatus.CREATED
    token, details = created.json()["key"], created.json()["details"]
    assert token.startswith(details["prefix"])
    assert len(token) == 46
    listed = (await client.get("/v1/keys?limit=200", headers=everything)).text
    assert details["id"] in listed
    assert token not in listed
    thing = f"/v1/things/{uuid4()}"
    assert (await client.get(thing, headers=bearer(token))).status_code == HTTPStatus.OK
    first = await client.delete(f"/v1/keys/{details['id']}", headers=everything)
    again = await client.delete(f"/v1/keys/{details['id']}", headers=everything)
    assert first.json() == again.json()
    assert first.json()["revoked_at"] is not None
    assert (await client.get(thing, headers=bearer(token))).status_code == HTTPStatus.UNAUTHORIZED


async def test_a_key_that_is_asked_for_again_is_made_once(
    client: httpx.AsyncClient, everything: Headers, make_key: MakeKey
) -> None:
    """Its text is not shown again: only a hash of it is kept."""
    headers = {**everything, "Idempotency-Key": f"made-{uuid4()}"}
    wanted = {"name": "server", "scopes": ["read", "read"], "rate_per_second": 50}
    answers = await asyncio.gather(*(client.post("/v1/keys", json=wanted, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {HTTPStatus.CREATED}
    [token] = [key for answer in answers if (key := answer.json()["key"]) is not None]
    [details] = {json.dumps(answer.json()["details"], sort_keys=True) for answer in answers}
    assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == ["", *["true"] * 4]
    listed = (await client.get("/v1/keys?limit=200", headers=everything)).text
    key_id = json.loads(details)["id"]
    assert listed.count(key_id) == 1
    assert (await client.get(f"/v1/things/{uuid4()}", headers=bearer(token))).status_code == HTTPStatus.OK
    for other in ({"name": "servers"}, {"scopes": ["events"]}, {"rate_per_second": None}):
        answer = await client.post("/v1/keys", json={**wanted, **other}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "id-reused")
    elsewhere = {**bearer(await make_key("admin", program="fitness")), "Idempotency-Key": headers["Idempotency-Key"]}
    another = (await client.post("/v1/keys", json=wanted, headers=elsewhere)).json()
    assert (another["key"] is not None, another["details"]["id"] != key_id) == (True, True)
    await client.delete(f"/v1/keys/{key_id}", headers=everything)
    late = (await client.post("/v1/keys", json=wanted, headers=headers)).json()
    assert (late["key"], late["details"]["revoked_at"] is None) == (None, False)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes[0]"),
        ({"name": "x", "scopes": ["events", "read"], "kind": "public"}, "scopes"),
        ({"name": "x", "scopes": ["events"], "origins": ["https://a.example"]}, "origins"),
        ({"name": "x", "scopes": ["events"], "kind": "public", "origins": ["a.example/"]}, "origins[0]"),
        ({"name": "x", "scopes": ["events"], "rate_per_second": 0}, "rate_per_second"),
        ({"name": "x", "scopes": ["events"], "secret": "mine"}, "secret"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, everything: Headers, body: dict[str, Any], path: str
) -> None:
    answer = await client.post("/v1/keys", json=body, headers=everything)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path)


async def test_keys_are_listed_page_by_page(client: httpx.AsyncClient, make_key: MakeKey) -> None:
    headers = bearer(await make_key("admin", program="fitness"))
    for _ in range(4):
        await make_key("events", program="fitness")
    whole = (await client.get("/v1/keys?limit=200", headers=headers)).json()
    paged: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"/v1/keys?limit=2{cursor and f'&cursor={cursor}'}", headers=headers)).json()
        paged += page["items"]
        cursor = page["next_cursor"]
    assert paged == whole["items"]
    stolen = (await client.get("/v1/keys?limit=1", headers=headers)).json()["next_cursor"]
    other = await client.get(f"/v1/keys?cursor={stolen}", headers=bearer(await make_key("admin")))
    assert other.json()["code"] == "malformed-cursor"


@pytest.mark.parametrize(
    ("origins", "origin", "status", "allowed"),
    [
        (["https://shop.example"], "https://shop.example", 200, "https://shop.example"),
        (["https://shop.example"], None, 200, None),  # an app, not a page
        (["https://shop.example"], "https://evil.example", 403, None),
        (["https://shop.example"], "https://shop.example.evil.example", 403, None),
        (["*"], "https://any.example", 200, "https://any.example"),
        ([], "https://shop.example", 403, None),
    ],
)
async def test_pages_that_a_public_key_lists_may_use_it(
    client: httpx.AsyncClient, make_key: MakeKey, origins: list[str], origin: str | None, status: int, allowed: str | None
) -> None:  # fmt: skip
    headers = bearer(await make_key("events", kind="public", origins=origins))
    if origin is not None:
        headers["Origin"] = origin
    answer = await client.post("/v1/events", json={"id": "a"}, headers=headers)
    assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (status, allowed)


async def test_a_page_can_read_why_it_was_refused(client: httpx.AsyncClient, make_key: MakeKey) -> None:
    headers = bearer(await make_key("events", kind="public", origins=["https://shop.example"]))
    answer = await client.post("/v1/events", content="{", headers={**headers, "Origin": "https://shop.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (400, "https://shop.example")


async def test_a_page_may_ask_first(client: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    answer = await client.options("/v1/events", headers=asked)
    assert answer.status_code == HTTPStatus.NO_CONTENT
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("sent", "status", "key"),
    [
        ("k-1", 200, "k-1"),
        ('"k-1"', 200, "k-1"),
        ("two words", 200, "two words"),
        ("x" * 255, 200, "x" * 255),
        ("x" * 256, 400, None),
        ("", 400, None),
        ('""', 400, None),
        ("é", 400, None),
        ("tab\tbed", 400, None),
    ],
)
async def test_idempotency_keys(
    client: httpx.AsyncClient, everything: Headers, sent: str, status: int, key: str | None
) -> None:
    headers = [(b"Idempotency-Key", sent.encode()), (b"Authorization", everything["Authorization"].encode())]
    answer = await client.post("/v1/spend", headers=headers)
    assert (answer.status_code, answer.json().get("key")) == (status, key)
    twice = await client.post("/v1/spend", headers=[*headers, headers[0]])
    assert twice.json()["code"] == "malformed-idempotency-key"


@pytest.mark.parametrize(("key", "replayed"), [("first", None), ("again", "true")])
async def test_a_replay_says_so(client: httpx.AsyncClient, everything: Headers, key: str, replayed: str | None) -> None:
    answer = await client.post("/v1/spend", headers={**everything, "Idempotency-Key": key})
    assert answer.headers.get("idempotency-replayed") == replayed


async def test_a_key_with_a_rate_is_slowed_down(client: httpx.AsyncClient, make_key: MakeKey) -> None:
    headers = bearer(await make_key("events", rate_per_second=1))
    answers = [await client.post("/v1/events", json={"id": "a"}, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=2;w=2'
    assert answers[0].headers["ratelimit"].startswith('"key";r=1;')
    assert answers[2].headers["ratelimit"] == '"key";r=0;t=1'
    assert answers[2].headers["retry-after"] == "1"
    assert answers[2].json()["code"] == "too-many-requests"


async def test_without_a_rate_there_is_no_limit_header(client: httpx.AsyncClient, everything: Headers) -> None:
    answer = await client.post("/v1/events", json={"id": "a"}, headers=everything)
    assert "ratelimit" not in answer.headers


async def test_the_reference_has_one_address(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs/")
    assert answer.status_code == HTTPStatus.PERMANENT_REDIRECT
    assert answer.url.join(answer.headers["location"]).path == "/docs"


async def test_the_bare_address_names_what_there_is(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    body = answer.json()
    assert (body["name"], body["version"]) == ("Rewards", __version__)
    assert set(body) == {"name", "version", "links"}
    for link in body["links"].values():
        assert (await client.get(link)).status_code == HTTPStatus.OK


async def test_without_valkey_all_pass_and_it_is_asked_once_a_second() -> None:
    now = 0.0
    valkey = make_valkey(f"redis://127.0.0.1:{free_port()}", timeout_seconds=0.2)
    limiter = RateLimiter(valkey, clock=lambda: now)
    assert await limiter.take(uuid4(), 1) is None
    await valkey.aclose()
    assert [await limiter.take(uuid4(), 1) for _ in range(3)] == [None, None, None]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/v1/nothing"])
async def test_every_answer_is_guarded(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"X-Request-Id": "from-the-proxy.1"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"] == "from-the-proxy.1"


@pytest.mark.parametrize("sent", ["short", "x" * 65, "new\u00e9line-x", 'quote"quote"', "<script>alert"])
async def test_a_harmful_request_id_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    answer = await client.get("/healthz", headers=[(b"X-Request-Id", sent.encode())])
    assert answer.headers["x-request-id"].encode() != sent.encode()
    assert len(answer.headers["x-request-id"]) == 24


async def test_metrics_count_templates_not_addresses(client: httpx.AsyncClient, everything: Headers) -> None:
    for _ in range(2):
        await client.get(f"/v1/things/{uuid4()}", headers=everything)
        await client.get(f"/v1/unknown/{uuid4()}", headers=everything)
    text = (await client.get("/metrics")).text
    assert 'rewards_http_requests_total{method="GET",route="/v1/things/{thing_id}",status="200"}' in text
    assert 'rewards_http_requests_total{method="GET",route="unmatched",status="404"}' in text
    assert "/v1/unknown" not in text


async def test_ready(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "reasons": {}})


async def test_not_ready_says_why(database_url: str, engine: Any) -> None:
    owner = make_engine(engine.url.render_as_string(hide_password=False), application_name="tests", role=None)
    empty = make_engine(database_url, application_name="tests", role=None)
    away = make_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/none", application_name="tests")

    head = head_revision()
    assert set(await Readiness(owner, head, ["transaction", "audit"], SECRET_KEY).reasons()) == {"privileges"}
    assert set(await Readiness(empty, head, ["transaction"], SECRET_KEY).reasons()) == {"migrations"}
    assert set(await Readiness(away, head, [], SECRET_KEY).reasons()) == {"database"}
    assert set(await Readiness(owner, head, [], SECRET_KEY).reasons()) == set()
    assert set(await Readiness(owner, head, [], SECRET_KEY[::-1]).reasons()) == {"secret_key"}
    assert set(await Readiness(empty, head, [], SECRET_KEY).reasons()) == {"migrations"}
    for unused in (owner, empty, away):
        await unused.dispose()


async def test_the_key_is_looked_up_once_for_all_who_wait(client: httpx.AsyncClient, make_key: MakeKey) -> None:
    headers = bearer(await make_key("events"))
    answers = await asyncio.gather(
        *(client.post("/v1/events", json={"id": "a"}, headers=headers) for _ in range(50))
    )  # more than the pool has connections: it would be exhausted if each looked for itself
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/v1/events", "post", "200 400 401 403 409 413 422 429 500 503"),
        ("/v1/events/batch", "post", "200 400 401 403 413 422 429 500 503"),
        ("/v1/things/{thing_id}", "get", "200 400 401 403 404 429 500 503"),
        ("/v1/keys", "get", "200 400 401 403 429 500 503"),
        ("/healthz", "get", "200 500 503"),
        ("/readyz", "get", "200 500 503"),
    ],
)
async def test_the_description_is_complete(client: httpx.AsyncClient, path: str, method: str, statuses: str) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"][path][method]
    assert " ".join(sorted(operation["responses"])) == statuses
    for status, answer in operation["responses"].items():
        if int(status) >= HTTPStatus.BAD_REQUEST and (path, status) != ("/readyz", "503"):
            assert list(answer["content"]) == [MEDIA_TYPE]
    assert operation["security"] == ([{"bearer": []}, {"basic": []}] if path.startswith("/v1") else [])
    assert operation["operationId"]


async def test_the_description_says_what_bodies_must_be(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    event = document["components"]["schemas"]["EventBody"]
    assert event["additionalProperties"] is False
    assert event["properties"]["points"] == {"type": "integer", "default": 0, "minimum": 0, "maximum": 2**53 - 1}
    assert event["properties"]["id"] == {"type": "string", "minLength": 1, "maxLength": 64}
    batch = document["paths"]["/v1/events/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert batch["properties"]["events"]["maxItems"] == 3
    assert batch["properties"]["events"]["items"] == {"$ref": "#/components/schemas/EventBody"}
    jsonschema.Draft202012Validator.check_schema(event)


async def test_the_reference_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in page.text.replace("http-equiv", "")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    for file, media_type in (
        ("swagger-ui-bundle.js", "javascript"),
        ("swagger-ui.css", "css"),
        ("start.js", "javascript"),
    ):
        assert file in page.text
        answer = await client.get(f"/docs/{file}")
        assert answer.status_code == HTTPStatus.OK
        assert media_type in answer.headers["content-type"]
        assert int(answer.headers["content-length"]) > 100
    assert (await client.get("/docs/../pyproject.toml")).status_code == HTTPStatus.NOT_FOUND
    assert json.loads((await client.get("/openapi.json")).text)["openapi"] == "3.1.0"
