"""Boards over HTTP: top, page, around, one member, among friends; as the app's server and as customers see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.features.members.test_members import merge
from tests.service import Live, another, publish_next

from rewards.features.leaderboards import reading


async def fill(boards: Boards) -> None:
    """Ada 9, bob 7, cem 7 (later than bob), dan 7 (later still), eve 2."""
    for member, points in (("bob", 7), ("ada", 9), ("cem", 7), ("dan", 7), ("eve", 2)):
        await boards.score(member, points)
    await boards.project()


@pytest.fixture(scope="module")
async def filled(boards_service: Live) -> AsyncIterator[Boards]:
    """For tests that only look."""
    async with another(boards_service, PROGRAM) as running:
        boards = Boards(running)
        await fill(boards)
        yield boards


@pytest.mark.parametrize(
    ("board", "query", "expected"),
    [
        ("shared", {"limit": 2}, [(1, "ada", 9), (2, "bob", 7)]),
        ("shared", {"limit": 3, "offset": 2}, [(2, "cem", 7), (2, "dan", 7), (5, "eve", 2)]),
        ("first", {"limit": 3, "offset": 1}, [(2, "bob", 7), (3, "cem", 7), (4, "dan", 7)]),
        ("first", {"offset": 5}, []),
        ("weekly", {"limit": 1}, [(1, "bob", 1)]),
    ],
)
async def test_a_page(filled: Boards, board: str, query: dict[str, Any], expected: list[Any]) -> None:
    assert await filled.places(f"/{board}", **query) == expected
    await filled.project()
    body = await filled.get(f"/{board}", **query)
    assert (body["total"], body["stale"], body["part"]) == (5, False, "")


@pytest.mark.parametrize(
    ("board", "member", "radius", "expected"),
    [
        ("first", "cem", 1, [(2, "bob", 7), (3, "cem", 7), (4, "dan", 7)]),
        ("shared", "cem", 1, [(2, "bob", 7), (2, "cem", 7), (2, "dan", 7)]),
        ("shared", "ada", 2, [(1, "ada", 9), (2, "bob", 7), (2, "cem", 7)]),
        ("first", "eve", 0, [(5, "eve", 2)]),
        ("fastest", "ada", 3, []),
    ],
)
async def test_around_a_member(filled: Boards, board: str, member: str, radius: int, expected: list[Any]) -> None:
    assert await filled.places(f"/{board}/around/{member}", radius=radius) == expected


@pytest.mark.parametrize(
    ("board", "member", "rank", "percentile", "ahead"),
    [
        ("shared", "ada", 1, 100, None),
        ("shared", "dan", 2, 80, {"rank": 1, "score": 9, "distance": 2}),
        ("shared", "eve", 5, 20, {"rank": 2, "score": 7, "distance": 5}),
        ("first", "dan", 4, 40, {"rank": 3, "score": 7, "distance": 0}),
        ("fastest", "dan", None, None, None),
    ],
)
async def test_one_member(
    filled: Boards, board: str, member: str, rank: int | None, percentile: float | None, ahead: dict[str, Any] | None
) -> None:
    body = await filled.get(f"/{board}/members/{member}")
    assert (body["rank"], body["percentile"], body["next"]) == (rank, percentile, ahead)


async def test_the_lowest_is_the_best_of_an_ascending_board(boards: Boards) -> None:
    for member, seconds in (("ada", 61.5), ("bob", 59.25), ("ada", 60.75), ("bob", 70)):
        await boards.live.event(type="ran", member=member, properties={"seconds": seconds})
    await boards.project()
    assert await boards.places("/fastest") == [(1, "bob", 59.25), (2, "ada", 60.75)]
    body = await boards.get("/fastest/members/ada")
    assert body["next"] == {"rank": 1, "score": 59.25, "distance": 1.5}


async def test_friends(filled: Boards) -> None:
    members = {"members": ["eve", "ada", "nobody", "ada", "cem"]}
    answer = await filled.live.client.post("/v1/leaderboards/shared/among", json=members)
    assert answer.status_code == 200
    entries = [(each["rank"], each["member"]) for each in answer.json()["entries"]]
    assert entries == [(1, "ada"), (2, "cem"), (5, "eve")]


async def test_a_board_in_parts(boards: Boards) -> None:
    client = boards.live.client
    for member, city, points in (("ada", "Köln", 5), ("bob", "Köln", 7), ("cem", "Ulm", 9)):
        assert (await client.patch(f"/v1/members/{member}", json={"attributes": {"city": city}})).status_code == 200
        await boards.score(member, points)
    await boards.score("dan", 99)  # nobody knows where
    await boards.project()
    assert await boards.places("/cities", part="Köln") == [(1, "bob", 7), (2, "ada", 5)]
    assert await boards.places("/cities", part="Ulm") == [(1, "cem", 9)]
    assert await boards.places("/cities/around/ada") == [(1, "bob", 7), (2, "ada", 5)], "in its own part"
    assert (await boards.get("/cities/members/cem"))["part"] == "Ulm"
    await client.patch("/v1/members/ada", json={"attributes": {"city": "Ulm"}})
    await boards.project()
    assert await boards.places("/cities", part="Köln") == [(1, "bob", 7)]
    assert await boards.places("/cities", part="Ulm") == [(1, "cem", 9), (2, "ada", 5)]
    assert (await boards.ask("/shared", part="Ulm")).status_code == 422


async def test_a_board_that_is_split_in_another_way_starts_anew_and_comes_back(boards: Boards) -> None:
    """Members who have done nothing since would otherwise be in the parts of before, and some in two of them."""
    client = boards.live.client
    for member, city, points in (("ada", "Köln", 5), ("bob", "Köln", 7)):
        await client.patch(f"/v1/members/{member}", json={"attributes": {"city": city}})
        await boards.score(member, points)
    await boards.project()
    for version, part, expected in (
        (PROGRAM.replace(", by: {attribute: city}", ""), {}, [(1, "ada", 1)]),
        (PROGRAM, {"part": "Köln"}, [(1, "bob", 7), (2, "ada", 6)]),
    ):
        await publish_next(boards.live, version)
        await boards.live.service.programs.refresh(boards.live.program_id)
        await boards.score("ada", 1)
        await boards.project()
        assert await boards.places("/cities", **part) == expected
    assert await boards.places("/cities", part="") == []


async def test_who_is_removed_or_opts_out_does_not_appear(boards: Boards) -> None:
    await fill(boards)
    client = boards.live.client
    removed = await client.request("DELETE", "/v1/leaderboards/shared/members/ada", json={"reason": "cheated"})
    assert removed.status_code == 200, removed.text
    assert (await client.put("/v1/members/cem/leaderboards/opt-out")).status_code == 200
    await boards.project()
    assert await boards.places("/shared") == [(1, "bob", 7), (1, "dan", 7), (3, "eve", 2)]
    assert (await boards.get("/shared/members/ada"))["rank"] is None
    assert len(await boards.places("/first")) == 4, "removed from one board, opted out of all"
    assert (await client.put("/v1/leaderboards/shared/members/ada", json={"reason": "proved"})).status_code == 200
    await boards.project()
    assert (await boards.places("/shared"))[0] == (1, "ada", 9)


async def mine(boards: Boards, member: str) -> dict[str, str]:
    answer = await boards.live.client.post(f"/v1/members/{member}/tokens", json={})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def test_customers_see_pseudonyms_and_themselves(boards: Boards) -> None:
    await fill(boards)
    client, headers = boards.live.client, await mine(boards, "cem")
    body = (await client.get("/v1/me/leaderboards/shared", headers=headers)).json()
    names = {each["name"] for each in body["entries"]}
    assert [each["me"] for each in body["entries"]] == [False, False, True, False, False]
    assert len(names) == 5
    assert not names & {"ada", "bob", "cem", "dan", "eve"}
    assert "member" not in body["entries"][0], "nothing that identifies"
    as_ada = (await client.get("/v1/me/leaderboards/shared", headers=await mine(boards, "ada"))).json()
    assert {each["name"] for each in as_ada["entries"]} == names, "everybody sees the same names"
    around = (await client.get("/v1/me/leaderboards/first/around", params={"radius": 1}, headers=headers)).json()
    assert [(each["rank"], each["name"], each["me"]) for each in around["entries"]] == [
        (2, "bob", False),
        (3, "cem", True),
        (4, "dan", False),
    ]
    standing = (await client.get("/v1/me/leaderboards/shared/members/me", headers=headers)).json()
    assert (standing["rank"], standing["next"]) == (2, {"rank": 1, "score": 9, "distance": 2})


async def test_a_customer_sees_the_part_that_it_is_in(boards: Boards) -> None:
    client = boards.live.client
    for member, city, points in (("ada", "Köln", 5), ("bob", "Köln", 7), ("cem", "Ulm", 9)):
        await client.patch(f"/v1/members/{member}", json={"attributes": {"city": city}})
        await boards.score(member, points)
    await boards.project()
    await client.patch("/v1/members/eve", json={"attributes": {"city": "Ulm"}})  # without a score
    for member, query, part, scores in (
        ("ada", {}, "Köln", [7, 5]),
        ("cem", {}, "Ulm", [9]),
        ("eve", {}, "Ulm", [9]),
        ("cem", {"part": "Köln"}, "Köln", [7, 5]),
        ("newcomer", {}, "", []),
    ):
        headers = await mine(boards, member)
        body = (await client.get("/v1/me/leaderboards/cities", params=query, headers=headers)).json()
        assert (body["part"], [each["score"] for each in body["entries"]]) == (part, scores), member


async def test_customers_are_told_of_boards_in_their_language(boards: Boards) -> None:
    client = boards.live.client
    for member, locale in (("ada", "de-AT"), ("bob", "en")):
        assert (await client.patch(f"/v1/members/{member}", json={"locale": locale})).status_code == 200
    for member, query, name in (
        ("ada", {}, "Punkte"),
        ("ada", {"locale": "en"}, "Points"),
        ("bob", {}, "Points"),
        ("newcomer", {}, "Points"),
    ):
        answer = await client.get("/v1/me/leaderboards", params=query, headers=await mine(boards, member))
        assert answer.status_code == 200, answer.text
        names = {each["key"]: each["name"] for each in answer.json()["leaderboards"]}
        assert names["shared"] == name, (member, query)


async def test_a_customer_is_marked_whose_token_is_from_before_a_merge(boards: Boards) -> None:
    before = await mine(boards, "anon:guest")
    await boards.score("anon:guest", 3)
    await fill(boards)
    await merge(boards.live, "anon:guest", "eve")
    await boards.project()
    for board in ("shared", "shared/around"):
        body = (await boards.live.client.get(f"/v1/me/leaderboards/{board}", headers=before)).json()
        assert [(each["score"], each["me"]) for each in body["entries"]][-1] == (5, True), board
        assert sum(each["me"] for each in body["entries"]) == 1


async def test_customers_ask_for_friends_only_where_ids_are_shown(boards: Boards) -> None:
    await fill(boards)
    client, headers = boards.live.client, await mine(boards, "cem")
    friends = {"members": ["ada", "eve"]}
    found = await client.post("/v1/me/leaderboards/first/among", json=friends, headers=headers)
    assert [(each["name"], each["me"]) for each in found.json()["entries"]] == [
        ("ada", False),
        ("cem", True),
        ("eve", False),
    ]
    refused = await client.post("/v1/me/leaderboards/shared/among", json=friends, headers=headers)
    assert refused.status_code == 403


async def test_among_friends_is_a_customer_whose_token_is_from_before_a_merge(boards: Boards) -> None:
    before = await mine(boards, "anon:guest")
    await boards.score("anon:guest", 3)
    await fill(boards)
    await merge(boards.live, "anon:guest", "eve")
    await boards.project()
    friends = {"members": ["ada", "anon:nobody"]}
    found = await boards.live.client.post("/v1/me/leaderboards/first/among", json=friends, headers=before)
    assert found.status_code == 200, found.text
    assert [(each["name"], each["me"]) for each in found.json()["entries"]] == [("ada", False), ("eve", True)]
    with_ids = {"members": ["ada", "anon:guest"]}
    for headers, expected in ((await mine(boards, "cem"), ["ada", "cem"]), (before, ["ada", "eve"])):
        found = await boards.live.client.post("/v1/me/leaderboards/first/among", json=with_ids, headers=headers)
        assert [each["name"] for each in found.json()["entries"]] == expected, (
            "who became whom is nobody else's business"
        )


async def test_an_app_server_finds_friends_by_the_ids_of_before_a_merge(boards: Boards) -> None:
    await boards.score("anon:guest", 3)
    await fill(boards)
    await merge(boards.live, "anon:guest", "eve")
    await boards.project()
    for friends in (["ada", "anon:guest"], ["anon:guest", "eve", "ada", "anon:nobody"]):
        answer = await boards.live.client.post("/v1/leaderboards/shared/among", json={"members": friends})
        assert answer.status_code == 200, answer.text
        assert {each["member"] for each in answer.json()["entries"]} == {"ada", "eve"}
        assert len(answer.json()["entries"]) == 2


async def test_the_list_of_boards(filled: Boards) -> None:
    body = await filled.get("")
    assert [each["key"] for each in body["leaderboards"]] == ["cities", "fastest", "first", "shared", "weekly"]
    german = {each["key"]: each["name"] for each in (await filled.get("", locale="de-AT"))["leaderboards"]}
    assert (german["shared"], german["weekly"]) == ("Punkte", "weekly")
    weekly = body["leaderboards"][-1]["period"]
    assert weekly["closes_at"] > weekly["ends_at"] > weekly["starts_at"]


@pytest.mark.parametrize(
    ("path", "query", "status", "where"),
    [
        ("/none", {}, 404, None),
        ("/weekly", {"period": "2026-13"}, 422, "query.period"),
        ("/shared", {"period": "previous"}, 422, "query.period"),
        ("/shared", {"limit": 101}, 400, "query.limit"),
        ("/shared", {"offset": -1}, 400, "query.offset"),
        ("/shared/members/nobody", {}, 404, None),
    ],
)
async def test_what_cannot_be_read(
    filled: Boards, path: str, query: dict[str, Any], status: int, where: str | None
) -> None:
    answer = await filled.ask(path, **query)
    assert answer.status_code == status, answer.text
    assert where is None or answer.json()["errors"][0]["path"] == where


@pytest.mark.parametrize(
    ("board", "says"),
    [
        ("shard", "The program has no leaderboard 'shard'; did you mean shared?"),
        ("top", "The program has no leaderboard 'top'; it has cities, fastest, first, shared, weekly"),
    ],
)
async def test_an_unknown_board_is_told_those_that_there_are(filled: Boards, board: str, says: str) -> None:
    assert (await filled.ask(f"/{board}")).json()["detail"] == says


async def test_a_board_that_nobody_vouches_for_is_stale(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(boards)
    monkeypatch.setattr(reading, "STALE_AFTER", timedelta(0))
    body = await boards.get("/shared")
    assert (body["stale"], len(body["entries"])) == (True, 5)
