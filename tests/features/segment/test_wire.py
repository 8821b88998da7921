"""What Segment's clients may send, case by case: what is answered, what happens, and what never happens."""

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.features.segment.conftest import Sender, track

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("call", "outcome", "points"),
    [
        (track("m", "USER"), "processed", 5),
        (track("m", "USER", event="product_viewed"), "processed", 5),
        (track("m", "USER", properties=None), "processed", 5),
        (track("m", "USER", context=None), "processed", 5),
        (track("m", "USER", context="junk"), "processed", 5),
        (track("m", "USER", context={"device": {"type": "ios"}, "location": {"city": "Berlin"}}), "processed", 6),
        (track("m", "USER", context={"os": {"name": "ios"}, "location": {"city": "Berlin"}}), "processed", 6),
        (track("m", "USER", context={"device": "ios", "city": "Berlin"}), "processed", 6),
        (track("m", "USER", event="Order Completed", properties={"order_id": "o", "total": 12.5}), "processed", 12),
        (track("m" * 300, "USER"), "processed", 5),
        (track(None, "USER"), "processed", 5),
        (track("m", "USER", timestamp="no time at all"), "processed", 5),
        (track("m", "USER", timestamp=(NOW + timedelta(days=400)).isoformat()), "processed", 5),
        (track("m", "USER", timestamp=(NOW - timedelta(days=4)).isoformat()), "too_late", 0),
        (track("m", "USER", surplus={"a": [1]}), "processed", 5),
        (track("m", "USER", event="Order Completed", properties={"total": 12.5}), "refused", 0),
        (track("m", "USER", event="Order Completed", properties={"order_id": "o", "total": "12"}), "refused", 0),
        (track("m", "USER", event="No Such Thing"), "quarantined", 0),
        (track("m", "USER", event=""), "invalid", 0),
        (track("m", "USER", event=None), "invalid", 0),
        (track("m", "USER", event=5), "invalid", 0),
        (track("m", "USER", event="e" * 201), "invalid", 0),
        (track("m", "USER", properties=[]), "invalid", 0),
        (track("m", "USER", properties={"category": "a\0b"}), "invalid", 0),
        (track("m", "USER", properties={"category": "x" * 33_000}), "invalid", 0),
        (track("m", "USER", properties={"big": 2**53}), "invalid", 0),
        (track("m", None), "invalid", 0),
        (track("m", ""), "invalid", 0),
        (track("m", "u" * 201), "invalid", 0),
        (track("m", "USER", userId=True), "invalid", 0),
        (track("m", "USER", type="delete"), "invalid", 0),
        (track("m", "USER", type=None), "invalid", 0),
        ({"type": "page", "name": "Offers", "userId": "USER", "messageId": "m"}, "processed", 2),
        ({"type": "page", "properties": {"name": "Offers"}, "userId": "USER", "messageId": "m"}, "processed", 2),
        ({"type": "screen", "name": "Offers", "userId": "USER", "messageId": "m"}, "ignored", 0),
        ({"type": "group", "groupId": "g1", "userId": "USER", "messageId": "m"}, "processed", 7),
        ({"type": "group", "groupId": "g1", "traits": {"group_id": "g2"}, "userId": "USER"}, "processed", 7),
        ({"type": "group", "userId": "USER", "messageId": "m"}, "invalid", 0),
        ({"type": "alias", "userId": "USER", "messageId": "m"}, "invalid", 0),
        ({"type": "identify", "userId": "USER", "traits": {"plan": "pro"}, "messageId": "m"}, "processed", 0),
        ({"type": "identify", "traits": {"plan": "pro"}, "messageId": "m"}, "invalid", 0),
        ({}, "invalid", 0),
        (5, "invalid", 0),
        (None, "invalid", 0),
        ([], "invalid", 0),
    ],
)  # fmt: skip
async def test_a_call_has_its_outcome_and_spoils_no_other(
    segment: Sender, request: pytest.FixtureRequest, call: Any, outcome: str, points: int
) -> None:
    user = f"wire-{request.node.callspec.id}"
    call = json.loads(json.dumps(call).replace("USER", user))
    before, after = track("before", f"{user}-before"), track("after", f"{user}-after")
    outcomes = await segment.batch(before, call, after)
    outcomes.subtract(["processed", "processed"])
    assert +outcomes == {outcome: 1}
    assert await segment.live.balance(user) == points
    assert await segment.live.balance(f"{user}-before") == await segment.live.balance(f"{user}-after") == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("an integer", 1764000000),
        ("a whole float", 1764000000.0),
        ("text", "1764000000"),
    ],
)
async def test_a_number_is_an_id_too(segment: Sender, name: str, value: Any) -> None:
    await segment.batch(track(f"number-{name}", userId=value))
    assert len([event for event in await segment.events("1764000000") if event.client_id == f"number-{name}"]) == 1


Ago = Callable[[float], datetime]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (lambda ago: {"timestamp": ago(600).isoformat()}, 600),
        (lambda ago: {"timestamp": ago(600).isoformat().replace("+00:00", "Z")}, 600),
        (lambda ago: {"timestamp": ago(600).strftime("%Y-%m-%d %H:%M:%S.%f +00:00")}, 600),
        (lambda ago: {"timestamp": (ago(600) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%f+02:00")}, 600),
        (lambda ago: {"timestamp": ago(600).strftime("%Y-%m-%dT%H:%M:%S.%f")}, 600),
        (lambda ago: {"timestamp": ago(600).timestamp()}, 600),
        (lambda ago: {"timestamp": round(ago(600).timestamp() * 1000)}, 600),
        (lambda ago: {"timestamp": str(round(ago(600).timestamp() * 1000))}, 600),
        (lambda ago: {"originalTimestamp": ago(600).isoformat()}, 600),
        # The client's clock is an hour ahead, or a day behind; it sent the call ten minutes after it happened.
        (lambda ago: {"timestamp": ago(600 - 3600).isoformat(), "sentAt": ago(-3600).isoformat()}, 600),
        (lambda ago: {"timestamp": ago(87000).isoformat(), "sentAt": ago(86400).isoformat()}, 600),
        # Its clock is right, to a few seconds.
        (lambda ago: {"timestamp": ago(600).isoformat(), "sentAt": ago(3).isoformat()}, 600),
        # What was corrected on its way here is not corrected again.
        (
            lambda ago: {
                "timestamp": ago(600).isoformat(),
                "originalTimestamp": ago(4200).isoformat(),
                "sentAt": ago(3600).isoformat(),
            },
            600,
        ),
        # Nothing happens after it was received.
        (lambda ago: {"timestamp": ago(-3600).isoformat()}, 0),
        (lambda ago: {"timestamp": ago(-3600).isoformat(), "sentAt": ago(0).isoformat()}, 0),
        (lambda _: {"timestamp": 1e300}, 0),
        (lambda _: {"timestamp": "0001-01-01T00:00:00Z"}, 0),
        (lambda _: {"timestamp": -1e300}, 0),
        (lambda _: {"timestamp": {}}, 0),
        (lambda _: {"timestamp": None}, 0),
        (lambda _: {}, 0),
    ],
)
@pytest.mark.parametrize("sent_with", ["call", "batch"])
async def test_when_a_call_happened(
    segment: Sender,
    request: pytest.FixtureRequest,
    times: Callable[[Ago], dict[str, Any]],
    expected: float,
    sent_with: str,
) -> None:
    user = f"when-{request.node.callspec.id}"
    now = datetime.now(UTC)
    call = times(lambda seconds: now - timedelta(seconds=seconds))
    batch = {"sentAt": call.pop("sentAt")} if sent_with == "batch" and "sentAt" in call else {}
    await segment.batch(track("m", user, **call), **batch)
    [event] = await segment.events(user)
    assert (event.recorded_at - event.occurred_at).total_seconds() == pytest.approx(expected, abs=4)


def as_json(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
@pytest.mark.parametrize(
    ("encode", "headers"),
    [
        (as_json, {}),
        (lambda body: gzip.compress(as_json(body)), {"Content-Encoding": "gzip"}),
        (lambda body: gzip.compress(as_json(body)), {}),
        (lambda body: zlib.compress(as_json(body)), {"Content-Encoding": "deflate"}),
        (as_json, {"Content-Encoding": "gzip"}),
    ],
    ids=["plain", "gzip", "gzip unsaid", "deflate", "gzip said wrongly"],
)
async def test_bodies_are_read_whatever_their_headers_say(
    segment: Sender,
    request: pytest.FixtureRequest,
    encode: Callable[[Any], bytes],
    headers: dict[str, str],
    content_type: str | None,
) -> None:
    user = f"encoded-{request.node.callspec.id}"
    if content_type is not None:
        headers = {**headers, "Content-Type": content_type}
    answer = await segment.post("batch", content=encode({"batch": [track("m", user)]}), headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert await segment.live.balance(user) == 5


@pytest.mark.parametrize(
    ("path", "content", "code"),
    [
        ("batch", b"", "malformed-json"),
        ("batch", b"{", "malformed-json"),
        ("batch", b"[]", "malformed-json"),
        ("batch", b"null", "malformed-json"),
        ("batch", b"{}", "malformed-json"),
        ("batch", b'{"batch": {}}', "malformed-json"),
        ("batch", b'{"batch": [\xff]}', "malformed-json"),
        ("batch", b'{"batch": ' + b"[" * 60_000, "malformed-json"),
        ("batch", gzip.compress(b"{}", mtime=0)[:-9], "malformed-encoding"),
        ("batch", as_json({"batch": [track("m", "u") for _ in range(2501)]}), "batch-too-large"),
        ("batch", as_json({"batch": [track("m", "u", properties={"a": "x" * 30_000}) for _ in range(18)]}), "batch-too-large"),
        ("batch", gzip.compress(as_json({"batch": ["x" * 30_000_000]})), "batch-too-large"),
        ("batch", as_json({"batch": ["x" * 1_100_000]}), "batch-too-large"),
        ("track", b"", "malformed-json"),
        ("track", b'"track"', "malformed-json"),
        ("track", b'{"event": ', "malformed-json"),
        ("track", as_json(track("m", "u", properties={"a": "x" * 33_000})), "batch-too-large"),
    ],
)  # fmt: skip
async def test_only_bad_json_and_size_are_refused_as_a_whole(
    segment: Sender, path: str, content: bytes, code: str
) -> None:
    before = segment.outcomes()
    answer = await segment.post(path, content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert segment.outcomes() == before


@pytest.mark.parametrize(
    "bad",
    [b'{"type": "track", "event": "\\ud800", "userId": "u"}', b'{"n": NaN}', b'{"n": 1e999}', b"[" * 40 + b"]" * 40],
    ids=["lone surrogate", "not a number", "beyond all numbers", "too deep"],
)
async def test_what_is_almost_json_spoils_only_its_own_call(
    segment: Sender, request: pytest.FixtureRequest, bad: bytes
) -> None:
    user = f"almost-{request.node.callspec.id}"
    before = segment.outcomes()
    answer = await segment.post("batch", content=b'{"batch": [' + bad + b", " + as_json(track("m", user)) + b"]}")
    assert answer.status_code == 200
    assert segment.outcomes() - before == {"invalid": 1, "processed": 1}
    assert await segment.live.balance(user) == 5


@pytest.mark.parametrize(
    ("path", "body", "points"),
    [
        ("track", {"event": "Product Viewed"}, 5),
        ("track", {"event": "Product Viewed", "type": "identify"}, 5),
        ("page", {"name": "Offers"}, 2),
        ("screen", {"name": "Offers"}, 0),
        ("group", {"groupId": "g1"}, 7),
        ("identify", {"traits": {"plan": "pro"}}, 0),
        ("batch", {"batch": []}, 0),
    ],
)
async def test_every_call_has_an_address_of_its_own(
    segment: Sender, request: pytest.FixtureRequest, path: str, body: dict[str, Any], points: int
) -> None:
    user = f"address-{request.node.callspec.id}"
    answer = await segment.post(path, {"userId": user, "messageId": "m", **body})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert await segment.live.balance(user) == points


async def test_the_context_of_a_batch_holds_where_a_call_says_nothing_else(segment: Sender) -> None:
    city = {"location": {"city": "Berlin"}}
    await segment.batch(
        track("m", "of-batch", context=None),
        track("m", "of-both", context={"device": {"type": "ios"}}),
        track("m", "of-call", context={"device": {"type": "android"}}),
        context={**city, "device": {"type": "ios"}},
    )
    assert [await segment.live.balance(f"of-{name}") for name in ("batch", "both", "call")] == [6, 6, 5]


async def test_only_what_rules_may_ask_is_kept_of_the_context(segment: Sender) -> None:
    told = {
        "ip": "10.0.0.1",
        "userAgent": "Mozilla/5.0",
        "device": {"id": "B5372DB0", "type": "ios", "advertisingId": "7A3CBEA0"},
        "os": {"name": "iOS", "version": "17"},
        "app": {"name": "Shop", "version": "5.4.0"},
        "page": {"path": "/offers", "url": "https://shop.example/offers?q=secret", "referrer": "https://example.com"},
        "location": {"city": "Berlin", "country": "Germany", "latitude": 52.5},
        "campaign": {"name": "advent"},
        "locale": "de_DE",
        "timezone": "Europe/Berlin",
        "traits": {"email": "ada@example.com"},
    }
    await segment.batch(track("m", "context", context=told, channel="mobile"))
    [event] = await segment.events("context")
    assert event.context == {
        "device": "ios",
        "channel": "mobile",
        "page": "/offers",
        "location": "Berlin, Germany",
        "country": "Germany",
        "city": "Berlin",
        "os": "iOS",
        "language": "de",
        "app_version": "5.4.0",
        "campaign": "advent",
        "referrer": "https://example.com",
        "locale": "de-DE",
        "timezone": "Europe/Berlin",
    }
