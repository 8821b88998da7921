"""Simulations: however the events are cut up, and wherever they come from, the same is decided as live."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from rich.console import Console
from sqlalchemy import text
from tests.service import Live, another, publish_next, service_settings

from rewards.cli import simulation_report as report
from rewards.db.transact import transaction
from rewards.domain.commands import MemberRef, MergeOut
from rewards.domain.program import check_bytes, compile_program
from rewards.domain.simulation import Tally
from rewards.features.programs import simulate
from rewards.features.programs.event_file import BAD_LINES_SHOWN_MAX, Part, index_file, read_part
from rewards.features.programs.recorded import Recording, simulate_recorded
from rewards.features.programs.simulate import Simulated, Written, simulate_file
from rewards.pipeline.intake import Addressed
from rewards.service import database

DOCUMENT: Final = b"""
rewards: 1
program: {key: fun, timezone: UTC, late_window: 72h}
currencies:
  coins: {expires: {after: 5d}, worth: 1}
  gems: {hold: 2d, worth: 10}
types: {id: {type: string, maxLength: 64}}
events:
  played: {properties: {minutes: {type: integer, minimum: 0}}}
  bought: {properties: {order: id, total: money}, required: [order, total]}
  returned: {properties: {order: id}, required: [order]}
metrics:
  plays: {count: played, over: 3d}
  spent: {sum: bought, value: event.total}
segments:
  active: metrics.plays >= 2
rules:
  - {key: play, on: played, when: event.minutes > 5, limit: {times: 2, per: day}, then: [{earn: {currency: coins, amount: event.minutes}}]}
  - {key: buy, on: bought, then: [{earn: {currency: gems, amount: event.total, reference: event.order}}]}
  - {key: back, on: returned, then: [{reverse: {reference: event.order}}]}
  - {key: welcome, on: segment.entered, then: [{earn: {currency: coins, amount: 50}}]}
"""
BUDGET: Final = (b"{key: play, on", b"{key: play, budget: {points: 100, currency: coins, per: day}, on")
START: Final = datetime(2026, 11, 1, tzinfo=UTC)


def events(count: int, members: int, seed: int) -> Iterator[dict[str, Any]]:
    """Three weeks in no order at all, with repetitions and wrong ones."""
    chance = random.Random(seed)
    for number in range(count):
        moment = START + timedelta(minutes=chance.randrange(21 * 1440))
        order = f"o{chance.randrange(count // 4)}"
        kind, properties = chance.choice(
            [
                ("played", {"minutes": chance.randrange(20)}),
                ("bought", {"order": order, "total": chance.randrange(1, 90)}),
                ("returned", {"order": order}),
                ("played", {"minutes": -1}),
                ("slept", {}),
            ]
        )
        yield {
            "id": f"e{number if chance.random() > 0.1 else number // 2}",
            "type": kind,
            "member": f"m{chance.randrange(members)}",
            "occurred_at": moment.isoformat(),
            "properties": properties,
        }


def written(path: Path, found: Iterator[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in found))
    return path


def silent(*_: Any) -> None:
    """Nobody watches."""


def figures(found: Simulated) -> list[Any]:
    return [asdict(side) for side in (found.after, found.before) if side] + [
        found.events,
        found.members,
        found.affected,
    ]


@pytest.mark.parametrize("seed", range(3))
def test_any_number_of_processes_and_either_order_give_the_same(tmp_path: Path, seed: int) -> None:
    """A budget that is never used up forces one timeline of all members, and changes nothing else."""
    file = written(tmp_path / "events.jsonl", events(400, 20, seed))
    other = DOCUMENT.replace(b"> 5", b"> 9")
    one = simulate_file(file, Written(DOCUMENT), Written(other), silent, processes=1)
    wide = DOCUMENT.replace(BUDGET[0], BUDGET[1].replace(b"100", b"100000"))
    together = simulate_file(file, Written(wide), Written(other), silent, processes=1)
    together.after.budgets.clear()
    assert figures(one) == figures(together)
    assert one.affected


def test_processes_of_their_own_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "events.jsonl", events(300, 20, 1))
    alone = simulate_file(file, Written(DOCUMENT), Written(DOCUMENT), silent)
    monkeypatch.setattr(simulate, "INLINE_EVENTS_MAX", 0)
    done: list[tuple[str, int, int]] = []
    spread = simulate_file(file, Written(DOCUMENT), Written(DOCUMENT), lambda *told: done.append(told), processes=2)
    assert figures(spread) == figures(alone)
    assert spread.affected == 0
    assert done[-1] == ("deciding", 600, 600)


WAITING: Final = (
    DOCUMENT
    + b"""
  - {key: nudge, on: played, quiet: {for: 2h, of: played}, then: [{earn: {currency: coins, amount: 3}}]}
badges:
  player: {levels: [{at: 2, rewards: [{earn: {currency: coins, amount: 5}}]}], metric: plays}
"""
)


@pytest.mark.parametrize(
    ("before", "after", "affected"),
    [
        (WAITING, WAITING, 0),
        (WAITING, WAITING.replace(b"amount: 3", b"amount: 4"), 2),
        (WAITING, WAITING.replace(b"for: 2h", b"for: 4h"), 1),     # only one is silent for as long
        (WAITING, WAITING.replace(b"for: 2h", b"for: 90m"), 0),    # both are still told the same, only sooner
        (WAITING, WAITING.replace(b"amount: 5", b"amount: 6"), 1),  # what a badge gives
    ],
)  # fmt: skip
def test_whoever_gets_something_else_by_waiting_is_affected(
    tmp_path: Path, before: bytes, after: bytes, affected: int
) -> None:
    """Ada plays twice, three hours apart, and Ben once, six hours before the end; Cleo does something else."""
    told = [("ada", "played", 0), ("ada", "played", 3), ("ben", "played", 6), ("cleo", "bought", 12)]
    lines = [
        {
            "id": f"e{number}",
            "type": kind,
            "member": member,
            "occurred_at": (START + timedelta(hours=hour)).isoformat(),
            "properties": {"minutes": 1} if kind == "played" else {"order": "o", "total": 1},
        }
        for number, (member, kind, hour) in enumerate(told)
    ]
    file = written(tmp_path / "events.jsonl", iter(lines))
    apart = simulate_file(file, Written(after), Written(before), silent)
    shared = simulate_file(file, Written(after.replace(*BUDGET)), Written(before), silent)
    assert (apart.affected, shared.affected) == (affected, affected)
    assert apart.after.results["nudge", "fired"] == apart.after.points["nudge", "coins"] // (
        3 + (b"amount: 4" in after)
    )


def test_a_budget_is_shared_in_time_order(tmp_path: Path) -> None:
    lines = [
        {
            "id": f"e{hour}",
            "type": "played",
            "member": f"m{hour % 7}",
            "occurred_at": (START + timedelta(hours=hour)).isoformat(),
            "properties": {"minutes": 15},
        }
        for hour in reversed(range(24))
    ]
    found = simulate_file(
        written(tmp_path / "events.jsonl", iter(lines)), Written(DOCUMENT.replace(*BUDGET)), None, silent
    )
    assert found.after.results["play", "fired"] == 6
    assert found.after.budgets == {"play/points:coins/2026-11-01": 90}


def test_an_index_reads_in_time_order_and_leaves_out_what_is_no_event(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(
        b'{"id": "b", "type": "x", "member": "user:ada", "occurred_at": "2026-11-02T00:00:00Z"}\n'
        b"\n"
        b'{"id": "no zone", "type": "x", "member": "ada", "occurred_at": "2026-11-02T00:00:00"}\n'
        b'{"id": "no member", "type": "x", "member": "", "occurred_at": "2026-11-02T00:00:00Z"}\n'
        b'{"id": "a", "type": "x", "member": "ada", "occurred_at": "2026-11-01T00:00:00+01:00"}\n'
        b"\xff\xfe\n"
        b'{"id": "z", "type": "x", "member": "bob", "occurred_at": "1960-01-01T00:00:00Z"}'
    )
    index = index_file(file, silent)
    assert [bad.number for bad in index.bad] == [3, 4, 6]
    assert (index.events, index.members, index.until) == (3, 2, datetime(2026, 11, 2, tzinfo=UTC))
    (part,) = index.parts(1, apart=False)
    assert told(part) == [(1, "z"), (0, "a"), (0, "b")]
    first, second = index_file(file, silent).parts(2, apart=True)
    assert [told(part) for part in (first, second)] == [[(0, "a"), (0, "b")], [(1, "z")]]


def told(part: Part) -> list[tuple[int, str]]:
    return [(number, line if isinstance(line, str) else line.id) for _, number, line in read_part(part)]


@pytest.mark.parametrize("budget", [False, True], ids=["each member alone", "all in time order"])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_rejected_lines_of_the_file_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, *, budget: bool
) -> None:
    """In whatever order they are decided: the later in the file, the earlier they happened."""
    monkeypatch.setattr(simulate, "INLINE_EVENTS_MAX", 0)
    lines: list[str] = []
    for number in range(60):
        event = {"id": f"e{number}", "type": "played", "member": f"m{number % 7}", "properties": {"minutes": 6}}
        event["occurred_at"] = (START + timedelta(hours=60 - number)).isoformat()
        if number % 2:
            event["properties"] = {"minutes": -number}
        if number % 10 == 5:
            event["properties"] = "none"
        lines += [json.dumps(event), ""] if number % 3 else [json.dumps(event)]
    lines[4] = "no event"
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(lines))
    wrong = [(at, line) for at, line in enumerate(lines, 1) if '"none"' in line or '"minutes": -' in line]
    source = DOCUMENT.replace(*BUDGET) if budget else DOCUMENT
    lax = source.replace(b", minimum: 0", b"")
    found = simulate_file(file, Written(source), Written(lax), silent, processes=processes)
    assert found.before is not None
    assert found.after.statuses["rejected"] == len(wrong) > BAD_LINES_SHOWN_MAX
    assert [each.number for each in found.rejected] == [at for at, _ in wrong][:BAD_LINES_SHOWN_MAX]
    for each in found.rejected:
        reason = "Expected `object`, got `str` - at `$.properties`" if '"none"' in lines[each.number - 1] else "minutes"
        assert reason in each.message
    of_shape = [at for at, line in wrong if '"none"' in line]
    assert ([each.number for each in found.rejected_before], found.before.statuses["rejected"]) == (
        of_shape,
        len(of_shape),
    )
    assert [bad.number for bad in found.bad] == [5]


async def test_what_was_recorded_is_decided_again_exactly(shop: Live, migrated_url: str, tmp_path: Path) -> None:
    """Live, recorded, simulated: the same firings, points, budget and balances, and nothing is written."""
    source = DOCUMENT.replace(*BUDGET)
    async with another(shop, source) as running:
        await send(running, events(300, 12, 7))
        before = await rows(running)
        found = await _simulated(running, migrated_url, source)
        assert found.before is not None
        assert found.affected == 0
        assert (found.after.results, found.after.points) == (found.before.results, found.before.points)
        assert (found.after.statuses, found.after.budgets) == (found.before.statuses, found.before.budgets)
        assert found.after.currencies == found.before.currencies
        assert found.after.results["play", "fired"] > 3
        assert found.after.results["play", "budget"] > 0
        generous = await _simulated(running, migrated_url, source.replace(b"> 5", b"> 3"))
        assert generous.affected
        assert await rows(running) == before


async def as_owner(running: Live, url: str, statement: str) -> int:
    """History is the owner's to change; `:program` is the program, `:middle` the event in the middle. How many rows that were."""
    owner = database(
        service_settings(url, running.service.settings.redis_url.get_secret_value()),
        application_name="tests",
        role=None,
    )
    async with transaction(owner) as connection:
        ids = text("SELECT id FROM event WHERE program_id = :program ORDER BY id")
        found = (await connection.execute(ids, {"program": running.program_id})).scalars().all()
        values = {"program": running.program_id, "middle": found[len(found) // 2]}
        changed = (await connection.execute(text(statement), values)).rowcount
    await owner.dispose()
    return changed


@pytest.mark.parametrize("those", ["id < :middle", "id < :middle OR true"], ids=["some", "all"])
async def test_what_rules_did_with_events_whose_traces_are_gone_is_said_not_to_be_told(
    shop: Live, migrated_url: str, those: str
) -> None:
    async with another(shop, DOCUMENT) as running:
        await send(running, (each for each in events(300, 12, 7) if each["type"] == "played"))
        sql = f"UPDATE event SET trace = NULL WHERE program_id = :program AND ({those})"
        gone = await as_owner(running, migrated_url, sql)
        found = await _simulated(running, migrated_url, DOCUMENT)
        assert found.before is not None
        assert (found.after.points, found.affected) == (found.before.points, 0), "the answers are still there"
        told, decided = sum(found.before.results.values()), sum(found.after.results.values())
        assert (told < decided, told == 0) == (True, gone == found.events)
        [untold] = report.figures(found, "recorded", "EUR", {})["untold"]
        assert (untold["figure"], untold["events"]) == ("before.rules.*.results", gone)
        assert "traces" in untold["why"]
        with (out := Console(width=160)).capture() as printed:
            report.show(out, found, names=("recorded", "new"), money="EUR", budgets={})
        shown = " ".join(printed.get().split())
        one, other = (side.results.get(("play", "fired"), 0) for side in (found.before, found.after))
        assert f"play ≥ {one} {other} ?" in shown
        assert untold["why"] in shown
        alone = await _simulated(running, migrated_url, DOCUMENT, before=Written(DOCUMENT))
        assert report.figures(alone, "other", "EUR", {})["untold"] == []


async def test_what_events_brought_that_are_recorded_no_longer_counts_on_neither_side(
    shop: Live, migrated_url: str
) -> None:
    async with another(shop, DOCUMENT) as running:
        for _ in range(4):
            await running.event(type="played", member="ada", properties={"minutes": 10})
        whole = report.figures(await _simulated(running, migrated_url, DOCUMENT), "recorded", "EUR", {})
        assert (whole["untold"], whole["before"]["currencies"]["coins"]["issued"]) == ([], 10 + 10 + 50)
        await as_owner(running, migrated_url, "DELETE FROM event WHERE program_id = :program AND id < :middle")
        rest = report.figures(await _simulated(running, migrated_url, DOCUMENT), "recorded", "EUR", {})
        assert (rest["events"], rest["before"]["currencies"]) == (2, {})
        [untold] = rest["untold"]
        assert (untold["figure"], "recorded no longer" in untold["why"]) == ("events", True)


@pytest.mark.parametrize("source", [DOCUMENT, DOCUMENT.replace(*BUDGET)], ids=["member by member", "in time order"])
async def test_whoever_was_merged_counts_as_the_one_at_the_end(shop: Live, migrated_url: str, source: bytes) -> None:
    """Three devices, one person in the end: the daily limit of two holds for all that they did."""
    async with another(shop, source) as running:
        for number, (member, into) in enumerate([("anon:a", "anon:b"), ("anon:b", "anon:c"), ("anon:c", "ada")]):
            for minutes in (10, 11):
                await running.event(
                    id=f"{member}{minutes}", type="played", member=member, properties={"minutes": minutes}
                )
            await merge(running, member, into, number)
        await running.event(type="played", member="bob", properties={"minutes": 10})
        found = await _simulated(running, migrated_url, source)
        assert (found.events, found.members) == (7, 2)
        assert found.after.results["play", "fired"] == 2 + 1


@pytest.mark.parametrize(
    ("declared", "statuses"), [(b"{client: true, ", {"processed": 2}), (b"{", {"processed": 1, "rejected": 1})]
)
async def test_what_browsers_sent_is_decided_as_theirs(
    shop: Live, migrated_url: str, declared: bytes, statuses: dict[str, int]
) -> None:
    open_to_browsers = DOCUMENT.replace(b"played: {", b"played: {client: true, ")
    async with another(shop, open_to_browsers) as running:
        for key in (running.public_key, running.server_key):  # the same id, of two senders
            event = {"id": "p", "type": "played", "member": "ada", "properties": {"minutes": 10}}
            answer = await running.client.post("/v1/events", json=event, headers={"Authorization": f"Bearer {key}"})
            assert answer.json()["status"] == "processed"
        found = await _simulated(running, migrated_url, DOCUMENT.replace(b"played: {", b"played: " + declared))
        assert found.after.statuses == statuses


@pytest.mark.parametrize("fits", [True, False])
async def test_what_was_quarantined_and_replayed_is_decided_once(shop: Live, migrated_url: str, *, fits: bool) -> None:
    """In the record it stands twice. The document decides it when it came, or not at all."""
    header = DOCUMENT.replace(b"program: {", b"program: {invalid_events: quarantine, ")
    strict = header.replace(b"minimum: 0", b"minimum: 0, maximum: 9")
    async with another(shop, strict) as running:
        for member, minutes in (("ada", 10), ("ada", 11), ("bob", 12)):
            await running.event(type="played", member=member, properties={"minutes": minutes})
        await publish_next(running, header.decode())
        replayed = (await running.client.post("/v1/quarantine/replay", json={})).json()
        assert [each["result"]["status"] for each in replayed["results"]] == ["processed"] * 3
        found = await _simulated(running, migrated_url, header if fits else strict)
        assert found.before is not None
        assert found.after.points == (found.before.points if fits else {})
        assert found.after.statuses == {"processed" if fits else "quarantined": 3, "duplicate": 3}
        assert found.affected == (0 if fits else 2)


async def merge(running: Live, member: str, into: str, number: int) -> None:
    published = await running.service.programs.get(running.program_id)
    target = MemberRef.parse(into)
    command = MergeOut(target, published.identity.member(target))
    addressed = Addressed(MemberRef.parse(member), command, f"merge-{number}", {}, "tests")
    await running.service.intake.one(running.program_id, addressed)
    await running.worker.run_due()


async def send(running: Live, found: Iterator[dict[str, Any]]) -> None:
    """One after the other, as happening now, so that the recorded order is this one."""
    for each in found:
        del each["occurred_at"]
        answer = await running.client.post("/v1/events", json=each)
        assert answer.status_code in {200, 422}, answer.text


async def rows(running: Live) -> list[Any]:
    async with running.service.engine.connect() as connection:
        counted = []
        for table in ("event", "transaction", "posting", "lot", "counter", "member"):
            found = await connection.execute(
                text(f"SELECT count(*) FROM {table} WHERE program_id = :program"), {"program": running.program_id}
            )
            counted.append(found.scalar_one())
        return counted


async def _simulated(running: Live, url: str, source: bytes, *, before: Written | None = None) -> Simulated:
    document = check_bytes(source).document
    assert document is not None
    recording = Recording(
        url, running.service.settings.database_role, running.program_id, START, datetime(9999, 1, 1, tzinfo=UTC)
    )
    program = compile_program(document, version=1)
    return await asyncio.to_thread(simulate_recorded, recording, Written(source), before, silent, published=program)


def test_tallies_add_up() -> None:
    one = Tally(events=2, members=1, statuses={"processed": 2}, results={("a", "fired"): 1}, budgets={"k": 3})
    other = Tally(events=1, members=2, statuses={"duplicate": 1}, results={("a", "fired"): 2}, budgets={"k": 4})
    one.add(other)
    assert (one.events, one.members, one.results, one.budgets) == (3, 3, {("a", "fired"): 3}, {"k": 7})
    assert one.statuses == {"processed": 2, "duplicate": 1}
