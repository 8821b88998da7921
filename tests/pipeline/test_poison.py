"""A command that the database cannot store fails alone, whatever else happened to be in its batch, and is kept aside."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from structlog.testing import capture_logs
from tests.features.bank import DOCUMENT
from tests.service import live, service_settings

from rewards.db.transact import DatabaseUnavailable, transact_at_once
from rewards.domain.commands import Cause, Command, Earn, MemberRef
from rewards.domain.errors import RewardsError
from rewards.pipeline import batch
from rewards.pipeline.attempt import TooManyAttempts
from rewards.pipeline.batch import CannotStore
from rewards.pipeline.intake import Addressed
from rewards.pipeline.submission import Receipt


class Beyond(datetime):
    """A moment that passes for one of this century, and whose UTC is before the first year."""

    year = 2026


POISONS: list[Command] = [
    Earn("points", 1, Cause(note="a\0b")),  # refused by the server
    Earn("points", 1, expires_at=Beyond(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=14)))),  # by the driver
]


@pytest.mark.parametrize("poison", POISONS, ids=["the server's refusal", "the driver's refusal"])
async def test_poison_spoils_no_other(migrated_url: str, redis_url: str, poison: Command) -> None:
    async with live(service_settings(migrated_url, redis_url, lanes=1), DOCUMENT) as running:
        commands = [Earn("points", 5), Earn("points", 6), poison, Earn("points", 7)]
        addressed = [
            Addressed(MemberRef("user", f"poisoned-{number}"), command, f"c-{number}", number, "tests")
            for number, command in enumerate(commands)
        ]
        with capture_logs() as logs:
            results = await running.service.intake.many(running.program_id, addressed)
        assert [type(result) for result in results] == [Receipt, Receipt, CannotStore, Receipt]
        assert [await running.balance(f"poisoned-{number}") for number in range(4)] == [5, 6, 0, 7]
        async with running.service.engine.connect() as connection:
            kept = await connection.execute(
                text("SELECT command, sqlstate FROM dead_letter WHERE program_id = :id"), {"id": running.program_id}
            )
            [row] = kept.all()
        assert [entry["event"] for entry in logs] == ["command_cannot_be_stored"]
        assert (row.command, row.sqlstate[:2]) == ("Earn", "22")


@pytest.mark.parametrize("trouble", [DatabaseUnavailable, TooManyAttempts])
async def test_the_half_that_is_committed_hears_so_when_the_other_cannot_be_done(
    migrated_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, trouble: type[RewardsError]
) -> None:
    """The database goes away, or gets too busy, after the first half of a batch that poison has split."""
    committed = 0

    async def gone_after_the_first_half(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        nonlocal committed
        if committed:
            raise trouble("nothing was changed")
        done = await transact_at_once(engine, work)
        committed += 1
        return done

    async with live(service_settings(migrated_url, redis_url, lanes=1), DOCUMENT) as running:
        addressed = [
            Addressed(MemberRef("user", f"split-{number}"), command, f"c-{number}", number, "tests")
            for number, command in enumerate([Earn("points", 5), Earn("points", 6), POISONS[0], Earn("points", 7)])
        ]
        monkeypatch.setattr(batch, "transact_at_once", gone_after_the_first_half)
        results = await running.service.intake.many(running.program_id, addressed)
        assert [type(result) for result in results] == [Receipt, Receipt, trouble, trouble]
        assert [await running.balance(f"split-{number}") for number in range(4)] == [5, 6, 0, 0]
