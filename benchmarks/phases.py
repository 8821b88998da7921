"""What is measured, in the order of a run. Each phase returns figures by name."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks import deciding, limit
from benchmarks.installation import PROCESSES, PROGRAM, REWARDS, Database, Service, create_database, run, service
from benchmarks.members import CHANGING, fill
from benchmarks.traffic import event, member, name
from rewards.local import LocalServers

Figures = dict[str, float]
Told = Callable[[str], None]

CONNECTIONS: Final = 32
BATCH: Final = 100
BATCH_CONNECTIONS: Final = 8
OPEN_CONNECTIONS: Final = 128
IDLE_PAUSE_SECONDS: Final = 0.02
MONTH_SECONDS: Final = 30 * 86_400
GROWTH_TABLES: Final = (*CHANGING, "transaction", "posting", "dedup")
"""What stays: events and outbox rows are dropped with their month, so they are not piled up here."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. Seconds are per measurement, after the warm-up."""

    members: int = 100_000
    events_each: int = 3
    warmup_seconds: float = 5
    seconds: float = 20
    pgbench_seconds: int = 10
    apply_events: int = 120_000
    simulated_events: int = 1_000_000
    growth_members: tuple[int, int] = (10_000, 1_000_000)
    growth_events_each: int = 10
    growth_rounds: int = 2
    growth_settle_seconds: float = 60
    tails: int = 5
    tail_seconds: float = 10
    pending_timers: int = 1_000_000
    board_members: int = 1_000_000
    due_timers: int = 10_000
    processes: int = PROCESSES


FULL: Final = Size()
QUICK: Final = Size(
    members=20_000,
    events_each=1,
    warmup_seconds=2,
    seconds=6,
    pgbench_seconds=4,
    apply_events=30_000,
    simulated_events=50_000,
    growth_members=(1_000, 20_000),
    growth_rounds=1,
    growth_settle_seconds=3,
    tails=3,
    tail_seconds=3,
    pending_timers=100_000,
    board_members=50_000,
    due_timers=2_000,
)


def measure_limit(local: LocalServers, size: Size, told: Told) -> Figures:
    found = limit.measure(local, seconds=size.pgbench_seconds, told=told)
    clients, best = max(found.items(), key=lambda item: item[1])
    return {"pgbench_awards_per_s": best, "pgbench_clients": clients}


def measure_apply(size: Size) -> Figures:
    return {"apply_events_per_s": deciding.measure(events=size.apply_events)}


def measure_service(local: LocalServers, size: Size, told: Told) -> Figures:
    """The service under load over HTTP, on one database."""
    database = create_database(local, "bench")
    with service(database, size.processes) as started:
        told(f"{size.members:,} members, {size.events_each} events each")
        fill(started, members=size.members, events_each=size.events_each, told=told)
        stored = run(_stored(database))
        already = started.acknowledged
        figures = _idle(started, size)
        told(f"idle: p50 {figures['idle_p50_ms']:.2f} ms")
        single = _single(started, size, "single")
        figures |= single
        told(f"single: {single['single_events_per_s']:,.0f} events/s; {_costs('single', single)}")
        figures |= _half_rate(started, size, "half", single["single_events_per_s"] / 2)
        p99, worst = figures["single_p99_ms"], figures["single_worst_p99_ms"]
        told(f"half that rate: p99 {p99:.1f} ms, {worst:.1f} ms in the worst of {size.tails} loads")
        figures |= _batch(started, size, "batch")
        told(f"batches: {figures['batch_events_per_s']:,.0f} events/s; {_costs('batch', figures)}")
        figures |= {"rss_mb": started.peak_memory_mb(), "processes": size.processes}
        _check_stored(run(_stored(database)), stored, started.acknowledged - already)
    return figures


def _idle(started: Service, size: Size) -> Figures:
    found = started.load(
        prefix="idle",
        members=size.members,
        seconds=min(size.seconds, 10),
        warmup_seconds=1,
        connections=1,
        pause_seconds=IDLE_PAUSE_SECONDS,
    )
    return {"idle_p50_ms": found.p50_ms, "idle_p99_ms": found.p99_ms}


def _single(started: Service, size: Size, prefix: str) -> Figures:
    used, began = started.processor_seconds(), started.acknowledged
    found = started.load(
        prefix=prefix,
        members=size.members,
        seconds=size.seconds,
        warmup_seconds=size.warmup_seconds,
        connections=CONNECTIONS,
    )
    return {
        "single_events_per_s": found.events_per_second,
        "single_full_p99_ms": found.p99_ms,
        **_cost("single", started, used, began),
    }


def _cost(what: str, started: Service, before: tuple[float, float], acknowledged: int) -> Figures:
    """Processor time per event, warm-up included: unlike rates, it hardly depends on who else uses the machine."""
    events = started.acknowledged - acknowledged
    own, of_postgres = (
        (now - then) * 1000 / events for now, then in zip(started.processor_seconds(), before, strict=True)
    )
    return {f"{what}_cpu_ms": own, f"{what}_postgres_cpu_ms": of_postgres}


def _costs(what: str, figures: Figures) -> str:
    return f"processor per event {figures[f'{what}_cpu_ms']:.3f} ms, of PostgreSQL {figures[f'{what}_postgres_cpu_ms']:.3f} ms"


def _half_rate(started: Service, size: Size, prefix: str, rate: float) -> Figures:
    """The p99 of several short loads in a row: their median is that of most of the time, and the worst is told beside it. The
    host and the disk stall now and then, and of one long load so much of a second is all of its last hundredth.
    """
    found = [
        started.load(
            prefix=f"{prefix}{turn}",
            members=size.members,
            seconds=size.tail_seconds,
            warmup_seconds=size.warmup_seconds,
            connections=OPEN_CONNECTIONS,
            rate_per_second=rate,
        )
        for turn in range(size.tails)
    ]
    return {
        "single_p50_ms": statistics.median(each.p50_ms for each in found),
        "single_p99_ms": statistics.median(each.p99_ms for each in found),
        "single_worst_p99_ms": max(each.p99_ms for each in found),
        "single_max_ms": max(each.max_ms for each in found),
    }


def _batch(started: Service, size: Size, prefix: str) -> Figures:
    used, began = started.processor_seconds(), started.acknowledged
    found = started.load(
        prefix=prefix,
        members=size.members,
        seconds=size.seconds,
        warmup_seconds=size.warmup_seconds,
        connections=BATCH_CONNECTIONS,
        batch=BATCH,
    )
    return {
        "batch_events_per_s": found.events_per_second,
        "batch_p99_ms": found.p99_ms,
        **_cost("batch", started, used, began),
    }


async def _stored(database: Database) -> tuple[int, int]:
    """Events paid, and points in all accounts less those in all postings (zero if the books are right)."""
    connection = await asyncpg.connect(database.url)
    try:
        events = await connection.fetchval(
            "SELECT count(*) FROM event WHERE json_array_length(answer -> 'effects') > 0"
        )
        points = await connection.fetchval(
            "SELECT (SELECT sum(available) FROM account) - (SELECT sum(amount) FROM posting)"
        )
    finally:
        await connection.close()
    return int(events), int(points)


def _check_stored(after: tuple[int, int], before: tuple[int, int], acknowledged: int) -> None:
    """A figure means nothing when what was acknowledged is not there."""
    if after[0] - before[0] != acknowledged or after[1] != 0:
        raise RuntimeError(
            f"{acknowledged} events were acknowledged, {after[0] - before[0]} are stored; accounts less postings: {after[1]}"
        )


def measure_growth(local: LocalServers, size: Size, told: Told) -> Figures:
    """The same load on few members and on many, in turns, each with the same history per member.

    Each turn begins with a checkpoint, after which the first change of every page writes the whole of it to the log. That is
    measured for itself, in the batches that settle it; the other figures are those of the half hour that follows.
    """
    databases = []
    for label, members in zip(("small", "large"), size.growth_members, strict=True):
        database = create_database(local, f"growth_{label}")
        told(f"{members:,} members with {members * size.growth_events_each:,} postings")
        began = time.monotonic()
        with service(database, size.processes) as started:
            fill(started, members=members, events_each=size.growth_events_each, tables=GROWTH_TABLES, told=told)
        told(f"loaded in {time.monotonic() - began:.0f} s")
        databases.append((label, members, database))
    found: dict[str, list[float]] = {}
    rate = 0.0
    for turn in range(size.growth_rounds):
        for label, members, database in databases:
            measured = _grown(database, members, size, f"growth{turn}", rate)
            rate = rate or measured.pop("rate")
            for key, value in measured.items():
                found.setdefault(f"growth_{label}_{key}", []).append(value)
            told(f"{members:,} members: " + ", ".join(f"{key} {value:,.1f}" for key, value in measured.items()))
    return {key: statistics.mean(values) for key, values in found.items()}


def _grown(database: Database, members: int, size: Size, prefix: str, rate: float) -> Figures:
    run(_checkpoint(database))
    resized = replace(size, members=members)
    with service(database, size.processes) as started:
        settling = replace(resized, seconds=size.growth_settle_seconds)
        unsettled = _batch(started, settling, f"{prefix}u")["batch_events_per_s"]
        single = _single(started, resized, f"{prefix}s")["single_events_per_s"]
        half = _half_rate(started, resized, f"{prefix}h", rate or single / 2)
        batch = _batch(started, resized, f"{prefix}b")["batch_events_per_s"]
    figures = {
        "single_events_per_s": single,
        "batch_events_per_s": batch,
        "single_p99_ms": half["single_p99_ms"],
        "single_worst_p99_ms": half["single_worst_p99_ms"],
        "unsettled_batch_events_per_s": unsettled,
    }
    return figures if rate else {**figures, "rate": single / 2}


async def _checkpoint(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("CHECKPOINT")
    await connection.close()


def can_simulate() -> bool:
    return subprocess.run([REWARDS, "program", "simulate", "--help"], capture_output=True, check=False).returncode == 0


def measure_simulation(size: Size, told: Told) -> Figures:
    """`rewards program simulate` over a file of a month of events, as a user runs it."""
    with tempfile.TemporaryDirectory(prefix="rewards-bench-") as directory:
        file = Path(directory, "events.jsonl")
        with file.open("wb") as out:
            out.writelines(_recorded(size))
        began = time.perf_counter()
        done = subprocess.run(
            [REWARDS, "program", "simulate", str(PROGRAM), "--events", str(file)], capture_output=True, check=False
        )
        seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"the simulation failed:\n{done.stderr.decode()[-2000:]}")
    told(f"{size.simulated_events:,} events in {seconds:.1f} s")
    return {
        "simulate_events_per_s": size.simulated_events / seconds,
        "simulate_million_seconds": seconds * 1_000_000 / size.simulated_events,
    }


def _recorded(size: Size) -> Any:
    """A line per event, evenly over a month."""
    beginning = datetime(2026, 10, 1, tzinfo=UTC)
    for number in range(size.simulated_events):
        at = beginning + timedelta(seconds=MONTH_SECONDS * number // size.simulated_events)
        one = event(number, who=name(member(number, size.members)), prefix=b"recorded")
        yield one[:-1] + b',"occurred_at":' + json.dumps(at.isoformat()).encode() + b"}\n"
