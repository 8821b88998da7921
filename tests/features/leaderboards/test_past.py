"""Past periods: first from Valkey, and once their results are frozen, from PostgreSQL; the answers are the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.features.leaderboards.boards import Boards
from tests.service import Live, another

from rewards.features.leaderboards import projecting
from rewards.features.leaderboards.ranking import Ranking

PROGRAM = """
rewards: 1
program: {key: play, timezone: UTC}
events: {played: {properties: {points: number}}, rested: {}}
metrics: {points: {sum: played, value: event.points}, rests: {count: rested}}
leaderboards:
  shared: {score: {metric: points}, period: {every: day}, grace: 2h}
  first: {score: {metric: points}, period: {every: day}, grace: 2h, ties: first}
  idle: {score: {metric: rests}, period: {every: day}, grace: 2h}
"""
MEMBERS = (("bob", 7), ("ada", 9), ("cem", 7), ("dan", 7), ("eve", 2))


@pytest.fixture
async def played(boards_service: Live) -> AsyncIterator[Boards]:
    """A day on which five members played; ada 9, bob 7, cem 7, dan 7, eve 2."""
    async with another(boards_service, PROGRAM, kind="sandbox") as running:
        boards = Boards(running)
        for member, points in MEMBERS:
            await boards.score(member, points)
        await boards.project()
        yield boards


async def advance(boards: Boards, length: str) -> None:
    answer = await boards.live.client.post("/v1/sandbox/clock", json={"advance": length})
    assert answer.status_code == 200, answer.text


async def answers(boards: Boards, period: str) -> list[Any]:
    """Everything that can be asked of the period, without the moment."""
    found: list[Any] = []
    for board in ("shared", "first"):
        for path, query in (
            ("", {}),
            ("", {"limit": 2, "offset": 1}),
            ("", {"offset": 5}),
            ("/around/cem", {"radius": 4}),
            ("/around/ada", {"radius": 2}),
            ("/around/nobody_yet", {}),
            *((f"/members/{member}", {}) for member, _ in MEMBERS),
            ("/members/nobody_yet", {}),
        ):
            body = await boards.get(f"/{board}{path}", **query, period=period)
            found.append({key: value for key, value in body.items() if key not in {"as_of", "stale", "period"}})
        friends = {"members": ["eve", "ada", "nobody_yet"]}
        among = await boards.live.client.post(
            f"/v1/leaderboards/{board}/among", json=friends, params={"period": period}
        )
        found.append([(each["rank"], each["member"]) for each in among.json()["entries"]])
        found.append(
            {(each["rank"], each["member"]) for each in (await boards.get(f"/{board}", period=period))["entries"]}
        )
    return found


async def test_a_frozen_result_answers_as_the_board_did(played: Boards) -> None:
    await played.live.event(type="played", member="nobody_yet", properties={"points": 1})
    period = (await played.get("/shared"))["period"]["key"]
    await played.project()
    removed = {"reason": "not to be ranked"}
    for board in ("shared", "first"):
        await played.live.client.request("DELETE", f"/v1/leaderboards/{board}/members/nobody_yet", json=removed)
    await played.project()
    before = await answers(played, "current")
    assert (await played.get("/shared"))["period"]["final"] is False
    await advance(played, "30h")
    await played.live.worker.closings.run(played.live.program_id)
    body = await played.get("/shared", period=period)
    assert (body["period"]["final"], body["stale"]) == (True, False)
    assert await answers(played, period) == before


async def test_between_its_end_and_its_closing_a_period_is_read_as_it_stands(played: Boards) -> None:
    period = (await played.get("/shared"))["period"]
    now = (await played.live.client.get("/v1/sandbox/clock")).json()["now"]
    left = datetime.fromisoformat(period["ends_at"]) - datetime.fromisoformat(now)
    await advance(played, f"{round(left.total_seconds()) + 1800}s")
    body = await played.get("/shared", period="previous")
    assert body["period"] == period
    assert body["total"] == 5
    assert (await played.get("/shared"))["total"] == 0


async def test_a_period_in_which_nobody_scored_is_final_too(played: Boards) -> None:
    period = (await played.get("/idle"))["period"]
    left = datetime.fromisoformat(period["ends_at"]) - await clock(played)
    for length, final in ((f"{round(left.total_seconds()) + 1800}s", False), ("2h", True)):
        await advance(played, length)
        body = await played.get("/idle", period="previous")
        assert (body["period"]["key"], body["period"]["final"], body["total"]) == (period["key"], final, 0)
        assert (await played.get("/idle"))["period"]["final"] is False


async def test_a_sandbox_shows_its_own_clock(played: Boards) -> None:
    await advance(played, "400d")
    await played.project()
    for path in ("/shared", "/shared/around/ada", "/shared/members/ada"):
        body = await played.get(path)
        behind = await clock(played) - datetime.fromisoformat(body["as_of"])
        assert (timedelta(0) <= behind < timedelta(minutes=1), body["stale"]) == (True, False)


async def clock(boards: Boards) -> datetime:
    return datetime.fromisoformat((await boards.live.client.get("/v1/sandbox/clock")).json()["now"])


async def test_sets_of_frozen_periods_go(played: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    ranking = Ranking(played.live.service.valkey)
    boards = list(played.live.worker.projector._boards.values())
    mine = [board for board in boards if board.id.program_id == played.live.program_id]
    await advance(played, "30h")
    await played.live.worker.closings.run(played.live.program_id)
    monkeypatch.setattr(projecting, "RETIRE_SECONDS", 0.0)
    sets = [of for board in mine for of in await ranking.names(board.id)]
    assert len(sets) == 2
    await played.project()
    assert [of for board in mine for of in await ranking.names(board.id)] == []
    for of in sets:
        assert 0 < await played.live.service.valkey.ttl(of.entries) <= projecting.RETIRED_SECONDS
