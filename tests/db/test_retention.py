"""Traces are forgotten by the month; everything else of the event stays."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from tests.service import EventFactory, Live, service_settings

from rewards.db.retention import forget_traces
from rewards.db.transact import transact
from rewards.service import database


@pytest.mark.parametrize(("months", "days", "forgotten"), [(3, 30, True), (3, 4000, False)])
async def test_traces_of_old_months_are_forgotten(
    shop: Live, migrated_url: str, redis_url: str, months: int, days: int, *, forgotten: bool
) -> None:
    """Upkeep that runs `months` from now keeps traces for as many days as are given."""
    event = EventFactory(member=f"traced-{days}")
    await shop.event(**event)
    now = datetime.now(UTC)
    later = datetime(now.year + (now.month + months - 1) // 12, (now.month + months - 1) % 12 + 1, 28, tzinfo=UTC)
    owner = database(service_settings(migrated_url, redis_url), application_name="tests", role=None)
    try:
        while await transact(owner, lambda connection: forget_traces(connection, later, trace_days=days)):
            pass
    finally:
        await owner.dispose()
    async with shop.service.engine.connect() as connection:
        stored = await connection.execute(
            text("SELECT trace, answer FROM event WHERE client_id = :id"), {"id": event["id"]}
        )
        row = stored.one()
    assert (row.trace is None) is forgotten
    assert row.answer["effects"]
    again = await shop.client.post("/v1/events?trace=true", json=event)
    assert (again.json()["status"], again.json()["trace"] == []) == ("duplicate", forgotten)
