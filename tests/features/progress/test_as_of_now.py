"""What is due and not done yet is read as if it were, whatever has to be looked up for that; nothing is done by reading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from tests.service import Live, another

from rewards.db.transact import transact

PROGRAM = """
rewards: 1
program: {key: due, timezone: UTC}
currencies: {points: {clawback: allow_debt}}
types: {name: {type: string}}
events: {ran: {properties: {how: name}}}
attributes: {keen: {type: boolean, purpose: tests}}
badges: {steady: {name: Steady}}
segments: {keen_ones: member.keen}
streaks: {daily: {name: Every day, on: ran}}
rules:
  - {key: paid, on: ran, then: [{earn: {currency: points, amount: 5, reference: event.how}}]}
  - key: budgeted
    on: ran
    when: event.how == "budgeted"
    delay: 1h
    budget: {times: 1, per: lifetime}
    then: [{badge: {key: steady}}, {set: {attribute: keen, value: true}}]
  - key: referring
    on: ran
    when: event.how == "referring"
    delay: 1h
    then: [{badge: {key: steady}}, {set: {attribute: keen, value: true}}, {reverse: {reference: event.how}}]
"""


@pytest.fixture
async def due(shop: Live) -> AsyncIterator[Live]:
    """A sandbox whose members nobody wakes."""
    async with another(shop, PROGRAM, kind="sandbox") as running:
        yield running


async def pass_days(due: Live, days: int) -> None:
    sql = text("UPDATE program SET clock_offset = clock_offset + make_interval(days => :days) WHERE id = :id")
    values = {"days": days, "id": due.program_id}
    await transact(due.service.engine, lambda connection: connection.execute(sql, values))


async def told(due: Live, member: str) -> dict[str, Any]:
    """The streak's length, the badge's level and whether the member is in the segment."""
    found = {}
    for path in ("", "/streaks", "/badges"):
        answer = await due.client.get(f"/v1/members/{member}{path}")
        assert answer.status_code == 200, answer.text
        found.update(answer.json())
    return {
        "length": found["streaks"][0]["length"],
        "level": found["badges"][0]["level"],
        "keen": found["attributes"].get("keen"),
        "segments": found["segments"],
        "available": found["balances"]["points"]["available"],
    }


@pytest.mark.parametrize("how", ["plain", "budgeted", "referring"])
async def test_what_is_due_is_told_as_done(due: Live, how: str) -> None:
    await due.event(type="ran", member="ada", properties={"how": how})
    assert await told(due, "ada") == {"length": 1, "level": 0, "keen": None, "segments": [], "available": 5}
    await pass_days(due, 3)
    if how == "plain":
        done: dict[str, Any] = {"level": 0, "keen": None, "segments": []}
    else:
        done = {"level": 1, "keen": True, "segments": ["keen_ones"]}
    for _ in range(2):  # reading changes nothing
        assert await told(due, "ada") == {"length": 0, **done, "available": 5}, "points are there once they are posted"
    await due.worker.run_due()
    assert await told(due, "ada") == {"length": 0, **done, "available": 0 if how == "referring" else 5}


async def test_a_budget_is_told_as_it_is_left_now(due: Live) -> None:
    for member in ("ada", "ben"):
        await due.event(type="ran", member=member, properties={"how": "budgeted"})
    await pass_days(due, 3)
    assert [(await told(due, member))["level"] for member in ("ada", "ben")] == [1, 1], "either may be the one"
    await due.event(type="ran", member="ada", properties={"how": "plain"})
    assert [(await told(due, member))["level"] for member in ("ada", "ben")] == [1, 0]
    assert (await told(due, "ben"))["length"] == 0
