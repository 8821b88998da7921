"""Durable servers of their own for the tests that take things away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tests.chaos.harness import Ledger, Process
from tests.service import SECRET_KEY, create_database, publish, service_settings

from rewards.db.engine import database_url as driver_url
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.http.auth import SCOPES
from rewards.local import LocalServers
from rewards.service import Service

PROGRAM = """
rewards: 1
program: {key: chaos, name: Chaos, timezone: Europe/Berlin, locale: en, money: EUR, late_window: 72h}
currencies:
  points: {name: Points, worth: 1, qualifying: true, expires: {after: 12mo}, clawback: within_balance}
events:
  played: {properties: {level: {type: integer}}}
metrics:
  plays: {count: played}
rules:
  - key: play
    on: played
    then: [{earn: {currency: points, amount: 1}}]
  - key: daily
    on: played
    limit: {times: 3, per: lifetime}
    then: [{earn: {currency: points, amount: 100}}]
  - key: scarce
    on: played
    budget: {points: 10000, currency: points, per: lifetime}
    then: [{earn: {currency: points, amount: 1000}}]
  - key: later
    on: played
    when: metrics.plays <= 15
    delay: 1s
    still: "true"
    then: [{earn: {currency: points, amount: 7}}]
badges:
  player: {metric: plays, levels: [5, 10], rewards: [{earn: {currency: points, amount: 3}}]}
quests:
  five: {steps: [{event: played, target: 5}], rewards: [{earn: {currency: points, amount: 11}}]}
streaks:
  daily_play: {on: played, per: day, milestones: [{at: 1, rewards: [{earn: {currency: points, amount: 13}}]}]}
tiers:
  qualify: {earned: points}
  per: lifetime
  levels: {guest: {at: 0}, regular: {at: 100, rewards: [{earn: {currency: points, amount: 17}}]}}
leaderboards:
  players: {score: {metric: plays, operator: sum}}
"""
PLAYED_FOR = {"badge": 2 * 3, "quest": 11, "streak": 13, "tier": 17}
"""What every member who plays ten times gets besides, by what gives it."""
PATIENCE_SECONDS = 60.0


@dataclass
class Chaos:
    """One database with a program; processes are started on it as the test likes."""

    servers: LocalServers
    engine: AsyncEngine
    environment: dict[str, str]
    program_id: int
    program_key: str
    server_key: str

    async def check(self, told: Ledger, events: Sequence[Mapping[str, Any]]) -> None:
        """Every event happened once, was answered as it happened, what waited was paid once, and the books balance."""
        later = sum(min(15, count) for count in Counter(event["member"] for event in events).values())
        await self._all_waited(later)
        rows = await self._all("SELECT client_id, answer FROM event WHERE program_id = :id AND type = 'played'")
        stored = {row.client_id: row.answer for row in rows}
        assert len(rows) == len(stored) == len(events)
        for event in events:
            for answer in told.answers[str(event["id"])]:
                assert answer["effects"] == stored[str(event["id"])]["effects"]
        passed = await self._all("SELECT answer FROM event WHERE program_id = :id AND type = 'time.passed'")
        answers = [*stored.values(), *(row.answer for row in passed)]
        paid = [effect for answer in answers for effect in answer["effects"]]
        by_rule = {
            rule: sum(effect["amount"] for effect in paid if effect.get("rule") == rule)
            for rule in ("play", "daily", "scarce", "later")
        }
        members = {event["member"] for event in events}
        assert by_rule["play"] == len(events)
        assert by_rule["later"] == 7 * later
        assert by_rule["daily"] == 300 * len(members)
        assert by_rule["scarce"] == 10_000
        for kind, amount in PLAYED_FOR.items():
            given = sum(effect["amount"] for effect in paid if effect["type"] == "earn" and kind in effect)
            assert given == amount * len(members), kind
        await self._balanced(sum(by_rule.values()) + sum(PLAYED_FOR.values()) * len(members))
        await self._scored(Counter(event["member"] for event in events))

    async def marks(self) -> int:
        """Of changed scores that are not on their boards yet."""
        [found] = await self._all("SELECT count(*) AS marks FROM leaderboard_dirty WHERE program_id = :id")
        return int(found.marks)

    async def _all_waited(self, expected: int) -> None:
        """Until every rule that waits has fired, whoever had claimed it when it died: a lease takes half a minute to end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                [found] = await self._all(
                    "SELECT count(*) AS fired FROM transaction WHERE program_id = :id AND source = 'rule:later'"
                )
                if found.fired >= expected:
                    return
                await asyncio.sleep(0.1)

    async def _scored(self, plays: Mapping[str, int]) -> None:
        """Every member's score is how often it played, and each achievement is there once."""
        scores = await self._all(
            "SELECT m.external_id, s.score FROM leaderboard_score s JOIN member m USING (program_id, bucket, member_id)"
            " WHERE program_id = :id"
        )
        assert {row.external_id: row.score for row in scores} == plays
        achieved = await self._all(
            "SELECT kind, count(*) AS count FROM achievement WHERE program_id = :id GROUP BY kind"
        )
        counts = {row.kind: row.count for row in achieved}
        members = len(plays)
        assert counts["badge"] == 2 * members
        assert counts["quest"] == counts["streak"] == members

    async def _balanced(self, total: int) -> None:
        [books] = await self._all(
            "SELECT (SELECT sum(available) FROM account WHERE program_id = :id) AS accounts,"
            " (SELECT sum(amount) FROM posting WHERE program_id = :id) AS postings,"
            " (SELECT sum(available) FROM lot WHERE program_id = :id) AS lots,"
            " (SELECT count(*) FROM transaction WHERE program_id = :id) AS transactions,"
            " (SELECT count(*) FROM outbox WHERE program_id = :id) AS outbox,"
            " (SELECT sum(seq) FROM member WHERE program_id = :id) AS seqs,"
            " (SELECT sum(used) FROM counter WHERE program_id = :id) AS used,"
            " (SELECT count(*) - count(DISTINCT (member_id, seq)) FROM transaction WHERE program_id = :id) AS twice"
        )
        assert books.accounts == books.postings == books.lots == total
        assert books.transactions == books.outbox == books.seqs
        assert books.used == 10_000
        assert books.twice == 0

    async def _all(self, sql: str) -> list[Any]:
        async with self.engine.connect() as connection:
            return list((await connection.execute(text(sql), {"id": self.program_id})).all())


@pytest.fixture(scope="session")
def durable_servers(server_directory: Path) -> Iterator[LocalServers]:
    with LocalServers(server_directory / "chaos") as servers:
        yield servers


@pytest.fixture
async def chaos(durable_servers: LocalServers, request: pytest.FixtureRequest) -> AsyncIterator[Chaos]:
    """A database of the test's own: what it breaks is nobody else's."""
    name = "".join(character if character.isalnum() else "_" for character in request.node.name.lower())[-50:]
    url = await create_database(durable_servers.database_url, f"chaos_{name}")
    settings = service_settings(url, durable_servers.redis_url)
    service = Service(settings)
    program_id, program_key = await publish(service, PROGRAM)
    key, _ = await create_key(
        service.engine,
        service.secret_key,
        program_id=program_id,
        request=KeyRequest("chaos", scopes=SCOPES),
        actor="tests",
    )
    await service.engine.dispose()
    engine = create_async_engine(driver_url(url))
    environment = {
        "REWARDS_DATABASE_URL": url,
        "REWARDS_REDIS_URL": durable_servers.redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
    }
    yield Chaos(durable_servers, engine, environment, program_id, program_key, key)
    await engine.dispose()


@pytest.fixture
def processes(chaos: Chaos) -> Iterator[list[Process]]:
    """Two processes of the service on the same database, not started yet; ended whatever happens."""
    made = [Process(chaos.environment), Process(chaos.environment)]
    yield made
    for process in made:
        process.kill()
