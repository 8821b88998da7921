"""Team quests through the database: contributions and rewards arrive once each, whoever dies between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from tests.service import Live, create_database, live, service_settings

from rewards.db.transact import DatabaseUnavailable
from rewards.domain.commands import MemberRef, MergeOut
from rewards.features.events.jobs import DueCommands
from rewards.pipeline.batch import Batches
from rewards.pipeline.intake import Addressed
from rewards.service import Service

PROGRAM = """
rewards: 1
program: {key: teams, timezone: UTC, late_window: 72h}
currencies: {points: {clawback: allow_debt}, paid: {clawback: allow_debt}}
events:
  walked: {properties: {order: string}}
  refunded: {properties: {order: string}, required: [order]}
rules:
  - {key: paid, on: walked, when: has(event.order), then: [{earn: {currency: paid, amount: 1, reference: event.order}}]}
  - {key: refund, on: refunded, then: [{reverse: {reference: event.order}}]}
quests:
  far: {team: true, revocable: true, steps: [{event: walked, target: 3}], rewards: [{earn: {currency: points, amount: 10}}]}
"""


@pytest.fixture(scope="module")
async def url(database_url: str) -> str:
    """Due rows are everybody's, so these tests have a database of their own."""
    return await create_database(database_url, "team_tests")


@pytest.fixture(scope="module")
async def teams(url: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(url, redis_url), PROGRAM) as running:
        yield running


async def run(teams: Live, sql: str, **values: Any) -> Any:
    async with teams.service.engine.begin() as connection:
        found = await connection.execute(text(sql), values)
        return found.all() if found.returns_rows else None


async def settle(teams: Live) -> None:
    await teams.worker.run_due()


async def walk(teams: Live, member: str, group: str, order: str | None = None) -> None:
    await teams.client.put(f"/v1/members/{member}/groups/{group}")
    await teams.event(type="walked", member=member, properties={"order": order} if order else {})


async def points(teams: Live, *members: str) -> list[int]:
    return [await teams.balance(member) for member in members]


async def waiting(teams: Live) -> list[str]:
    found = await run(teams, "SELECT name FROM due WHERE name <> 'wake' ORDER BY name")
    return [row.name for row in found]


async def test_each_leg_arrives_once_though_workers_die_at_each(
    teams: Live, url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker dies before the commit of every leg: of the contributions, then of the rewards; another one goes on."""
    for member in ("k-ada", "k-ben", "k-ada"):
        await walk(teams, member, "k-red")
    expected = [["contribute"] * 3, ["reward_with_team"] * 4]

    async def dead(*_: Any) -> None:
        raise DatabaseUnavailable("The database ended the connection; nothing was changed.")

    for names in expected:
        assert await waiting(teams) == names
        dying = Service(service_settings(url, redis_url))
        async with dying.running():
            monkeypatch.setattr(Batches, "run", dead)
            await DueCommands(dying.engine, dying.programs, dying.lanes).run()
            monkeypatch.undo()
        assert await teams.worker.due.run() == 0, "the claim of the other worker has not ended"
        assert await points(teams, "k-ada", "k-ben") == [0, 0]
        await run(teams, "UPDATE due SET leased_until = now() - interval '1 ms' WHERE name <> 'wake'")
        await teams.worker.due.run()
    assert await waiting(teams) == []
    assert await points(teams, "k-ada", "k-ben", "group:k-red") == [10, 10, 0]


async def test_a_row_that_comes_again_after_it_was_done_changes_nothing(teams: Live) -> None:
    for _ in range(3):
        await walk(teams, "r-ada", "r-red")
    rows: list[Any] = []
    while await waiting(teams):
        rows += await run(teams, "SELECT name, to_jsonb(due)::text AS whole FROM due WHERE name <> 'wake'")
        await teams.worker.due.run()
    assert [row.name for row in rows] == ["contribute"] * 3 + ["reward_with_team"] * 2
    for row in rows:
        again = "INSERT INTO due SELECT * FROM jsonb_populate_record(NULL::due, CAST(:whole AS jsonb))"
        await run(teams, again, whole=row.whole)
    await settle(teams)
    assert await waiting(teams) == []
    assert await points(teams, "r-ada") == [10]


async def test_what_is_taken_back_is_taken_back_from_everybody(teams: Live) -> None:
    for member, order in (("b-ada", "b1"), ("b-ben", "b2"), ("b-ben", "b3")):
        await walk(teams, member, "b-red", order)
    await settle(teams)
    assert await points(teams, "b-ada", "b-ben") == [10, 10]
    await teams.event(type="refunded", member="b-ada", properties={"order": "b1"})
    await settle(teams)
    assert await points(teams, "b-ada", "b-ben") == [0, 0]
    await walk(teams, "b-cid", "b-red")
    await settle(teams)
    assert await points(teams, "b-ada", "b-ben", "b-cid") == [0, 10, 10]


async def test_a_reward_that_comes_after_its_loss_is_not_kept(teams: Live) -> None:
    for member, order in (("l-ada", "l1"), ("l-ben", "l2"), ("l-ben", "l3")):
        await walk(teams, member, "l-red", order)
    await teams.worker.due.run()
    assert await waiting(teams) == ["reward_with_team"] * 4
    await run(teams, "UPDATE due SET due_at = due_at + interval '1 day' WHERE name = 'reward_with_team'")
    await teams.event(type="refunded", member="l-ada", properties={"order": "l1"})
    await settle(teams)
    assert await points(teams, "l-ada", "l-ben") == [0, 0]
    await walk(teams, "l-cid", "l-red")
    await settle(teams)
    assert await points(teams, "l-ada", "l-ben", "l-cid") == [0, 10, 10], "the losses are known, and the second rewards"
    assert await waiting(teams) == ["reward_with_team"] * 4
    await run(teams, "UPDATE due SET due_at = due_at - interval '1 day' WHERE name = 'reward_with_team'")
    await settle(teams)
    assert await waiting(teams) == []
    assert await points(teams, "l-ada", "l-ben", "l-cid") == [0, 10, 10]


async def test_whoever_was_merged_or_erased_meanwhile(teams: Live) -> None:
    for member in ("anon:m", "m-ada", "m-gone"):
        await walk(teams, member, "m-red")
    published = await teams.service.programs.get(teams.program_id)
    ada, gone = (published.identity.member(MemberRef.parse(name)) for name in ("m-ada", "m-gone"))
    merge = MergeOut(MemberRef.parse("m-ada"), ada)
    await teams.service.intake.one(teams.program_id, Addressed(MemberRef.parse("anon:m"), merge, "m", "m", "tests"))
    await run(teams, f"UPDATE member SET erased_at = now() WHERE member_id = '{gone}'")
    await settle(teams)
    assert await points(teams, "m-ada", "m-gone") == [10, 0], "two hands of one member, rewarded once"
    assert await waiting(teams) == []
