"""What is decided without a lock is written only while it is true: whatever comes between reading and writing, the batch begins
anew and all is as if it had come after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.service import Live, live, service_settings

from rewards.db.transact import transaction
from rewards.domain.commands import Command, Earn, Event, MemberRef, MergeOut, Spend
from rewards.domain.errors import RewardsError
from rewards.domain.ids import bucket_of
from rewards.features.ledger.verification import Verification
from rewards.pipeline import attempt
from rewards.pipeline.counters import candidate_keys
from rewards.pipeline.intake import Addressed, submission
from rewards.pipeline.lookup import standing_still
from rewards.pipeline.submission import Result

PROGRAM = """
rewards: 1
program: {key: outdated, name: Outdated, timezone: Europe/Berlin, locale: en, money: EUR, late_window: 72h}
currencies:
  points: {name: Points, worth: 1}
events:
  played: {}
  won: {}
rules:
  - key: play
    on: played
    limit: {times: 1, per: day}
    then: [{earn: {currency: points, amount: 2}}]
  - key: win
    on: won
    budget: {points: 10, currency: points, per: day}
    then: [{earn: {currency: points, amount: 10}}]
"""

Interference = Callable[[Live, str], Awaitable[object]]


@pytest.fixture
async def running(migrated_url: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as one:
        yield one


async def run(running: Live, member: str, command: Command, key: str) -> str:
    """What the caller is told, in a word, of a batch that holds just this command."""
    published = await running.service.programs.get(running.program_id)
    item = submission(published, Addressed(MemberRef.parse(member), command, key, key, "tests"))
    done = await running.service.batches.run([item])
    return told(done.results[item])


def told(result: Result) -> str:
    if isinstance(result, RewardsError):
        return result.code
    word = result.refusal["code"] if result.refusal is not None else result.status.value
    return f"{word}, replayed" if result.replayed else word


async def until(connection: AsyncConnection, sql: str) -> None:
    while not (await connection.execute(text(sql))).scalar_one():  # noqa: ASYNC110 - the database has no event for it
        await asyncio.sleep(0.01)


async def verify_clean(running: Live) -> None:
    verification = Verification(running.service.engine, await running.service.programs.get(running.program_id))
    found = [each async for each in verification.each_bucket(await verification.buckets())]
    assert [*(finding for findings in found for finding in findings), *await verification.house()] == []


def before(monkeypatch: pytest.MonkeyPatch, step: str, interfere: Callable[[], Awaitable[object]]) -> None:
    """Interferes once, before the next batch that comes to this step of an attempt takes it."""
    left, take = [interfere], getattr(attempt, step)

    async def interfere_and_take(*arguments: Any, **named: Any) -> Any:
        if left:
            await left.pop()()
        return await take(*arguments, **named)

    monkeypatch.setattr(attempt, step, interfere_and_take)


def between(monkeypatch: pytest.MonkeyPatch, interfere: Callable[[], Awaitable[object]]) -> None:
    """Interferes once, after the next batch has decided and before it writes."""
    before(monkeypatch, "write", interfere)


def outdated(running: Live, check: str) -> float:
    found = running.service.registry.get_sample_value("rewards_batches_outdated_total", {"check": check})
    return found or 0.0


def sent(command: Command, key: str) -> Interference:
    return lambda running, member: run(running, member, command, key)


def by_another(command: Command, key: str) -> Interference:
    return lambda running, member: run(running, f"not-{member}", command, key)


def merged(running: Live, member: str) -> Awaitable[str]:
    published = running.service.programs.at_hand(running.program_id)
    assert published is not None
    into = MemberRef.parse(f"into-{member}")
    return run(running, member, MergeOut(into, published.identity.member(into)), "merge")


PLAYED, WON, EARN, SPEND = (
    Event("", "played", None, {}),
    Event("", "won", None, {}),
    Earn("points", 5),
    Spend("points", 5),
)


@pytest.mark.parametrize(
    ("before", "command", "interfere", "check", "heard", "balance"),
    [
        ([EARN], EARN, sent(EARN, "b"), "members", "processed", 15),
        ([EARN], SPEND, sent(SPEND, "b"), "members", "insufficient-points", 0),
        ([EARN], PLAYED, sent(PLAYED, "b"), "members", "processed", 7),
        ([], EARN, sent(EARN, "b"), "members", "processed", 10),
        ([], EARN, sent(EARN, "a"), "members", "duplicate, replayed", 5),
        ([EARN], EARN, sent(EARN, "a"), "members", "duplicate, replayed", 10),
        ([EARN], Spend("points", 9), sent(Spend("points", 9), "a"), "dedups", "insufficient-points, replayed", 5),
        ([], SPEND, sent(SPEND, "a"), "dedups", "insufficient-points, replayed", None),
        ([], WON, by_another(WON, "b"), "claims", "processed", None),
        ([], SPEND, sent(EARN, "b"), "members", "processed", 0),
        ([EARN], EARN, merged, "members", "processed", 10),
        ([EARN], Spend("gems", 1), sent(EARN, "b"), "members", "invalid-input", 10),
    ],
    ids=[
        "points added to what was read",
        "points spent twice",
        "a limit used up",
        "a member made twice",
        "the same command of a new member",
        "the same command",
        "the same refusal",
        "the same refusal of a new member",
        "a budget used up",
        "a refusal that is true no more, of a new member",
        "a merge",
        "a mistake found in what was read",
    ],
)
async def test_the_batch_begins_anew(
    running: Live,
    monkeypatch: pytest.MonkeyPatch,
    before: list[Command],
    command: Command,
    interfere: Interference,
    check: str,
    heard: str,
    balance: int | None,
) -> None:
    member = "someone"
    for number, earlier in enumerate(before):
        await run(running, member, earlier, f"before-{number}")
    told_others: list[object] = []

    async def interfering() -> None:
        told_others.append(await interfere(running, member))

    between(monkeypatch, interfering)
    assert await run(running, member, command, "a") == heard
    assert outdated(running, check) == 1
    assert len(told_others) == 1
    assert "replayed" not in str(told_others[0])
    if balance is not None:
        await running.worker.run_due()
        assert await running.balance(f"into-{member}" if interfere is merged else member) == balance
    await verify_clean(running)


async def test_what_took_too_long_begins_anew(running: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes a board waits so long and no longer."""
    monkeypatch.setattr(attempt, "DECIDED_SECONDS_MAX", -1.0)
    assert await run(running, "slow", EARN, "a") == "processed"
    assert outdated(running, "time") == 1
    assert await running.balance("slow") == 5


async def test_who_stands_still_hears_nothing_that_changes_later(
    running: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was being decided when somebody looked is recorded after the moment that they were told."""
    await run(running, "watched", EARN, "before")
    service, moments = running.service, []

    async def look() -> None:
        async def read(_: AsyncConnection, wallet: Any) -> datetime:
            now: datetime = wallet.now
            return now

        ref = MemberRef.parse("watched")
        moments.append(await standing_still(service.engine, service.programs, running.program_id, ref, read))

    between(monkeypatch, look)
    assert await run(running, "watched", EARN, "a") == "processed"
    assert outdated(running, "members") == 1
    async with service.engine.connect() as connection:
        recorded = await connection.execute(
            text("SELECT max(recorded_at) FROM transaction WHERE program_id = :id"), {"id": running.program_id}
        )
        assert recorded.scalar_one() > moments[0]


@pytest.mark.parametrize("known", [True, False], ids=["a known member", "a new member"])
async def test_a_change_under_way_is_waited_for(running: Live, monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    """The other has locked the member, or made it, and commits only while the batch waits to write."""
    service, program_id = running.service, running.program_id
    if known:
        await run(running, "contended", EARN, "before")
    published = await service.programs.get(program_id)
    member = published.identity.member(MemberRef.parse("contended"))
    values = {"program": program_id, "bucket": bucket_of(member), "member": member}
    change = "UPDATE member SET seq = seq + 7 WHERE program_id = :program AND bucket = :bucket AND member_id = :member"
    make = (
        "INSERT INTO member (program_id, bucket, member_id, kind, external_id, attributes, state, seq, created_at)"
        " VALUES (:program, :bucket, :member, 'user', 'contended', '{}', '\\x81a17601', 7, now())"
    )
    async with transaction(service.engine) as other:
        ours = asyncio.Event()

        async def interfere() -> None:
            await other.execute(text(change if known else make), values)
            ours.set()

        between(monkeypatch, interfere)
        deciding = asyncio.create_task(run(running, "contended", EARN, "a"))
        await ours.wait()
        await until(other, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        assert not deciding.done()
    assert await deciding == "processed"
    assert outdated(running, "members" if known else "new_members") == 1
    async with service.engine.connect() as connection:
        seq = await connection.execute(
            text("SELECT seq FROM member WHERE program_id = :program AND member_id = :member"), values
        )
        assert seq.scalar_one() == (9 if known else 8)


async def test_a_refusal_of_somebody_new_and_a_repetition_after_a_merge_are_one_command(
    running: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the refusal waits to be written, its member is merged into one who can pay, and the command comes again."""
    service, program_id = running.service, running.program_id
    await run(running, "into-broke", EARN, "points")
    await run(running, "held-up", EARN, "before")
    published = await service.programs.get(program_id)
    items = [
        submission(published, Addressed(MemberRef.parse(member), command, key, key, "tests"))
        for member, command, key in (("broke", SPEND, "a"), ("held-up", EARN, "b"))
    ]
    lock = "SELECT 1 FROM member WHERE program_id = :id AND external_id = 'held-up' FOR UPDATE"
    async with transaction(service.engine) as other:
        ours = asyncio.Event()

        async def interfere() -> None:
            await other.execute(text(lock), {"id": program_id})
            ours.set()

        between(monkeypatch, interfere)
        deciding = asyncio.create_task(service.batches.run(items))
        await ours.wait()
        await until(other, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        await merged(running, "broke")
        assert await run(running, "broke", SPEND, "a") == "processed"
    done = await deciding
    assert [told(done.results[item]) for item in items] == ["duplicate, replayed", "processed"]
    await running.worker.run_due()
    assert await running.balance("into-broke") == 0
    await verify_clean(running)


LOCK_FRESH = "SELECT 1 FROM member WHERE program_id = :id AND external_id = 'fresh' FOR UPDATE"
CLAIM_WON = "UPDATE counter SET used = used WHERE program_id = :id AND key LIKE 'win/%'"


async def hold(other: AsyncConnection, sql: str, **values: Any) -> None:
    """Locks something, and what is locked by somebody else from then on is waited for less long than a deadlock is found."""
    await other.execute(text("SET LOCAL lock_timeout = '500ms'"))
    await other.execute(text(sql), values)


@pytest.mark.parametrize("step", ["load_members", "write"])
async def test_who_has_locked_a_budget_does_not_wait_for_a_member(
    running: Live, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A budget was short and is locked. The member is new, and made before it is loaded or before it is written; whoever holds it
    by then claims the budget too, and is not waited for in vain."""
    service, program_id = running.service, running.program_id
    async with transaction(service.engine) as other:
        held = asyncio.Event()

        async def make_and_hold() -> None:
            await run(running, "fresh", EARN, "b")
            await hold(other, LOCK_FRESH, id=program_id)
            held.set()

        async def use_up() -> None:
            await run(running, "not-fresh", WON, "c")
            before(monkeypatch, step, make_and_hold)

        between(monkeypatch, use_up)
        deciding = asyncio.create_task(run(running, "fresh", WON, "a"))
        await held.wait()
        await until(other, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        await other.execute(text(CLAIM_WON), {"id": program_id})
    assert await deciding == "processed"
    assert outdated(running, "claims") == 1
    assert await running.balance("fresh") == 5
    await verify_clean(running)


WAITING = """
  - key: thanks
    on: played
    delay: 30h
    budget: {points: 100, currency: points, per: day}
    then: [{earn: {currency: points, amount: 3}}]
"""


async def test_budgets_are_locked_in_one_order(
    migrated_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time passes while a budget is locked that was short, and what has waited needs another, of a day that nobody thought of."""
    async with live(service_settings(migrated_url, redis_url), PROGRAM + WAITING, kind="sandbox") as running:
        service, program_id = running.service, running.program_id
        published = await service.programs.get(program_id)
        await run(running, "patient", PLAYED, "before")
        days = candidate_keys(published.program, [datetime.now(UTC) + timedelta(hours=30)])
        [thanks] = [key for key in days if key.startswith("thanks/")]
        make = "INSERT INTO counter (program_id, key, used, total) VALUES (:id, :key, 0, 100)"
        skip = "UPDATE program SET clock_offset = clock_offset + interval '3 days' WHERE id = :id"
        async with transaction(service.engine) as other:
            held = asyncio.Event()

            async def use_up_and_skip() -> None:
                await run(running, "not-patient", WON, "b")
                async with transaction(service.engine) as moving:
                    await moving.execute(text(skip), {"id": program_id})
                await hold(other, make, id=program_id, key=thanks)
                held.set()

            between(monkeypatch, use_up_and_skip)
            deciding = asyncio.create_task(run(running, "patient", WON, "a"))
            await held.wait()
            await until(other, "SELECT count(*) FROM pg_locks WHERE NOT granted")
            await other.execute(text(CLAIM_WON), {"id": program_id})
        assert await deciding == "processed"
        assert await running.balance("patient") == 2 + 3 + 10
        await verify_clean(running)
