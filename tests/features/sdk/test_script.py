"""The browser SDK as it is served: small, cached, compressed, for pages of any origin."""

import gzip

import httpx
import pytest
from tests.features.bank import Bank

BYTES_MAX = 6_000
"""A few kilobytes, as they travel."""


async def fetched(bank: Bank, path: str = "/sdk.js", **headers: str) -> httpx.Response:
    return await bank.live.client.get(path, headers={"Accept-Encoding": "identity", **headers})


@pytest.mark.parametrize("path", ["/sdk.js", "/sdk.mjs"])
async def test_pages_of_any_origin_may_load_it(bank: Bank, path: str) -> None:
    answer = await fetched(bank, path, Origin="https://shop.example")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert ("export const" in answer.text) == path.endswith(".mjs")


async def test_it_is_cached_and_asked_for_again_only_when_it_changed(bank: Bank) -> None:
    first = await fetched(bank)
    assert first.headers["cache-control"] == "public, max-age=3600"
    for tag in (first.headers["etag"], first.headers["etag"].removeprefix("W/"), f'"other", {first.headers["etag"]}'):
        again = await fetched(bank, **{"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
    assert (await fetched(bank, **{"If-None-Match": '"other"'})).status_code == 200
    assert (await fetched(bank, "/sdk.mjs")).headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("path", ["/sdk.js", "/sdk.mjs"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_asked_for_its_head_it_tells_the_same_without_a_body(bank: Bank, path: str, encoding: str) -> None:
    whole, head = [
        await bank.live.client.request(method, path, headers={"Accept-Encoding": encoding})
        for method in ("GET", "HEAD")
    ]
    own = {"x-request-id"}
    told = [{name: value for name, value in answer.headers.items() if name not in own} for answer in (whole, head)]
    assert (head.status_code, head.content, told[1]) == (200, b"", told[0])
    again = await bank.live.client.head(path, headers={"If-None-Match": head.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_it_is_small(bank: Bank) -> None:
    plain = await fetched(bank)
    async with bank.live.client.stream("GET", "/sdk.js", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain.content
    assert len(packed) < BYTES_MAX


async def test_it_names_no_other_host(bank: Bank) -> None:
    text = (await fetched(bank)).text
    assert "http://" not in text
    assert "https://" not in text
