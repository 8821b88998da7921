"""Reads of boards have a short way and the framework's; whichever a request takes, it is answered alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.service import Live, another

from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.leaderboards.direct import DirectBoards

LONG = {"Origin": "https://shop.example.com"}
"""Pages' origins are the framework's business; a secret key may be sent from anywhere."""
NAMED = PROGRAM + "  named: {score: {metric: points, operator: sum}, visibility: {names: {attribute: city}}}\n"


@pytest.fixture
def directly(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each read in turn, whether the short way answered it."""
    ways: list[bool] = []
    original = DirectBoards.__call__

    async def observed(self: DirectBoards, scope: Any, receive: Any, send: Any) -> Any:
        left = await original(self, scope, receive, send)
        ways.append(left is None)
        return left

    monkeypatch.setattr(DirectBoards, "__call__", observed)
    return ways


@pytest.fixture(scope="module")
async def filled(boards_service: Live) -> AsyncIterator[Boards]:
    """Ada of Ulm 9, bob and cem 7 of nowhere, and one whose id looks like a path."""
    async with another(boards_service, NAMED) as running:
        boards = Boards(running)
        await running.client.patch("/v1/members/ada", json={"attributes": {"city": "Ulm"}})
        for member, points in (("bob", 7), ("ada", 9), ("cem", 7), ("a/b", 1.5)):
            await boards.score(member, points)
        await boards.project()
        yield boards


async def known(boards: Boards, **headers: str) -> None:
    """The key has just been looked up, and will be believed for a while."""
    boards.live.app.app.state.api_keys.forget()
    await boards.live.client.get("/v1/members/nobody", headers=headers)


async def both(boards: Boards, path: str, **headers: str) -> list[tuple[Any, ...]]:
    await known(boards, **headers)
    found: list[tuple[Any, ...]] = []
    for way in ({}, LONG):
        answer = await boards.live.client.get(f"/v1/leaderboards{path}", headers={**way, **headers})
        told = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "content-length"}}
        if answer.status_code == 200:  # between the two it may have become stale
            found.append((200, answer.content.replace(b'"stale":true', b'"stale":false'), told))
        else:
            found.append((answer.status_code, answer.json()["code"], None))
    return found


@pytest.mark.parametrize(
    ("path", "direct", "status"),
    [
        ("/shared", True, 200),
        ("/shared?limit=2&offset=1", True, 200),
        ("/shared?offset=1000000000", True, 200),
        ("/shared?period=current", True, 200),
        ("/shared?period=all_time", False, 200),
        ("/shared?period=previous", False, 422),
        ("/shared?limit=0", False, 400),
        ("/shared?limit=101", False, 400),
        ("/shared?limit=02", False, 400),
        ("/shared?limit=%32", False, 200),
        ("/shared?limit=two", False, 400),
        ("/shared?limit=2&limit=3", False, 200),
        ("/shared?radius=3", False, 200),
        ("/shared?part=Ulm", False, 422),
        ("/shared?part=", False, 200),
        ("/shared?limit=2" + "&" * 256, False, 200),
        ("/shared/", True, 200),
        ("/none", False, 404),
        ("/weekly", True, 200),
        ("/cities?part=Ulm", True, 200),
        ("/cities?part=K%C3%B6ln", False, 200),
        ("/named", False, 200),
        ("/named/members/ada", False, 200),
        ("/first/around/cem", True, 200),
        ("/first/around/cem?radius=0", True, 200),
        ("/first/around/cem?radius=51", False, 400),
        ("/first/around/user:cem", True, 200),
        ("/first/around/a%2Fb", True, 200),
        ("/first/around/anon:cem", False, 404),
        ("/fastest/around/cem", False, 200),
        ("/cities/around/ada", False, 200),
        ("/cities/around/ada?part=Ulm", True, 200),
        ("/shared/members/cem", True, 200),
        ("/shared/members/a%2Fb", True, 200),
        ("/shared/members/cem?limit=3", False, 200),
        ("/shared/members/" + "x" * 201, False, 422),
        ("/fastest/members/cem", False, 200),
        ("/shared/members/cem/more", False, 404),
        ("/shared/removals", False, 200),
    ],
)
async def test_both_ways_answer_alike(
    filled: Boards, directly: list[bool], path: str, *, direct: bool, status: int
) -> None:
    short, long = await both(filled, path)
    assert directly == [direct, False]
    assert short == long
    assert short[0] == status


@pytest.mark.parametrize(
    ("key", "status"),
    [("server", 200), ("public", 403), ("limited", 200), ("other", 403), ("unknown", 401)],
)
async def test_both_ways_let_the_same_in(filled: Boards, directly: list[bool], key: str, status: int) -> None:
    running = filled.live
    requests = {
        "limited": KeyRequest("limited", scopes=("read",), rate_per_second=100),
        "other": KeyRequest("other", scopes=("events",)),
    }
    token = {"server": running.server_key, "public": running.public_key, "unknown": "rk_" + "x" * 43}.get(key)
    if token is None:
        token, _ = await create_key(
            running.service.engine,
            running.service.secret_key,
            program_id=running.program_id,
            request=requests[key],
            actor="tests",
        )
    answers = await both(filled, "/shared", Authorization=f"Bearer {token}")
    assert [each[0] for each in answers] == [status] * 2
    assert any(directly) is (key == "server")


async def test_a_sandbox_has_a_clock_of_its_own(boards_service: Live, directly: list[bool]) -> None:
    async with another(boards_service, PROGRAM, kind="sandbox") as running:
        boards = Boards(running)
        await boards.score("ada", 9)
        await boards.project()
        await known(boards)
        assert await boards.places("/weekly") == [(1, "ada", 1)]
        assert directly == [False]


async def test_it_is_counted_under_its_route(filled: Boards) -> None:
    for path, route in (
        ("/shared", "/v1/leaderboards/{board}"),
        ("/shared/around/cem", "/v1/leaderboards/{board}/around/{member}"),
        ("/shared/members/cem", "/v1/leaderboards/{board}/members/{member}"),
    ):
        labels = {"method": "GET", "route": route, "status": "200"}
        registry = filled.live.service.registry
        before = registry.get_sample_value("rewards_http_requests_total", labels) or 0.0
        await both(filled, path)
        assert registry.get_sample_value("rewards_http_requests_total", labels) == before + 2


async def test_a_board_that_is_gone_is_the_frameworks_to_refuse(boards: Boards, directly: list[bool]) -> None:
    short, long = await both(boards, "/shared")  # nobody has built it
    assert directly == [False, False]
    assert short == long == (503, "board-unavailable", None)
