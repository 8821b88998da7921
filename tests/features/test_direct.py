"""`POST /v1/events` has a short way and the framework's; whichever a request takes, it is answered alike."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.service import Live

from rewards.features.events.direct import DirectEvents

SHORT = {"Content-Type": "application/json"}
LONG = {"Content-Type": "application/json; charset=utf-8"}
_numbers = itertools.count(1)


@pytest.fixture
def answered_directly(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each event request in turn, whether the short way answered it."""
    ways: list[bool] = []
    original = DirectEvents.__call__

    async def observed(self: DirectEvents, scope: Any, receive: Any, send: Any) -> Any:
        left = await original(self, scope, receive, send)
        ways.append(left is None)
        return left

    monkeypatch.setattr(DirectEvents, "__call__", observed)
    return ways


async def both(shop: Live, path: str, body: str, **headers: str) -> list[Any]:
    """The same request on either way, about a member of its own each time."""
    await shop.client.get("/v1/members/nobody")  # the key is known now
    found = []
    for kind in (SHORT, LONG):
        content = body.replace("ID", f"direct-{next(_numbers)}")
        found.append(await shop.client.post(path, content=content, headers={**kind, **headers}))
    return found


def comparable(answer: Any) -> tuple[Any, ...]:
    body = answer.json()
    for hidden in ("id", "instance"):
        body.pop(hidden, None)
    for effect in body.get("effects", ()):
        effect.pop("transaction", None)
    for line in body.get("trace", ()):
        line.pop("due_at", None)
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "content-length"}}
    return answer.status_code, body, headers


VIEWED = (
    '{"id": "ID", "member": "ID", "type": "product_viewed", "properties": {"category": "audio", "dwell_seconds": 42}}'
)


@pytest.mark.parametrize(
    ("path", "body", "direct"),
    [
        ("/v1/events", VIEWED, True),
        ("/v1/events?trace=true", VIEWED, True),
        ("/v1/events?trace=1", VIEWED, False),
        ("/v1/events?dry_run=true", VIEWED, False),
        ("/v1/events?mode=async", VIEWED, False),
        ("/v1/events", VIEWED.replace("42}", '"42"}'), True),  # refused by the program, not by the decoder
        ("/v1/events", VIEWED.replace('"member": "ID", ', ""), False),
        ("/v1/events", VIEWED.replace('"type"', '"tpye"'), False),
        ("/v1/events", VIEWED[:-1], False),
        ("/v1/events", VIEWED.replace('"member": "ID"', '"member": "user:"'), False),
    ],
)
async def test_both_ways_answer_alike(
    shop: Live, answered_directly: list[bool], path: str, body: str, direct: bool
) -> None:
    short, long = await both(shop, path, body)
    assert answered_directly == [direct, False]
    assert comparable(short) == comparable(long)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Authorization": "Bearer rk_" + "x" * 43}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Origin": "https://shop.example.com"}, 200),
        ({"X-Request-Id": "abc-1234567"}, 200),
    ],
)
async def test_both_ways_let_the_same_in(shop: Live, headers: dict[str, str], status: int) -> None:
    short, long = await both(shop, "/v1/events", VIEWED, **headers)
    assert comparable(short) == comparable(long)
    assert short.status_code == status


@pytest.mark.parametrize(
    ("packed", "encoding", "status"),
    [
        (gzip.compress, "gzip", 200),
        (gzip.compress, "", 200),  # some clients do not say it
        (zlib.compress, "deflate", 200),
        (bytes, "gzip", 200),  # or say it without doing it
        (lambda body: gzip.compress(body)[:-9], "gzip", 400),
        (bytes, "br", 400),
        (lambda body: gzip.compress(body + b" " * 2_000_000), "gzip", 413),
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch"])
async def test_compressed_bodies(
    shop: Live, path: str, packed: Callable[[bytes], bytes], encoding: str, status: int
) -> None:
    event = VIEWED.replace("ID", f"packed-{next(_numbers)}")
    body = event if path == "/v1/events" else f'{{"events": [{event}]}}'
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = await shop.client.post(path, content=packed(body.encode()), headers={**SHORT, **headers})
    assert answer.status_code == status
    if status == 200:
        [result] = answer.json().get("results", [answer.json()])
        assert result["status"] == "processed"


async def test_a_public_key_goes_the_frameworks_way(shop: Live, answered_directly: list[bool]) -> None:
    headers = {"Authorization": f"Bearer {shop.public_key}"}
    short, long = await both(shop, "/v1/events", VIEWED, **headers)
    assert answered_directly == [False, False]
    assert comparable(short) == comparable(long)


async def test_a_repeat_and_a_conflict_across_both_ways(shop: Live) -> None:
    body = VIEWED.replace("ID", f"direct-{next(_numbers)}")
    first = await shop.client.post("/v1/events", content=body, headers=LONG)
    again = await shop.client.post("/v1/events", content=body, headers=SHORT)
    assert again.json() == {**first.json(), "status": "duplicate"}
    other = [
        await shop.client.post("/v1/events", content=body.replace("42", "43"), headers=headers)
        for headers in (SHORT, LONG)
    ]
    assert comparable(other[0]) == comparable(other[1])
    assert other[0].json()["code"] == "id-reused"


async def test_it_is_counted_under_its_route(shop: Live) -> None:
    def counted() -> float:
        labels = {"method": "POST", "route": "/v1/events", "status": "200"}
        return shop.service.registry.get_sample_value("rewards_http_requests_total", labels) or 0.0

    before = counted()
    await both(shop, "/v1/events", VIEWED)
    assert counted() == before + 2
