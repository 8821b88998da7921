"""Live rankings: a snapshot, then what changes; coming back; tickets; limits; and how streams end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from tests.features.leaderboards.boards import PROGRAM, Boards
from tests.features.leaderboards.streams import Message, Stream, stream
from tests.service import Live, another

from rewards.db.transact import DatabaseUnavailable
from rewards.domain.commands import MemberRef
from rewards.features.leaderboards import feeds, watching
from rewards.features.leaderboards.feeds import STREAMS_OF_MEMBER_MAX
from rewards.features.leaderboards.tickets import Tickets
from rewards.http import event_stream, token_watch
from rewards.http.auth import Caller
from rewards.http.problems import NoMemberToken
from rewards.http.token_watch import HeldToken, TokenWatch
from rewards.valkey import make_valkey


@asynccontextmanager
async def watched(boards: Boards, board: str, *, last: str | None = None, **query: Any) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {boards.live.server_key}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    async with stream(boards.live.app, f"/v1/leaderboards/{board}/stream", headers=headers, **query) as opened:
        yield opened


async def token(boards: Boards, member: str) -> str:
    answer = await boards.live.client.post(f"/v1/members/{member}/tokens", json={})
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["token"]
    return made


def rows(entries: list[dict[str, Any]]) -> list[tuple[int, str, float]]:
    return [(each["rank"], each["member"], each["score"]) for each in entries]


async def test_a_snapshot_and_then_what_changes(boards: Boards) -> None:
    await boards.score("ada", 5)
    await boards.project()
    async with watched(boards, "shared", limit=2) as opened:
        first = await opened.next()
        assert opened.status == 200
        assert opened.headers["content-type"].startswith("text/event-stream")
        assert (first.event, rows(first.data["entries"]), first.data["total"]) == ("snapshot", [(1, "ada", 5)], 1)
        await boards.score("bob", 3)
        await boards.project()
        second = await opened.next()
        assert (second.event, second.data["length"], second.data["total"]) == ("changes", 2, 2)
        assert [(each["position"], each["member"]) for each in second.data["entries"]] == [(2, "bob")]
        await boards.score("cem", 9)
        await boards.project()
        third = await opened.next()
        assert [(each["position"], each["member"], each["rank"]) for each in third.data["entries"]] == [
            (1, "cem", 1),
            (2, "ada", 2),
        ]
        versions = [int(each.id.partition("-")[0]) for each in (first, second, third)]
        assert versions == sorted(set(versions))


async def test_whoever_comes_back_is_told_what_has_changed_since(boards: Boards) -> None:
    for member, points in (("ada", 5), ("bob", 3)):
        await boards.score(member, points)
    await boards.project()
    async with watched(boards, "shared") as opened:
        seen = (await opened.next()).id
    await boards.score("cem", 4)
    await boards.project()
    async with watched(boards, "shared", last=seen) as again:
        told = await again.next()
        assert told.event == "changes"
        assert [(each["position"], each["member"]) for each in told.data["entries"]] == [(2, "cem"), (3, "bob")]
    async with watched(boards, "shared", last=told.id) as unchanged:
        nothing = await unchanged.next()
        assert (nothing.event, nothing.data["entries"], nothing.data["stale"]) == ("changes", [], False)
        await boards.score("dan", 1)
        await boards.project()
        following = await unchanged.next()
        assert (following.event, [each["member"] for each in following.data["entries"]]) == ("changes", ["dan"])


@pytest.mark.parametrize("last", ["1", "never", "99999999999999999999", "-5"])
async def test_whoever_saw_what_is_not_known_any_more_begins_anew(boards: Boards, last: str) -> None:
    await boards.score("ada", 5)
    await boards.project()
    async with watched(boards, "shared", last=last) as opened:
        assert (await opened.next()).event == "snapshot"


async def test_changes_that_come_fast_become_one(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "INTERVAL_SECONDS", 2.0)  # fast is what is faster than that, on a busy machine too
    await boards.score("ada", 1)
    await boards.project()
    async with watched(boards, "shared") as opened:
        await opened.next()
        for _ in range(8):
            await boards.score("ada", 1)
            await boards.project()
        messages: list[Message] = []
        while not messages or messages[-1].data["entries"][0]["score"] < 9:
            messages.append(await opened.next())
        assert len(messages) < 8
        assert {message.event for message in messages} == {"changes"}


async def test_a_customer_watches_with_a_ticket_that_is_good_once(boards: Boards) -> None:
    for member, points in (("ada", 5), ("bob", 3)):
        await boards.score(member, points)
    await boards.project()
    headers = {"Authorization": f"Bearer {await token(boards, 'bob')}"}
    made = await boards.live.client.post("/v1/me/stream-tickets", headers=headers)
    assert made.status_code == 201, made.text
    path = "/v1/me/leaderboards/shared/stream"
    ticket = made.json()["ticket"]
    async with stream(boards.live.app, path, headers={}, ticket=ticket, limit=1) as opened:
        first = await opened.next()
        assert first.data["me"] == {"rank": 2, "score": 3}
        [entry] = first.data["entries"]
        assert entry["me"] is False
        assert "ada" not in str(first.data), "others appear by a pseudonym"
        await boards.score("bob", 1)
        await boards.project()
        told = await opened.next()
        assert (told.data["me"], told.data["entries"]) == ({"rank": 2, "score": 4}, []), "below what is shown"
    for wrong in (ticket, "ticket_" + 43 * "x", "nonsense"):
        answer = await boards.live.client.get(path, params={"ticket": wrong}, headers={"Authorization": ""})
        assert answer.status_code == 401, answer.text


async def test_who_cannot_send_a_header_comes_back_with_another_ticket_and_the_id_in_the_address(
    boards: Boards,
) -> None:
    await boards.score("ada", 5)
    await boards.score("bob", 3)
    await boards.project()
    headers = {"Authorization": f"Bearer {await token(boards, 'bob')}"}
    path = "/v1/me/leaderboards/shared/stream"

    async def ticket() -> str:
        made: str = (await boards.live.client.post("/v1/me/stream-tickets", headers=headers)).json()["ticket"]
        return made

    async with stream(boards.live.app, path, headers={}, ticket=await ticket()) as opened:
        seen = (await opened.next()).id
    await boards.score("cem", 4)
    await boards.project()
    async with stream(boards.live.app, path, headers={}, ticket=await ticket(), last_event_id=seen) as again:
        told = await again.next()
        assert (told.event, [each["position"] for each in told.data["entries"]]) == ("changes", [2, 3])
    # Where the browser itself comes back, its header is the newer one.
    both = {**headers, "Last-Event-ID": told.id}
    async with stream(boards.live.app, path, headers=both, last_event_id=seen) as again:
        assert (await again.next()).data["entries"] == []


async def test_a_ticket_opens_streams_and_nothing_else(boards: Boards) -> None:
    headers = {"Authorization": f"Bearer {await token(boards, 'bob')}"}
    ticket = (await boards.live.client.post("/v1/me/stream-tickets", headers=headers)).json()["ticket"]
    answer = await boards.live.client.get("/v1/me", headers={"Authorization": f"Bearer {ticket}"})
    assert answer.status_code == 401


async def test_a_ticket_opens_nothing_of_another_installation_on_the_same_valkey(redis_url: str) -> None:
    valkey = make_valkey(redis_url)
    here, there = (Tickets(secret, valkey) for secret in (b"one" * 11, b"two" * 11))
    caller = Caller(1, "play", UUID(int=1), "member", frozenset({"me"}), member=MemberRef("user", "ada"))
    try:
        ticket = await here.make(caller)
        with pytest.raises(NoMemberToken):
            await there.take(ticket)
        assert (await here.take(ticket)).member == caller.member
    finally:
        await valkey.aclose()


async def test_a_member_has_a_few_streams_at_most(boards: Boards) -> None:
    await boards.project()
    headers = {"Authorization": f"Bearer {await token(boards, 'bob')}"}
    path = "/v1/me/leaderboards/shared/stream"
    async with contextlib.AsyncExitStack() as open_ones:
        for _ in range(STREAMS_OF_MEMBER_MAX):
            opened = await open_ones.enter_async_context(stream(boards.live.app, path, headers=headers))
            await opened.next()
        refused = await boards.live.client.get(path, headers=headers)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
    async with stream(boards.live.app, path, headers=headers) as opened:
        await opened.next()


async def minted(boards: Boards, member: str) -> tuple[dict[str, str], str]:
    """The headers of a customer with a fresh token, and the token's id."""
    answer = await boards.live.client.post(f"/v1/members/{member}/tokens", json={})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}, answer.json()["id"]


@pytest.mark.parametrize(
    ("path", "others_go_on"),
    [
        ("/members/bob/tokens/{token}", True),
        ("/members/bob/tokens", False),
        ("/tokens", False),
    ],
)
@pytest.mark.parametrize("by_ticket", [False, True])
async def test_a_stream_ends_with_its_token(boards: Boards, path: str, others_go_on: bool, by_ticket: bool) -> None:
    await boards.project()
    client, watched_board = boards.live.client, "/v1/me/leaderboards/shared/stream"
    headers, token_id = await minted(boards, "bob")
    more: dict[str, Any] = {"headers": headers}
    if by_ticket:
        ticket = (await client.post("/v1/me/stream-tickets", headers=headers)).json()["ticket"]
        more = {"headers": {}, "ticket": ticket}
    another, _ = await minted(boards, "bob")
    async with (
        stream(boards.live.app, watched_board, **more) as opened,
        stream(boards.live.app, watched_board, headers=another) as other,
        watched(boards, "shared") as servers,
    ):
        for each in (opened, other, servers):
            await each.next()
        assert (await client.delete(f"/v1{path.format(token=token_id)}")).status_code == 204
        async with asyncio.timeout(5):
            await opened.ended.wait()
            if not others_go_on:
                await other.ended.wait()
        assert opened.complete
        assert other.complete is not others_go_on
        await boards.score("ada", 5)
        await boards.project()
        for each in (other, servers) if others_go_on else (servers,):
            assert (await each.next()).event == "changes"


async def test_a_ticket_that_was_made_before_its_token_was_revoked_opens_no_lasting_stream(boards: Boards) -> None:
    await boards.project()
    client = boards.live.client
    headers, _ = await minted(boards, "bob")
    ticket = (await client.post("/v1/me/stream-tickets", headers=headers)).json()["ticket"]
    assert (await client.delete("/v1/members/bob/tokens")).status_code == 204
    async with stream(boards.live.app, "/v1/me/leaderboards/shared/stream", headers={}, ticket=ticket) as opened:
        async with asyncio.timeout(5):
            await opened.ended.wait()
        assert opened.complete


async def test_all_streams_are_asked_about_at_once_and_none_when_none_is_open() -> None:
    asked: list[int] = []

    async def find(tokens: Sequence[HeldToken]) -> list[HeldToken]:
        asked.append(len(tokens))
        return [each for each in tokens if each.member_epoch]

    watch = TokenWatch(find)
    await watch.look()
    assert asked == [], "nobody is there"
    member = UUID(int=1)
    streams = [watch.enter(HeldToken(1, member, UUID(int=number), 0, number % 2)) for number in range(6)]
    streams.append(watch.enter(streams[0].token))
    await watch.look()
    assert asked == [6], "two streams may have one token"
    assert [each.revoked.is_set() for each in streams] == [False, True, False, True, False, True, False]
    for each in streams:
        watch.leave(each)
    await watch.look()
    assert asked == [6]


async def test_streams_go_on_while_the_database_cannot_say_and_end_once_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_watch, "WATCH_SECONDS", 0.001)
    answers: list[Exception | None] = [DatabaseUnavailable("away"), ValueError("a defect"), None]

    async def find(tokens: Sequence[HeldToken]) -> Sequence[HeldToken]:
        answer = answers.pop(0)
        assert not opened.revoked.is_set()
        if answer is not None:
            raise answer
        return tokens

    watch = TokenWatch(find)
    opened = watch.enter(HeldToken(1, UUID(int=1), UUID(int=2), 0, 0))
    async with watch.running(), asyncio.timeout(5):
        await opened.revoked.wait()
        watch.leave(opened)
    assert answers == []


async def test_what_cannot_be_watched_is_refused_before_it_begins(boards: Boards) -> None:
    await boards.project()
    for path, status in (("/none/stream", 404), ("/shared/stream?period=never", 422), ("/shared/stream?limit=0", 400)):
        assert (await boards.live.client.get(f"/v1/leaderboards{path}")).status_code == status


async def test_streams_end_with_the_service(lone_boards: Boards) -> None:
    await lone_boards.project()
    async with watched(lone_boards, "shared") as opened:
        await opened.next()
        lone_boards.live.service.ending.set()
        async with asyncio.timeout(5):
            await opened.ended.wait()
        assert opened.complete


async def test_a_client_that_does_not_read_is_let_go(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SEND_SECONDS_MAX", 0.2)
    await boards.project()
    async with watched(boards, "shared") as opened:
        await opened.next()
        opened.reads.clear()
        await boards.score("ada", 1)
        await boards.project()
        async with asyncio.timeout(10):
            await opened.ended.wait()


async def test_an_idle_stream_shows_that_it_is_there(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while its board is looked at far more often than that, and nothing has changed."""
    monkeypatch.setattr(watching, "HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr(feeds, "INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.02)
    await boards.project()
    async with watched(boards, "weekly") as opened:
        await opened.next()
        for _ in range(2):
            assert await opened.text() == event_stream.HEARTBEAT.decode()


async def test_when_a_period_ends_a_customer_is_told_its_place_in_the_next(boards_service: Live) -> None:
    async with another(boards_service, PROGRAM, kind="sandbox") as running:
        boards = Boards(running)
        await boards.score("ada", 5)
        await boards.project()
        headers = {"Authorization": f"Bearer {await token(boards, 'ada')}"}
        async with stream(running.app, "/v1/me/leaderboards/weekly/stream", headers=headers) as opened:
            first = await opened.next()
            assert first.data["me"] == {"rank": 1, "score": 1}
            moved = await running.client.post("/v1/sandbox/clock", json={"advance": "7d"})
            assert moved.status_code == 200, moved.text
            following = await opened.next()
            while following.event != "snapshot":
                following = await opened.next()
            assert following.data["period"]["key"] != first.data["period"]["key"]
            assert (following.data["entries"], following.data["me"]) == ([], None)
