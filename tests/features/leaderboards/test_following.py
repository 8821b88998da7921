"""A customer's stream goes where its member goes: into another part of a board, or to whom it was merged into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final

import pytest
from sqlalchemy import event, text
from tests.features.leaderboards.boards import Boards
from tests.features.leaderboards.streams import PATIENCE_SECONDS, Message, Stream, stream
from tests.features.leaderboards.test_streaming import token, watched
from tests.features.members.test_members import merge
from tests.service import service_settings

from rewards.domain.commands import MemberRef, SetProfile
from rewards.features.leaderboards.whereabouts import MOVED_CHANNEL
from rewards.pipeline.intake import Addressed
from rewards.service import Service

UNREACHABLE: Final = "redis://127.0.0.1:1/0"
SECONDS: Final = 5
"""Within which a stream has followed."""
ASKS: ContextVar[str] = ContextVar("ASKS", default="others")


async def live_in(boards: Boards, city: str, *members: str) -> None:
    for member in members:
        answer = await boards.live.client.patch(f"/v1/members/{member}", json={"attributes": {"city": city}})
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def towns(boards: Boards) -> Boards:
    """In Köln ada with 5 and bob with 7; eve, who has no score, and max, who has 8 and wants to be on no board. In Ulm cem with 9."""
    await live_in(boards, "Köln", "ada", "bob", "eve", "max")
    await live_in(boards, "Ulm", "cem")
    assert (await boards.live.client.put("/v1/members/max/leaderboards/opt-out")).status_code == 200
    for member, points in (("ada", 5), ("bob", 7), ("max", 8), ("cem", 9)):
        await boards.score(member, points)
    await boards.project()
    return boards


@asynccontextmanager
async def mine(
    boards: Boards, member: str, board: str = "cities", *, last: str | None = None, **query: Any
) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {await token(boards, member)}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    async with stream(boards.live.app, f"/v1/me/leaderboards/{board}/stream", headers=headers, **query) as opened:
        yield opened


async def until(opened: Stream, **expected: Any) -> list[Message]:
    """What is sent up to the first message that says so."""
    found: list[Message] = []
    async with asyncio.timeout(SECONDS):
        while not found or any(found[-1].data.get(name, "nothing") != value for name, value in expected.items()):
            found.append(await opened.next())
    return found


def own(messages: list[Message]) -> list[float]:
    """The scores of those entries that are the member's own."""
    return [entry["score"] for each in messages for entry in each.data["entries"] if entry["me"]]


def snapshots(messages: list[Message]) -> list[tuple[str, list[float]]]:
    """The part and the scores of each."""
    return [
        (each.data["part"], [entry["score"] for entry in each.data["entries"]])
        for each in messages
        if each.event == "snapshot"
    ]


@pytest.mark.parametrize(
    ("member", "before", "place"),
    [
        ("ada", ("Köln", [7, 5]), {"rank": 2, "score": 5}),
        ("eve", ("Köln", [7, 5]), None),
        ("max", ("Köln", [7, 5]), None),
        ("newcomer", ("", []), None),
    ],
)
async def test_a_stream_follows_its_member_to_another_part(
    towns: Boards, member: str, before: tuple[str, list[float]], place: dict[str, Any] | None
) -> None:
    async with mine(towns, member) as opened, mine(towns, "bob") as other:
        first = [await each.next() for each in (opened, other)]
        assert (snapshots(first[:1]), first[0].data["me"]) == ([before], place)
        await live_in(towns, "Ulm", member)
        there = await until(opened, part="Ulm")
        assert snapshots(there) == [("Ulm", [9])]
        await towns.project()
        if place is not None:
            settled = await until(opened, me={"rank": 2, "score": 5}, length=2)
            assert [each.event for each in settled] == ["changes"] * len(settled)
            assert snapshots(await until(other, length=1)) == [], "whoever stays is told that one has left"
        await towns.score(member, 0)
        await towns.score("cem", 1)
        await towns.project()
        score = {"ada": 5, "max": None}.get(member, 0)
        expected = None if score is None else {"rank": 2, "score": score}
        assert snapshots(await until(opened, me=expected, total=1 if expected is None else 2)) == []


async def moved_by_another_process(towns: Boards, member: str, database_url: str, redis_url: str) -> None:
    other = Service(service_settings(database_url, redis_url))
    async with other.running():
        moves = Addressed(MemberRef.parse(member), SetProfile({"city": "Ulm"}), None, {}, "tests")
        await other.intake.one(towns.live.program_id, moves)


async def test_a_member_is_followed_that_another_process_has_moved(
    towns: Boards, boards_url: str, redis_url: str
) -> None:
    async with mine(towns, "eve") as opened:
        await opened.next()
        await moved_by_another_process(towns, "eve", boards_url, redis_url)
        assert snapshots(await until(opened, part="Ulm")) == [("Ulm", [9])]


async def test_a_member_is_followed_although_word_of_it_was_lost(towns: Boards, boards_url: str) -> None:
    async with mine(towns, "ada") as opened:
        await opened.next()
        await moved_by_another_process(towns, "ada", boards_url, UNREACHABLE)
        await towns.project()
        assert [part for part, _ in snapshots(await until(opened, me={"rank": 2, "score": 5}, total=2))] == ["Ulm"]


async def test_a_stream_of_a_part_that_was_asked_for_stays_there(towns: Boards) -> None:
    async with mine(towns, "ada", part="Köln") as opened:
        await opened.next()
        await live_in(towns, "Ulm", "ada")
        await towns.project()
        assert snapshots(await until(opened, me=None, total=1)) == []


async def test_a_stream_follows_a_member_that_is_merged(towns: Boards) -> None:
    await live_in(towns, "Köln", "anon:guest")
    await towns.score("anon:guest", 3)
    await towns.project()
    async with mine(towns, "anon:guest") as parts, mine(towns, "anon:guest", "shared") as whole:
        first = [await each.next() for each in (parts, whole)]
        assert [each.data["me"]["score"] for each in first] == [3, 3]
        await merge(towns.live, "anon:guest", "cem")
        await towns.project()
        for opened, part in ((parts, "Ulm"), (whole, "")):
            messages = await until(opened, me={"rank": 1, "score": 12})
            assert {each for each, _ in snapshots(messages)} == {part}
            # Marked as whom it has become; its place may be read a moment before the entries are.
            async with asyncio.timeout(SECONDS):
                while own(messages)[-1:] != [12]:
                    messages.append(await opened.next())


@pytest.mark.parametrize("board", ["cities", "shared"])
@pytest.mark.parametrize(
    ("off", "on"),
    [
        (("DELETE", "/v1/leaderboards/{board}/members/ada", {"reason": "a bot"}), ("PUT", "/v1/leaderboards/{board}/members/ada")),
        (("PUT", "/v1/members/ada/leaderboards/opt-out"), ("DELETE", "/v1/members/ada/leaderboards/opt-out")),
    ],
    ids=["removed", "opted out"],
)  # fmt: skip
async def test_whoever_is_off_a_board_and_back_is_told_so(
    towns: Boards, board: str, off: tuple[Any, ...], on: tuple[Any, ...]
) -> None:
    async def done(method: str, path: str, content: Any = None) -> None:
        answer = await towns.live.client.request(method, path.format(board=board), json=content)
        assert answer.status_code == 200, answer.text
        await towns.project()

    part = {"part": "Köln"} if board == "cities" else {}
    async with (
        mine(towns, "ada", board) as own,
        mine(towns, "bob", board) as other,
        watched(towns, board, **part) as all_,
    ):
        streams = (own, other, all_)
        first = [await each.next() for each in streams]
        total, place = first[0].data["total"], first[0].data["me"]
        await done(*off)
        gone = [
            await until(own, me=None, total=total - 1),
            *[await until(each, total=total - 1) for each in streams[1:]],
        ]
        await done(*on)
        back = [await until(own, me=place, total=total), *[await until(each, total=total) for each in streams[1:]]]
        assert [snapshots(each) for each in (*gone, *back)] == [[]] * 6, "nobody is elsewhere"
        assert {entry["score"] for each in back for entry in each[-1].data["entries"]} >= {5}


async def test_ids_of_a_stream_that_has_moved_are_good_to_come_back_with(towns: Boards) -> None:
    async with mine(towns, "ada") as opened:
        before = (await opened.next()).id
        await live_in(towns, "Ulm", "ada")
        await towns.project()
        after = (await until(opened, me={"rank": 2, "score": 5}, total=2))[-1].id
    await towns.score("cem", 1)
    await towns.project()
    async with mine(towns, "ada", last=after) as again:
        told = await again.next()
        assert (told.event, [entry["score"] for entry in told.data["entries"]]) == ("changes", [10])
    async with mine(towns, "ada", last=before) as again:
        assert snapshots([await again.next()]) == [("Ulm", [10, 5])], "what was shown there is of no use here"


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ({"part": "Köln"}, "changes"),
        ({"part": "Köln", "limit": 1}, "snapshot"),
        ({"part": "Ulm"}, "snapshot"),
        ({}, "snapshot"),
    ],
)
async def test_an_id_is_of_the_ranking_that_was_shown(towns: Boards, query: dict[str, Any], kind: str) -> None:
    """All rankings of a board have its version."""
    async with watched(towns, "cities", part="Köln") as opened:
        seen = (await opened.next()).id
    async with watched(towns, "cities", **query, last=seen) as again:
        assert (await again.next()).event == kind


async def test_an_id_is_of_whom_it_was_shown_to(towns: Boards) -> None:
    async with mine(towns, "ada", "shared") as opened:
        seen = (await opened.next()).id
    for member, kind in (("ada", "changes"), ("bob", "snapshot")):
        async with mine(towns, member, "shared", last=seen) as again:
            assert (await again.next()).event == kind, member


async def test_nothing_is_asked_of_the_database_for_members_who_stay(towns: Boards) -> None:
    asked: list[str] = []

    def taken(*_: object) -> None:
        asked.append(ASKS.get())

    pool = towns.live.service.engine.sync_engine.pool
    event.listen(pool, "checkout", taken)
    ASKS.set("streams")  # and whatever they begin
    async with mine(towns, "ada") as ada, mine(towns, "bob") as bob, mine(towns, "eve") as eve:
        for each in (ada, bob, eve):
            await each.next()
        ASKS.set("others")
        asked.clear()
        for total in range(1, 4):
            await towns.score("bob", 1)
            await live_in(towns, "Ulm", f"somebody-{total}")
            await towns.project()
            for each in (ada, bob, eve):
                while 7 + total not in [entry["score"] for entry in (await each.next()).data["entries"]]:
                    pass
        assert "streams" not in asked
        await live_in(towns, "Ulm", "eve")
        await until(eve, part="Ulm")
        assert "streams" in asked
    event.remove(pool, "checkout", taken)


async def test_the_stream_of_a_member_that_is_no_more_ends(towns: Boards) -> None:
    service = towns.live.service
    published = await service.programs.get(towns.live.program_id)
    member = published.identity.member(MemberRef.parse("ada"))
    async with mine(towns, "ada") as opened:
        await opened.next()
        async with service.engine.begin() as connection:
            erased = text("UPDATE member SET erased_at = now() WHERE program_id = :program AND member_id = :member")
            await connection.execute(erased, {"program": towns.live.program_id, "member": member})
        await service.valkey.publish(MOVED_CHANNEL, member.bytes)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await opened.ended.wait()
        assert opened.complete
