"""What the callers of a batch hear when it goes wrong: the first answer once, and nothing of anybody's in the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from structlog.testing import capture_logs
from tests.service import Live

from rewards.db.transact import DatabaseUnavailable, UnknownCommit, transact_at_once
from rewards.domain.commands import Earn, Event, MemberRef
from rewards.domain.errors import IdentityConflict, RewardsError
from rewards.pipeline import batch
from rewards.pipeline.attempt import InternalError
from rewards.pipeline.intake import Addressed
from rewards.pipeline.submission import Result


def viewed(member: str, identifier: str, seconds: int = 42) -> Addressed:
    properties = {"category": "audio", "dwell_seconds": seconds}
    command = Event(identifier, "product_viewed", None, properties)
    return Addressed(MemberRef("user", member), command, identifier, properties, "tests")


def earned(member: str, key: str) -> Addressed:
    return Addressed(MemberRef("user", member), Earn("points", 5), key, {"amount": 5}, "tests")


def status(result: Result) -> str:
    if isinstance(result, RewardsError):
        return result.code
    return f"{result.status}, replayed" if result.replayed else str(result.status)


FIRST = "processed"
AGAIN = "duplicate, replayed"


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        ([viewed("lost-1", "a"), viewed("lost-1", "a")], [FIRST, AGAIN]),
        ([viewed("lost-2", "a"), viewed("lost-2", "b"), viewed("lost-2", "a")], [FIRST, FIRST, AGAIN]),
        ([viewed("lost-3", "a"), viewed("lost-4", "a")], [FIRST, FIRST]),  # another member's id is another
        ([viewed("lost-5", "a"), viewed("lost-5", "a", 43)], [FIRST, IdentityConflict.code]),
        ([earned("lost-6", "a"), earned("lost-6", "a"), earned("lost-6", "b")], [FIRST, AGAIN, FIRST]),
    ],
    ids=["a repeat", "a repeat further on", "two members", "other content", "moves"],
)
async def test_after_an_unknown_commit_each_command_has_one_first_answer(
    shop: Live, monkeypatch: pytest.MonkeyPatch, sent: list[Addressed], heard: list[str]
) -> None:
    """The commit happens and its answer is lost."""
    lost = 0

    async def lose_the_first_answer(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        nonlocal lost
        done = await transact_at_once(engine, work)
        if lost == 0:
            lost += 1
            raise UnknownCommit("The connection ended during the commit; the change may have been made.")
        return done

    monkeypatch.setattr(batch, "transact_at_once", lose_the_first_answer)
    results = await shop.service.intake.many(shop.program_id, sent)
    assert lost == 1
    assert [status(result) for result in results] == heard


async def test_what_nobody_could_find_out_is_not_said_to_have_changed_nothing(
    shop: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happens, its answer is lost, and the database is away for longer than anybody waits."""
    done: list[Any] = []

    async def lose_the_answer_and_the_database(
        engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[Any]]
    ) -> Any:
        if done:
            raise DatabaseUnavailable("The database cannot be reached.")
        done.append(await transact_at_once(engine, work))
        raise UnknownCommit("The connection ended during the commit; the change may have been made.")

    monkeypatch.setattr(batch, "transact_at_once", lose_the_answer_and_the_database)
    [result] = await shop.service.intake.many(shop.program_id, [earned("away", "a")])
    assert status(result) == UnknownCommit.code
    monkeypatch.undo()
    [result] = await shop.service.intake.many(shop.program_id, [earned("away", "a")])
    assert status(result) == AGAIN


async def test_a_failed_batch_is_logged_without_what_the_database_quotes(
    shop: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(engine: AsyncEngine, _work: Any) -> Any:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT * FROM no_such_table WHERE name = 'alice@example.org'"))

    monkeypatch.setattr(batch, "transact_at_once", refuse)
    with capture_logs() as logs:
        [result] = await shop.service.intake.many(shop.program_id, [viewed("quoted", "a")])
    assert isinstance(result, InternalError)
    [entry] = [entry for entry in logs if entry["event"] == "batch_failed"]
    assert (entry["error"], entry["sqlstate"]) == ("ProgrammingError", "42P01")
    assert any(place.startswith("test_lanes.py:") and place.endswith("refuse") for place in entry["where"])
    assert "alice" not in repr(entry)
