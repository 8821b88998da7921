"""Random commands for few members, sent to two services on one database and repeated to both: one command, one answer, and what
was answered is what the database has."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.pipeline.test_outdated import PROGRAM, verify_clean
from tests.service import Live, live, service_settings

from rewards.domain.commands import (
    Capture,
    Command,
    Earn,
    Event,
    MemberRef,
    MergeOut,
    PlaceHold,
    Release,
    Reverse,
    Spend,
)
from rewards.domain.errors import RewardsError
from rewards.pipeline.identity import Identity
from rewards.pipeline.intake import Addressed
from rewards.pipeline.submission import Receipt, Result
from rewards.service import Service
from rewards.worker import Worker

BUDGET: Final = 100
WIN: Final = 10
MEMBERS: Final = 5
COMMANDS: Final = 60
ROUNDS_TOGETHER: Final = 8
"""So many rounds are about the same members; then come new ones."""
PAUSE_SECONDS_MAX: Final = 0.05
PATIENCE_SECONDS: Final = 60
REFUSED: Final = {"invalid-input", "merged-elsewhere", "unknown-hold"}
"""Mistakes, which are not kept: the same may be none later."""


@pytest.fixture
async def both(migrated_url: str, redis_url: str) -> AsyncIterator[tuple[Live, Service]]:
    settings = service_settings(migrated_url, redis_url)
    async with live(settings, PROGRAM.replace("points: 10,", f"points: {BUDGET},")) as one:
        other = Service(settings)
        async with other.running():
            yield one, other


@dataclass
class Heard:
    """What callers were told, by the key of their command."""

    answers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    firsts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    amounts: dict[str, int] = field(default_factory=dict)
    """Of transactions, by id."""
    made: dict[MemberRef, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, key: str, ref: MemberRef, result: Result) -> None:
        if isinstance(result, RewardsError):
            assert result.code in REFUSED, result
            return
        self.answers[key].add(_said(result))
        if not result.replayed:
            self.firsts[key] += 1
            transactions = result.answer.get("transactions", ())
            self.amounts.update((made["id"], made["amount"]) for made in transactions)
            self.made[ref] += transactions


def _said(receipt: Receipt) -> str:
    """An answer without what tells a repetition from the first."""
    if receipt.refusal is not None:
        return str(receipt.refusal["code"])
    return repr(sorted((name, repr(value)) for name, value in receipt.answer.items() if name != "status"))


@dataclass
class Commands:
    """Makes them up."""

    chance: random.Random
    identity: Identity
    heard: Heard

    def some(self, names: list[str], prefix: str) -> list[Addressed]:
        made = []
        for number in range(COMMANDS):
            ref, key = MemberRef.parse(self.chance.choice(names)), f"{prefix}-{number}"
            made.append(Addressed(ref, self._one(ref, names), key, key, "tests"))
        return made

    def _one(self, ref: MemberRef, names: list[str]) -> Command:
        made = self.heard.made[ref]
        holds = [UUID(each["hold"]) for each in made if each.get("hold")]
        points = self.chance.randint(1, 9)
        into = MemberRef.parse(self.chance.choice(names))
        usual: list[Command] = [Earn("points", points), Spend("points", points)]
        usual.append(PlaceHold("points", points, timedelta(days=1)))
        events: list[Command] = [Event("", name, None, {}) for name in ("played", "won")]
        ended: list[Command] = [kind(hold) for hold in holds[-2:] for kind in (Capture, Release)]
        reversed_: list[Command] = [Reverse(UUID(each["id"])) for each in made[-2:]]
        if self.chance.random() < 1 / COMMANDS:
            return MergeOut(into, self.identity.member(into))
        return self.chance.choice([*usual, *usual, *events, *ended, *reversed_])


@pytest.mark.parametrize(
    ("rounds", "seed"), [(6, 1), pytest.param(150, 2, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
async def test_every_command_has_one_answer_and_it_is_true(both: tuple[Live, Service], rounds: int, seed: int) -> None:
    running, other = both
    service, program_id = running.service, running.program_id
    identity = (await service.programs.get(program_id)).identity
    chance, heard, worker = random.Random(seed), Heard(), Worker(other)
    commands = Commands(chance, identity, heard)

    async def send(at: Service, command: Addressed) -> None:
        await asyncio.sleep(chance.random() * PAUSE_SECONDS_MAX)
        [result] = await at.intake.many(program_id, [command])
        assert command.client_id is not None
        heard.add(command.client_id, command.ref, result)

    for number in range(rounds):
        names = [f"g{number // ROUNDS_TOGETHER}-{each}" for each in range(MEMBERS)]
        sent = [
            (chance.choice([service, other]), command)
            for command in commands.some(names, str(number))
            for _ in range(chance.choice([1, 1, 2, 3]))
        ]
        chance.shuffle(sent)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(send(*each) for each in sent), worker.run_due())
    await worker.run_due()
    assert {key: said for key, said in heard.answers.items() if len(said) > 1} == {}
    assert {key: times for key, times in heard.firsts.items() if times > 1} == {}
    await check(running, heard)
    outdated = [
        each.registry.get_sample_value("rewards_batches_outdated_total", {"check": "members"}) or 0
        for each in (service, other)
    ]
    assert all(outdated), "the two never met"


async def check(running: Live, heard: Heard) -> None:
    async with running.service.engine.connect() as connection:
        values = {"id": running.program_id}
        rows = await connection.execute(text("SELECT id::text, amount FROM transaction WHERE program_id = :id"), values)
        stored = {row[0]: row[1] for row in rows}
        assert {key: stored.get(key) for key in heard.amounts} == heard.amounts
        used = await connection.execute(text("SELECT used FROM counter WHERE program_id = :id"), values)
        wins = text("SELECT count(*) FROM transaction WHERE program_id = :id AND source = 'rule:win' AND kind = 'earn'")
        won = (await connection.execute(wins, values)).scalar_one()
        assert used.scalars().all() == [won * WIN]
        assert won * WIN <= BUDGET
        due = await connection.execute(text("SELECT name, failure FROM due WHERE program_id = :id"), values)
        assert due.all() == []
    await verify_clean(running)
