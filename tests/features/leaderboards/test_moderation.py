"""Taking members off boards, putting them back, and members who want to be on none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from tests.service import Live, create_database, live, service_settings

PROGRAM = """
rewards: 1
program: {key: play, timezone: UTC}
events: {scored: {properties: {points: number}}}
metrics: {total: {sum: scored, value: event.points}}
leaderboards:
  all: {score: {metric: total}}
  month: {score: {metric: total}, period: {every: month}}
"""


@pytest.fixture(scope="module")
async def board(database_url: str, redis_url: str) -> AsyncIterator[Live]:
    url = await create_database(database_url, "leaderboard_moderation")
    async with live(service_settings(url, redis_url), PROGRAM) as running:
        yield running


async def found(running: Live, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    async with running.service.engine.connect() as connection:
        rows = await connection.execute(text(sql), {"id": running.program_id, **values})
        return [tuple(row) for row in rows]


async def shown(running: Live, member: str) -> dict[str, bool]:
    sql = """SELECT s.board, s.shown FROM leaderboard_score s JOIN member m USING (program_id, bucket, member_id)
             WHERE s.program_id = :id AND m.external_id = :member"""
    return {row[0]: row[1] for row in await found(running, sql, member=member)}


async def audited(running: Live) -> list[str]:
    sql = "SELECT action FROM audit WHERE program_id = :id AND action LIKE 'leaderboard.%' ORDER BY recorded_at"
    return [row[0] for row in await found(running, sql)]


async def marks(running: Live) -> int:
    return len(await found(running, "DELETE FROM leaderboard_dirty WHERE program_id = :id RETURNING 1"))


async def scored(running: Live, member: str, points: float) -> None:
    await running.event(type="scored", member=member, properties={"points": points})


async def test_a_cheater_is_off_one_board_until_restored(board: Live) -> None:
    await scored(board, "eve", 5)
    await marks(board)
    before = len(await audited(board))
    path = "/v1/leaderboards/all/members/eve"
    answers = [await board.client.request("DELETE", path, json={"reason": "a bot"}) for _ in range(2)]
    assert [(each.status_code, each.json()) for each in answers] == [(200, {"leaderboard": "all", "removed": True})] * 2
    assert await shown(board, "eve") == {"all": False, "month": True}
    assert await marks(board) == 1
    listed = (await board.client.get("/v1/leaderboards/all/removals")).json()["items"]
    assert [(each["member"], each["reason"]) for each in listed] == [("eve", "a bot")]
    await scored(board, "eve", 2)
    assert await shown(board, "eve") == {"all": False, "month": True}
    answer = await board.client.put(path)
    assert (answer.status_code, answer.json()) == (200, {"leaderboard": "all", "removed": False})
    assert await shown(board, "eve") == {"all": True, "month": True}
    assert (await board.client.get("/v1/leaderboards/all/removals")).json()["items"] == []
    assert (await audited(board))[before:] == ["leaderboard.removed", "leaderboard.restored"]


async def test_who_opts_out_is_on_no_board(board: Live) -> None:
    await scored(board, "max", 5)
    await marks(board)
    before = len(await audited(board))
    path = "/v1/members/max/leaderboards/opt-out"
    assert (await board.client.get(path)).json() == {"opted_out": False}
    for _ in range(2):
        answer = await board.client.put(path)
        assert (answer.status_code, answer.json()) == (200, {"opted_out": True})
    assert (await board.client.get(path)).json() == {"opted_out": True}
    assert await shown(board, "max") == {"all": False, "month": False}
    assert await marks(board) == 2
    answer = await board.client.delete(path)
    assert (answer.status_code, answer.json()) == (200, {"opted_out": False})
    assert await shown(board, "max") == {"all": True, "month": True}
    assert (await audited(board))[before:] == ["leaderboard.opted_out", "leaderboard.opted_in"]


async def test_the_member_decides_with_its_own_token(board: Live) -> None:
    await scored(board, "mia", 5)
    minted = await board.client.post("/v1/members/mia/tokens", json={})
    headers = {"Authorization": f"Bearer {minted.json()['token']}"}
    path = "/v1/me/leaderboards/opt-out"
    answers = [
        (await board.client.request(method, path, headers=headers)).json()["opted_out"]
        for method in ("GET", "PUT", "GET", "DELETE", "GET")
    ]
    assert answers == [False, True, True, False, False]


async def test_a_repeated_request_is_answered_alike(board: Live) -> None:
    await scored(board, "tom", 5)
    path = "/v1/leaderboards/all/members/tom"
    key = {"Idempotency-Key": "remove-tom"}
    one = await board.client.request("DELETE", path, json={"reason": "x"}, headers=key)
    await board.client.put(path)
    other = await board.client.request("DELETE", path, json={"reason": "x"}, headers=key)
    assert one.json() == other.json()
    assert other.headers["Idempotency-Replayed"] == "true"
    assert await shown(board, "tom") == {"all": True, "month": True}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "where"),
    [
        ("DELETE", "/v1/leaderboards/none/members/tom", {"reason": "x"}, 404, None),
        ("PUT", "/v1/leaderboards/none/members/tom", None, 404, None),
        ("DELETE", "/v1/leaderboards/all/members/tom", {}, 422, "reason"),
        ("DELETE", "/v1/leaderboards/all/members/tom", {"reason": ""}, 422, "reason"),
    ],
)
async def test_what_is_wrong_is_said(
    board: Live, method: str, path: str, body: dict[str, Any] | None, status: int, where: str | None
) -> None:
    answer = await board.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    if where is not None:
        assert answer.json()["errors"][0]["path"] == where


async def test_an_unknown_board_is_told_the_one_that_was_meant(board: Live) -> None:
    answer = await board.client.request("DELETE", "/v1/leaderboards/mont/members/tom", json={"reason": "x"})
    assert answer.json()["detail"] == "the program has no leaderboard 'mont'; did you mean month?"


async def test_only_staff_remove(board: Live) -> None:
    headers = {"Authorization": f"Bearer {board.public_key}"}
    answer = await board.client.request(
        "DELETE", "/v1/leaderboards/all/members/tom", json={"reason": "x"}, headers=headers
    )
    assert answer.status_code == 403


async def test_removing_and_scoring_at_once_ends_as_one_after_the_other(board: Live) -> None:
    """Whoever comes first: the row says what the member's document says."""
    for number in range(5):
        member = f"both-{number}"
        path = f"/v1/leaderboards/all/members/{member}"
        await asyncio.gather(
            *(scored(board, member, 1) for _ in range(5)),
            board.client.request("DELETE", path, json={"reason": "x"}),
        )
        assert (await shown(board, member))["all"] is False
        sql = """SELECT s.score FROM leaderboard_score s JOIN member m USING (program_id, bucket, member_id)
                 WHERE s.program_id = :id AND m.external_id = :member AND s.board = 'all'"""
        assert await found(board, sql, member=member) == [(5,)]
