"""Closing a period while an event is being decided that has read the clock before: it counts in time, or is decided anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text
from tests.features.leaderboards.test_closing import PROGRAM, results, scored, skip
from tests.service import Live, create_database, live, service_settings

from rewards.db.engine import make_engine
from rewards.db.transact import transaction
from rewards.features.leaderboards.closing import Closings
from rewards.pipeline import attempt
from rewards.pipeline.attempt import DECIDED_SECONDS_MAX
from rewards.pipeline.write_batch import write


@pytest.fixture(scope="module")
async def database(database_url: str) -> str:
    url = await create_database(database_url, "leaderboard_undecided")
    owner = make_engine(url, application_name="owner", role=None)
    async with transaction(owner) as connection:
        await connection.execute(text("ALTER TABLE program DROP CONSTRAINT program_clock_check"))
    await owner.dispose()
    return url


@pytest.fixture
async def board(database: str, redis_url: str) -> AsyncIterator[Live]:
    """Of a live program, for in a sandbox everybody locks first; but its clock can be moved, so that no day has to pass."""
    async with live(service_settings(database, redis_url), PROGRAM.replace("TIES", "shared")) as running:
        yield running


def before_writing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Acts once, when the next batch has decided."""
    left = [act]

    async def act_and_write(*arguments: Any, **named: Any) -> None:
        if left:
            await left.pop()()
        await write(*arguments, **named)

    monkeypatch.setattr(attempt, "write", act_and_write)


@pytest.mark.parametrize(
    ("writes_after_seconds", "counted"),
    [(DECIDED_SECONDS_MAX / 3, ["early", "late"]), (DECIDED_SECONDS_MAX * 5, ["early"])],
    ids=["in time", "too late"],
)
async def test_what_was_decided_before_the_end_counts_or_is_decided_anew(
    board: Live, monkeypatch: pytest.MonkeyPatch, writes_after_seconds: float, counted: list[str]
) -> None:
    """The event has read the clock; then the period is over, and closing begins before the event is written."""
    await scored(board, "early", 5)
    frozen = asyncio.Event()
    closing: list[asyncio.Task[int]] = []

    async def reached(step: str) -> None:
        if step == "frozen":
            frozen.set()

    async def close() -> None:
        await skip(board, 27 * 3_600)
        closings = Closings(board.service.engine, board.service.programs, reached=reached)
        closing.append(asyncio.create_task(closings.run(board.program_id)))
        with suppress(TimeoutError):
            await asyncio.wait_for(frozen.wait(), writes_after_seconds)

    before_writing(monkeypatch, close)
    await scored(board, "late", 7)
    assert await closing[0] == 2  # the board, and the one by team that nobody is in
    assert sorted(member for _, member, _, _ in await results(board)) == counted
    found = board.service.registry.get_sample_value("rewards_batches_outdated_total", {"check": "time"})
    assert (found or 0) == (1 if counted == ["early"] else 0)


async def test_who_locks_first_is_waited_for_though_there_is_no_member_yet(
    database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sandbox no time is long enough, so closing waits for the transaction alone, which has nobody to lock."""
    source = PROGRAM.replace("TIES", "shared")
    async with live(service_settings(database, redis_url), source, kind="sandbox") as board:
        await scored(board, "early", 5)
        closing: list[asyncio.Task[int]] = []

        async def close() -> None:
            await skip(board, 27 * 3_600)
            closings = Closings(board.service.engine, board.service.programs)
            closing.append(asyncio.create_task(closings.run(board.program_id)))
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(closing[0]), 1)

        before_writing(monkeypatch, close)
        await scored(board, "late", 7)
        assert await closing[0] == 2
        assert sorted(member for _, member, _, _ in await results(board)) == ["early", "late"]
