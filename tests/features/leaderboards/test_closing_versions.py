"""New versions while periods are about to close or have closed: what had ended by then stands as it was counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import pytest
from sqlalchemy import text
from tests.features.leaderboards.test_closing import (
    PROGRAM,
    balances,
    now,
    past_midnight,
    results,
    scored,
    settle,
    skip,
    to_morning,
    write,
)
from tests.service import Live, another, create_database, live, service_settings

from rewards.db.transact import transaction
from rewards.features.leaderboards.closing import Closings
from rewards.service import Service

SUM: Final = "score: {metric: total}"
BEST: Final = "score: {metric: total, operator: best}"


@pytest.fixture(scope="module")
async def database(database_url: str) -> str:
    return await create_database(database_url, "leaderboard_versions")


@pytest.fixture(scope="module")
async def service(database: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(database, redis_url), PROGRAM.replace("TIES", "shared")) as running:
        yield running


@pytest.fixture
async def board(service: Live) -> AsyncIterator[Live]:
    async with another(service, PROGRAM.replace("TIES", "shared"), kind="sandbox") as running:
        await to_morning(running)
        yield running


async def publish(running: Live, *changes: tuple[str, str]) -> None:
    """A version like the first one but for the changes."""
    source = PROGRAM.replace("TIES", "shared").replace("key: play", f"key: {running.program_key}")
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    headers = {"Content-Type": "application/yaml"}
    draft = await running.client.post("/v1/programs/versions", content=source, headers=headers)
    assert draft.status_code in {200, 201}, draft.text
    answer = await running.client.post(f"/v1/programs/versions/{draft.json()['version']['number']}/publish")
    assert answer.status_code == 200, answer.text


async def close(running: Live) -> int:
    return await running.worker.closings.run(running.program_id)


async def refused(running: Live, member: str, points: float, at: datetime) -> set[str]:
    """Sends a late event; the boards that say of it that the period is closed."""
    sent = {"type": "scored", "member": member, "properties": {"points": points}, "occurred_at": at.isoformat()}
    answer = await running.event(**sent)
    assert answer["status"] == "processed"
    trace = (await running.client.get(f"/v1/members/{member}/events/{answer['id']}")).json()["trace"]
    return {line["leaderboard"] for line in trace if line.get("result") == "board_closed"}


async def stored(running: Live, key: str = "daily") -> list[tuple[str, float]]:
    """Member and score of all rows of the board, of whatever definition."""
    sql = """SELECT m.external_id, s.score FROM leaderboard_score s
             JOIN member m ON m.program_id = s.program_id AND m.member_id = s.member_id
             WHERE s.program_id = :id AND s.board = :board ORDER BY m.external_id, s.period"""
    async with running.service.engine.connect() as connection:
        found = await connection.execute(text(sql), {"id": running.program_id, "board": key})
        return [(row[0], row[1]) for row in found]


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_period_that_had_ended_stands_as_it_was_counted(board: Live, *, noticed: bool) -> None:
    """Late events of another version are told that it is closed, and prizes go by what it counted."""
    evening = await now(board)
    await scored(board, "ann", 30)
    await scored(board, "bob", 20)
    await scored(board, "bob", 20)
    if noticed:
        await close(board)
    await past_midnight(board, hours=0.5)
    await publish(board, (SUM, BEST))
    for member in ("ann", "bob", "cid"):
        assert await refused(board, member, 500, evening) == {"daily", "teams"}
    await skip(board, 2 * 3600)
    await close(board)
    await settle(board)
    assert await results(board) == [("", "bob", 1, 40), ("", "ann", 2, 30)]
    assert await balances(board, "ann", "bob", "cid") == [10, 101, 0]


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_period_that_had_ended_is_shown_as_it_was_counted(board: Live, *, waiting: bool) -> None:
    """Until it closes, the whole grace long; also what was `waiting` to be shown when the version was published."""
    await project(board)
    await scored(board, "ann", 30)
    await scored(board, "bob", 40)
    await close(board)
    if not waiting:
        await project(board)
    await past_midnight(board, hours=0.5)
    await publish(board, (SUM, BEST))
    for _ in range(2):
        await project(board)
        answer = await board.client.get("/v1/leaderboards/daily", params={"period": "previous"})
        assert [(each["member"], each["score"]) for each in answer.json()["entries"]] == [("bob", 40), ("ann", 30)]


async def project(running: Live) -> None:
    for _ in range(2):
        running.worker.projector.look()
        await running.worker.projector.run()
        await running.worker.projector.rebuilt()


async def test_what_is_taken_back_later_leaves_an_ended_period_alone(board: Live) -> None:
    evening = await now(board)
    await scored(board, "ann", 30)
    await past_midnight(board, hours=0.5)
    await publish(board, (SUM, BEST))
    assert await refused(board, "ann", 5, evening) == {"daily", "teams"}
    assert await stored(board) == [("ann", 30)]
    await skip(board, 2 * 3600)
    await close(board)
    assert await results(board) == [("", "ann", 1, 30)]


async def test_a_version_that_is_rolled_back_leaves_an_ended_period_alone(board: Live) -> None:
    await publish(board)
    evening = await now(board)
    await scored(board, "ann", 30)
    await past_midnight(board, hours=0.5)
    await publish(board, (SUM, BEST))
    assert await refused(board, "ann", 500, evening) == {"daily", "teams"}
    answer = await board.client.post("/v1/programs/rollback", json={})
    assert answer.status_code == 200, answer.text
    assert await refused(board, "ann", 1, evening) == {"daily", "teams"}
    await skip(board, 2 * 3600)
    await close(board)
    assert await results(board) == [("", "ann", 1, 30)]


async def test_a_period_that_went_on_is_counted_anew_however_late_the_worker_is(board: Live) -> None:
    """It ends before any worker could drop what the version before had counted."""
    await scored(board, "ann", 30)
    await scored(board, "bob", 20)
    await close(board)
    await publish(board, (SUM, BEST))
    await scored(board, "ann", 4)
    await past_midnight(board, hours=2.5)
    await close(board)
    assert await results(board) == [("", "ann", 1, 4)]


async def test_scores_of_another_definition_are_not_in_the_result(board: Live) -> None:
    """As left behind by a worker that could not drop them."""
    await scored(board, "ann", 30)
    await scored(board, "bob", 20)
    await past_midnight(board, hours=2.5)

    async def left_behind(reached: str) -> None:
        if reached == "barrier":
            sql = "UPDATE leaderboard_score SET definition = 'of before' WHERE program_id = :id AND score = 30"
            await write(board, sql, id=board.program_id)

    await Closings(board.service.engine, board.service.programs, reached=left_behind).run(board.program_id)
    assert await results(board) == [("", "bob", 1, 20)]


async def test_staff_may_take_members_off_an_ended_period_that_is_counted_no_more(board: Live) -> None:
    for member, points in {"ann": 30, "bob": 20}.items():
        await scored(board, member, points)
    await past_midnight(board, hours=0.5)
    await publish(board, (SUM, BEST))
    path, why = "/v1/leaderboards/daily/members/ann", {"reason": "cheated"}
    assert (await board.client.request("DELETE", path, json=why)).status_code == 200
    await skip(board, 2 * 3600)
    await close(board)
    assert await results(board) == [("", "bob", 1, 20)]


async def test_periods_that_a_board_has_no_more_are_let_go(board: Live) -> None:
    await scored(board, "ann", 30)
    await close(board)
    await publish(board, ("period: {every: day}", "period: {every: week}"))
    await board.service.programs.refresh(board.program_id)
    assert await close(board) == 0
    assert await stored(board) == []
    sql = "SELECT count(*) FROM leaderboard_period WHERE program_id = :id"
    async with board.service.engine.connect() as connection:
        assert (await connection.execute(text(sql), {"id": board.program_id})).scalar_one() == 0


async def test_a_worker_that_has_not_heard_of_a_version_undoes_nothing(
    board: Live, database: str, redis_url: str
) -> None:
    await scored(board, "ann", 30)
    other = Service(service_settings(database, redis_url))
    async with other.running():
        late = Closings(other.engine, other.programs)
        await late.run(board.program_id)
        await publish(board, (SUM, BEST))
        await scored(board, "ann", 4)
        await close(board)
        assert await stored(board) == [("ann", 4)]
        await late.run(board.program_id)
        assert await stored(board) == [("ann", 4)]
        await past_midnight(board, hours=2.5)
        await late.run(board.program_id)
        await late.run(board.program_id)
    assert await results(board) == [("", "ann", 1, 4)]


async def test_the_grace_alone_may_change_and_late_events_count(board: Live) -> None:
    evening = await now(board)
    await scored(board, "ann", 10)
    await past_midnight(board, hours=1.5)
    await publish(board, ("grace: 2h", "grace: 6h"))
    assert await refused(board, "ann", 5, evening) == set()
    await skip(board, 3 * 3600)
    assert await refused(board, "ann", 7, evening) == set()
    await skip(board, 2 * 3600)
    await close(board)
    assert await results(board) == [("", "ann", 1, 22)]


@pytest.mark.parametrize("by_the_worker", [True, False])
async def test_a_longer_grace_opens_nothing_that_was_closed(board: Live, *, by_the_worker: bool) -> None:
    """Whether a worker has closed it yet or only the clock."""
    evening = await now(board)
    await scored(board, "ann", 10)
    await scored(board, "bob", 20)
    await close(board)
    await past_midnight(board, hours=2.5)
    if by_the_worker:
        await close(board)
    await publish(board, ("grace: 2h", "grace: 12h"))
    assert await refused(board, "ann", 100, evening) == {"daily", "teams"}
    assert await refused(board, "eve", 100, evening) == {"daily", "teams"}
    assert await stored(board) == [("ann", 10), ("bob", 20)]
    await close(board)
    await settle(board)
    frozen = [("", "bob", 1, 20), ("", "ann", 2, 10)]
    assert await results(board) == frozen
    await skip(board, 24 * 3600)
    await close(board)
    await close(board)
    await settle(board)
    assert await results(board) == frozen
    assert await balances(board, "ann", "bob", "eve") == [10, 101, 0]


@pytest.mark.parametrize("step", ["frozen", "prizes"])
async def test_a_closing_that_meets_a_new_version_has_not_happened(board: Live, step: str) -> None:
    """The version may give late events more time: of the two, one is first."""
    evening = await now(board)
    await scored(board, "ann", 10)
    await past_midnight(board, hours=2.5)

    async def met(reached: str) -> None:
        if reached == step:
            await publish(board, ("grace: 2h", "grace: 12h"))

    assert await Closings(board.service.engine, board.service.programs, reached=met).run(board.program_id) == 0
    assert await results(board) == []
    assert await refused(board, "ann", 100, evening) == {"daily", "teams"}
    await close(board)
    assert await results(board) == [("", "ann", 1, 10)]


async def test_scores_that_were_held_are_cleared_later(board: Live) -> None:
    """A closed period is not done with before the last of its scores is gone."""
    await scored(board, "ann", 10)
    await scored(board, "bob", 20)
    await past_midnight(board, hours=2.5)
    await close(board)
    await skip(board, 2 * 86_400)
    async with transaction(board.service.engine) as holding:
        await holding.execute(text("SELECT FROM leaderboard_score WHERE score = 20 FOR UPDATE"))
        await close(board)
        assert await stored(board) == [("bob", 20)]
    await close(board)
    assert await stored(board) == []
    assert await cleared(board) == 2


async def cleared(running: Live) -> Any:
    sql = "SELECT count(*) FROM leaderboard_period WHERE program_id = :id AND cleared_at IS NOT NULL"
    async with running.service.engine.connect() as connection:
        return (await connection.execute(text(sql), {"id": running.program_id})).scalar_one()
