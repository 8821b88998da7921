"""What the worker owes: each due command once, whoever dies or races; nothing spoiled by a row that can never run."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.service import SECRET_KEY, EventFactory, Live, create_database, live, publish, service_settings

from rewards.db.partitions import ensure_partitions
from rewards.db.retention import drop_expired
from rewards.db.transact import DatabaseUnavailable, transact
from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.ids import bucket_of, id_floor
from rewards.features.events.jobs import DueCommands
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.http.auth import SCOPES
from rewards.pipeline.batch import Batches
from rewards.pipeline.intake import Addressed
from rewards.service import Service, database
from rewards.worker import Job, _repeat

numbers = itertools.count(1)

PROGRAM = """
rewards: 1
program: {key: works, timezone: Europe/Berlin, late_window: 72h}
currencies:
  points: {expires: {after: 12mo}}
events:
  played: {properties: {level: {type: integer}}}
metrics:
  plays: {count: played}
  recent: {count: played, over: 60s}
segments:
  busy: metrics.recent > 0
rules:
  - {key: play, on: played, then: [{earn: {currency: points, amount: 1}}]}
"""


@pytest.fixture(scope="module")
async def url(database_url: str) -> str:
    """Due rows and partitions are everybody's, so these tests have a database of their own."""
    return await create_database(database_url, "worker_tests")


@pytest.fixture(scope="module")
async def works(url: str, redis_url: str) -> AsyncIterator[Live]:
    async with live(service_settings(url, redis_url), PROGRAM, kind="sandbox") as running:
        yield running


async def accepted(works: Live, **event: Any) -> dict[str, Any]:
    """An event taken to be decided later."""
    sent = EventFactory(**{"type": "played", "properties": {}, **event})
    answer = await works.client.post("/v1/events?mode=async", json=sent)
    assert answer.status_code == 202, answer.text
    return dict(sent)


async def run(works: Live, sql: str, **values: Any) -> Any:
    return await transact(works.service.engine, lambda connection: connection.execute(text(sql), values))


async def due_of(works: Live, member: str) -> list[Any]:
    published = await works.service.programs.get(works.program_id)
    found = await run(
        works,
        "SELECT name, attempts, failure, due_at, leased_until FROM due WHERE member_id = :member",
        member=published.identity.member(MemberRef.parse(member)),
    )
    return list(found)


async def move_clock(works: Live, **by: float) -> None:
    await run(
        works,
        "UPDATE program SET clock_offset = clock_offset + :by WHERE id = :id",
        by=timedelta(**by),
        id=works.program_id,
    )


async def test_two_workers_share_what_is_due_and_double_nothing(works: Live, url: str, redis_url: str) -> None:
    for number in range(120):
        await accepted(works, member=f"shared-{number % 7}")
    other = Service(service_settings(url, redis_url))
    async with other.running():
        claimed = await asyncio.gather(
            *(DueCommands(each.engine, each.programs, each.lanes).run() for each in (works.service, other) * 3)
        )
        await works.worker.run_due()
    assert sum(claimed) == 120
    assert sum([await works.balance(f"shared-{number}") for number in range(7)]) == 120


async def test_what_a_killed_worker_had_claimed_is_run_when_its_lease_ends(works: Live) -> None:
    event = await accepted(works, member="leased")
    await run(works, "UPDATE due SET leased_until = now() + interval '30 s', attempts = 1")  # claimed, and then dead
    await works.worker.run_due()
    assert await works.balance("leased") == 0
    await run(works, "UPDATE due SET leased_until = now() - interval '1 ms'")
    await works.worker.run_due()
    assert await works.balance("leased") == 1
    assert [row.name for row in await due_of(works, "leased")] == ["wake"]
    assert (await works.event(**event))["status"] == "duplicate"


def event_row(**event: Any) -> str:
    """The payload of an event accepted for later."""
    return json.dumps({"event": {"id": "x", "type": "played", **event}, "actor": "tests", "client": False})


@pytest.mark.parametrize(
    ("name", "payload", "failure"),
    [
        ("from_the_future", "{}", "unreadable"),
        ("event", "{}", "unreadable"),
        ("event", event_row(member="poisoned", id=5), "unreadable"),
        ("event", event_row(member="anon:"), "invalid-input"),
        ("event", event_row(member="poisoned", occurred_at="2999-01-01T00:00:00Z"), "invalid-input"),
        ("merge_in", "{}", "unreadable"),
        ("merge_in", '{"kind": "user", "external_id": "poisoned", "origin": "x"}', "internal-error"),
    ],
)
async def test_a_row_that_can_never_run_is_set_aside_and_spoils_no_other(
    works: Live, name: str, payload: str, failure: str
) -> None:
    published = await works.service.programs.get(works.program_id)
    poisoned = published.identity.member(MemberRef.parse("poisoned"))
    await run(works, "DELETE FROM due")
    await run(
        works,
        "INSERT INTO due (program_id, bucket, member_id, key, due_at, name, payload)"
        " VALUES (:program, :bucket, :member, gen_random_uuid(), now() - interval '1 h', :name, CAST(:payload AS jsonb))",
        program=works.program_id,
        bucket=bucket_of(poisoned),
        member=poisoned,
        name=name,
        payload=payload,
    )
    beside = f"beside-{next(numbers)}"
    await accepted(works, member=beside)
    await works.worker.run_due()
    assert await works.balance(beside) == 1
    [row] = await due_of(works, "poisoned")
    assert row.failure.startswith(failure)
    assert await works.worker.due.run() == 0, "it is not tried again"


async def test_an_event_that_was_set_aside_may_be_sent_again_put_right(works: Live) -> None:
    await works.event(type="played", member="mender", properties={})
    wrong = await accepted(works, member="mender", occurred_at="2999-01-01T00:00:00Z")
    await works.worker.run_due()
    told = (await works.client.get(f"/v1/members/mender/events/{wrong['id']}")).json()
    assert (told["status"], told["failure"].partition(":")[0]) == ("rejected", "invalid-input")
    await accepted(works, **{**wrong, "occurred_at": None})
    await works.worker.run_due()
    assert await works.balance("mender") == 2
    assert (await works.client.get(f"/v1/members/mender/events/{wrong['id']}")).json()["status"] == "processed"


async def test_a_number_that_storing_writes_otherwise_is_the_same_when_it_comes_again(works: Live) -> None:
    event = await accepted(works, member="minus-nothing", properties={"level": 1, "balance": -0.0})
    await works.worker.run_due()
    assert (await works.event(**event))["status"] == "duplicate"
    await accepted(works, **event)
    await works.worker.run_due()
    assert [row.name for row in await due_of(works, "minus-nothing")] == ["wake"]
    assert await works.balance("minus-nothing") == 1


async def _later(works: Live, **event: Any) -> httpx.Response:
    return await works.client.post("/v1/events?mode=async", json=EventFactory(type="played", **event))


async def _now(works: Live, **event: Any) -> httpx.Response:
    return await works.client.post("/v1/events", json=EventFactory(type="played", **event))


@pytest.mark.parametrize("sent_first", [_later, _now])
async def test_an_id_that_waits_or_was_used_is_not_accepted_for_something_else(works: Live, sent_first: Any) -> None:
    event: dict[str, Any] = {
        "id": f"used-{next(numbers)}",
        "member": f"used-{next(numbers)}",
        "properties": {"level": 1},
    }
    assert (await sent_first(works, **event)).status_code in {200, 202}
    other = await _later(works, **{**event, "properties": {"level": 2}})
    assert (other.status_code, other.json()["code"]) == (422, "id-reused")
    assert (await _later(works, **event)).status_code == 202
    await works.worker.run_due()
    assert await works.balance(event["member"]) == 1
    assert (await works.event(type="played", **event))["status"] == "duplicate"
    assert [row.name for row in await due_of(works, event["member"])] == ["wake"]


async def test_of_twins_accepted_at_one_moment_one_is_told_that_its_id_is_used(works: Live) -> None:
    event: dict[str, Any] = {"id": "twins", "member": f"twins-{next(numbers)}"}
    answers = await asyncio.gather(*(_later(works, **event, properties={"level": level}) for level in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202, *[422] * 7]
    await works.worker.run_due()
    assert await works.balance(event["member"]) == 1


async def test_what_waits_and_is_sent_again_to_be_decided_now_is_decided_once(works: Live) -> None:
    event: dict[str, Any] = {"id": "hurried", "member": f"hurried-{next(numbers)}", "properties": {"level": 1}}
    assert (await _later(works, **event)).status_code == 202
    assert (await works.event(type="played", **event))["status"] == "processed"
    await works.worker.run_due()
    assert await works.balance(event["member"]) == 1
    assert [row.name for row in await due_of(works, event["member"])] == ["wake"]


async def test_an_overfull_service_puts_due_commands_off_and_keeps_them(works: Live, url: str, redis_url: str) -> None:
    for _ in range(2):
        await accepted(works, member="patient")
    full = Service(service_settings(url, redis_url, lanes=1, lane_queue_max=1))
    async with full.running():
        assert await DueCommands(full.engine, full.programs, full.lanes).run() == 0, "a full service claims no more"
    assert [row.failure for row in await due_of(works, "patient")] == [None, None]
    await run(works, "UPDATE due SET leased_until = NULL")
    await works.worker.run_due()
    assert await works.balance("patient") == 2


async def test_an_event_is_not_late_because_the_worker_was(works: Live) -> None:
    now = datetime.now(UTC) + await _offset(works)
    event = await accepted(works, member="waited", occurred_at=(now - timedelta(hours=71, minutes=59)).isoformat())
    undated = await accepted(works, member="undated")
    before = await _offset(works) + datetime.now(UTC)
    await move_clock(works, hours=5)
    await works.worker.run_due()
    assert await works.balance("waited") == 1
    assert (await works.event(**event))["status"] == "duplicate"
    [found] = await run(works, "SELECT occurred_at FROM event WHERE client_id = :id", id=undated["id"])
    assert abs(found.occurred_at - before) < timedelta(minutes=1)


async def _offset(works: Live) -> timedelta:
    found = await run(works, "SELECT clock_offset FROM program WHERE id = :id", id=works.program_id)
    offset: timedelta = found.scalar_one()
    return offset


async def test_a_wake_up_that_was_moved_on_while_claimed_is_not_lost(works: Live) -> None:
    """The worker has claimed the wake-up of a minute ago when the member plays again, which moves the wake-up on."""
    published = await works.service.programs.get(works.program_id)
    await works.event(type="played", member="sleeper", properties={})
    await move_clock(works, minutes=2)
    due = works.worker.due
    claimed = await transact(works.service.engine, _claimed_of(published.identity.member(MemberRef.parse("sleeper"))))
    assert len(claimed) == 1
    await works.event(type="played", member="sleeper", properties={})
    await due._run_program(works.program_id, claimed)
    [row] = await due_of(works, "sleeper")
    assert row.name == "wake"
    await move_clock(works, minutes=2)
    await works.worker.run_due()
    member = await works.client.get("/v1/members/sleeper")
    assert member.json()["segments"] == []
    assert await due_of(works, "sleeper") == []


async def test_how_late_a_command_was_done_is_measured(works: Live) -> None:
    await works.event(type="played", member="late-riser", properties={})
    before = _lateness(works, "wake")
    await move_clock(works, minutes=3)  # the wake-up was due after one
    await works.worker.run_due()
    count, seconds = _lateness(works, "wake")
    assert count > before[0]
    assert 60 < seconds - before[1] < 600 * (count - before[0])


def _lateness(works: Live, name: str) -> tuple[float, float]:
    read = works.service.registry.get_sample_value
    found = [read(f"rewards_due_lateness_seconds_{part}", {"name": name}) or 0.0 for part in ("count", "sum")]
    return found[0], found[1]


async def test_an_erased_member_is_not_woken_and_leaves_nothing_behind(works: Live) -> None:
    await works.event(type="played", member="erased-sleeper", properties={})
    published = await works.service.programs.get(works.program_id)
    member = published.identity.member(MemberRef.parse("erased-sleeper"))
    await run(works, "UPDATE member SET erased_at = now() WHERE member_id = :member", member=member)
    await move_clock(works, minutes=2)
    await works.worker.run_due()
    assert await due_of(works, "erased-sleeper") == []


def _claimed_of(member: Any) -> Any:
    async def claim(connection: Any) -> list[Any]:
        found = await connection.exec_driver_sql(
            "UPDATE due SET leased_until = now() + interval '30 s' WHERE member_id = $1"
            " RETURNING program_id, bucket, member_id, key, name, payload, due_at,"
            " 0.0::float8 AS late_seconds",
            (member,),
        )
        return list(found.all())

    return claim


async def test_a_merge_arrives_though_the_service_dies_between_its_legs(
    works: Live, url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first leg is committed and nobody is there to go on; then a worker loses the database before the second's commit."""
    published = await works.service.programs.get(works.program_id)
    known = MemberRef.parse("arrived")
    for _ in range(3):
        await works.event(type="played", member="anon:leaving", properties={})
    merge = MergeOut(known, published.identity.member(known))
    dying = Service(service_settings(url, redis_url))
    async with dying.running():
        await dying.intake.one(works.program_id, Addressed(MemberRef.parse("anon:leaving"), merge, "m", "m", "tests"))

        async def dead(*_: Any) -> None:
            raise DatabaseUnavailable("The database ended the connection; nothing was changed.")

        monkeypatch.setattr(Batches, "run", dead)
        await DueCommands(dying.engine, dying.programs, dying.lanes).run()
        monkeypatch.undo()
    assert await works.balance("arrived") == await works.balance("anon:leaving") == 0
    await works.worker.run_due()
    assert await works.balance("arrived") == 0, "the claim of the other worker has not ended"
    await run(works, "UPDATE due SET leased_until = now() - interval '1 ms' WHERE name = 'merge_in'")
    await works.worker.run_due()
    assert await works.balance("arrived") == 3
    assert [row.name for row in await due_of(works, "arrived")] == ["wake"]


async def test_what_finds_no_partition_may_be_sent_again(works: Live, url: str, redis_url: str) -> None:
    """No worker has run for months: the database refuses the row, and yet nothing is wrong with the event."""
    owner = database(service_settings(url, redis_url), application_name="tests", role=None)
    async with owner.begin() as connection:
        await connection.execute(text(f"DROP TABLE outbox_{datetime.now(UTC):%Y_%m}"))
    event = EventFactory(type="played", member="early", properties={})
    answer = await works.client.post("/v1/events", json=event)
    assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    await transact(owner, lambda connection: ensure_partitions(connection, datetime.now(UTC)))
    assert (await works.event(**event))["status"] == "processed"
    [kept] = await run(works, "SELECT count(*) FROM dead_letter WHERE command = 'Event'")
    assert kept[0] == 0
    await owner.dispose()


async def test_partitions_are_made_ahead_and_only_what_is_old_is_dropped(works: Live, url: str, redis_url: str) -> None:
    """An event of two years ago is still known when its month has gone: it answers so, and pays nothing."""
    owner = database(service_settings(url, redis_url), application_name="tests", role=None)
    old = datetime.now(UTC) - timedelta(days=730)
    first = await works.event(type="played", member="veteran", properties={}, id="ancient")
    published = await works.service.programs.get(works.program_id)
    veteran = published.identity.member(MemberRef.parse("veteran"))
    await transact(owner, lambda connection: ensure_partitions(connection, old, months_behind=0))
    assert await transact(owner, lambda connection: ensure_partitions(connection, old, months_behind=0)) == []
    # As if it had been sent then: the row moves to its month, and what refers to it with it.
    long_ago = id_floor(old)
    async with owner.begin() as connection:
        values = {"member": veteran, "id": long_ago}
        await connection.execute(text("UPDATE event SET id = :id WHERE member_id = :member"), values)
        await connection.execute(text("UPDATE dedup SET entry_id = :id WHERE member_id = :member"), values)
    again = await works.event(type="played", member="veteran", properties={}, id="ancient")
    assert again == {**first, "status": "duplicate"}
    dropped = await transact(
        owner, lambda connection: drop_expired(connection, datetime.now(UTC), event_days=400, outbox_days=30)
    )
    months = {name[-7:] for name in dropped}
    assert {name[:-8] for name in dropped} == {"event", "answer", "outbox"}
    assert max(months) < f"{datetime.now(UTC) - timedelta(days=30):%Y_%m}"
    assert f"{old:%Y_%m}" in months
    again = await works.event(type="played", member="veteran", properties={}, id="ancient")
    assert (again["status"], again["effects_expired"], again["effects"]) == ("duplicate", True, [])
    assert await works.balance("veteran") == 1
    other = EventFactory(type="played", member="veteran", properties={"level": 1}, id="ancient")
    assert (await works.client.post("/v1/events", json=other)).status_code == 422
    async with owner.connect() as connection:
        kept = await connection.execute(
            text("SELECT relname FROM pg_class WHERE relispartition AND relname LIKE 'posting_2%'")
        )
        assert f"posting_{old:%Y_%m}" in set(kept.scalars()), "the ledger is never touched"
    await owner.dispose()


async def test_upkeep_by_a_worker_makes_the_months_to_come(works: Live, url: str, redis_url: str) -> None:
    owner = database(service_settings(url, redis_url), application_name="tests", role=None)
    ahead = f"event_{datetime.now(UTC) + timedelta(days=62):%Y_%m}"
    async with owner.begin() as connection:
        await connection.execute(text(f"DROP TABLE {ahead}"))
    [upkeep] = [job for job in works.worker.jobs() if job.name == "upkeep"]
    await upkeep.run()
    async with owner.connect() as connection:
        found = await connection.execute(text("SELECT relname FROM pg_class WHERE relname = :name"), {"name": ahead})
        assert found.scalar_one() == ahead
    await owner.dispose()


@pytest.mark.slow
async def test_the_service_and_the_worker_work_apart(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """`rewards serve --no-worker` takes events for later and decides none; `rewards work` does, and both end in order."""
    url = await create_database(database_url, "worker_apart")
    service = Service(service_settings(url, redis_url))
    program_id, _ = await publish(service, PROGRAM)
    request = KeyRequest("apart", scopes=SCOPES)
    key, _ = await create_key(service.engine, service.secret_key, program_id=program_id, request=request, actor="tests")
    environment = {
        **os.environ,
        "REWARDS_DATABASE_URL": url,
        "REWARDS_REDIS_URL": redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
    }

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / arguments[0]).open("wb")
        command = [sys.executable, "-m", "rewards.cli", *arguments]
        return subprocess.Popen(command, env=environment, stderr=log, stdout=log)

    serving = start("serve", "--no-worker", "--port", "0")
    running = [serving]
    try:
        base = (await _said(tmp_path / "serve", "Listening on ")).strip()
        async with httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {key}"}) as client:
            for number in range(20):
                event = EventFactory(type="played", member="apart", properties={"level": number})
                assert (await client.post("/v1/events?mode=async", json=event)).status_code == 202
            assert (await client.get("/v1/members/apart")).status_code == 404
            running.append(start("work"))
            async with asyncio.timeout(30):
                while True:
                    answer = await client.get("/v1/members/apart")
                    if answer.status_code == 200 and answer.json()["balances"]["points"]["available"] == 20:
                        break
                    await asyncio.sleep(0.1)
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
        await service.engine.dispose()
        await service.valkey.aclose()


async def _said(log: Path, marker: str) -> str:
    """What a process says after `marker`, once it does."""
    async with asyncio.timeout(30):
        while marker not in (told := await asyncio.to_thread(log.read_text)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return told.partition(marker)[2].splitlines()[0]


async def test_a_job_that_is_hurried_while_it_is_ended_ends() -> None:
    hurry, turns = asyncio.Event(), asyncio.Event()

    async def turn() -> int:
        turns.set()
        return 0

    job = asyncio.create_task(_repeat(Job("hurried", 60.0, turn, hurry)))
    await turns.wait()
    await asyncio.sleep(0)  # it waits to be hurried now
    hurry.set()
    job.cancel()
    ended, _ = await asyncio.wait({job}, timeout=5)
    assert ended == {job}


async def test_a_program_that_cannot_be_read_keeps_no_other_waiting(works: Live) -> None:
    """Made with another secret key, by mistake."""
    service = works.service
    sick, well = [(await publish(service, PROGRAM))[0] for _ in range(2)]
    async with service.engine.begin() as connection:
        await connection.execute(text("UPDATE program SET secret = 'of another key' WHERE id = :sick"), {"sick": sick})
    await accepted(works, member="well")
    await run(
        works,
        "INSERT INTO due (program_id, bucket, member_id, key, name, payload, due_at, attempts)"
        " SELECT :sick, bucket, member_id, key, name, payload, due_at - interval '1 day', 0 FROM due"
        " WHERE program_id = :program AND name = 'event'",
        sick=sick,
        program=works.program_id,
    )
    read: list[int] = []

    async def look(program_id: int) -> int:
        await service.programs.get(program_id)
        read.append(program_id)
        return 1

    try:
        assert await works.worker.of_each(look) == len(read)
        assert (sick in read, well in read, works.program_id in read) == (False, True, True)
        for job in works.worker.jobs():
            if job.name in {"inactive", "closings", "rank"}:
                await job.run()
        await works.worker.run_due()
        assert await works.balance("well") == 1
    finally:
        await run(works, "DELETE FROM due WHERE program_id = :sick", sick=sick)
        async with service.engine.begin() as connection:
            # Whatever is made here later must find the key that all were made with.
            await connection.execute(
                text(
                    "UPDATE program SET published = NULL, secret = (SELECT secret FROM program WHERE id = :well)"
                    " WHERE id = :sick"
                ),
                {"sick": sick, "well": well},
            )
