"""Rules that wait: what a million of them cost while nothing is due, and how soon ten thousand are done that fall due at once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Final

import asyncpg

from benchmarks.installation import REWARDS, Database, create_database, process, run, service
from rewards.local import LocalServers

Figures = dict[str, float]
Told = Callable[[str], None]

DELAY_SECONDS: Final = 10
BATCH: Final = 100
PATIENCE_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.05

PROGRAM: Final = f"""
rewards: 1
program: {{key: bench, timezone: UTC, late_window: 72h}}
currencies: {{points: {{}}}}
types: {{id: {{type: string, maxLength: 64}}}}
events:
  product_viewed: {{properties: {{product_id: id}}}}
  product_shared: {{}}
  order_placed: {{}}
  review_posted: {{}}
  app_opened: {{}}
groups: {{anything: [product_viewed, product_shared, order_placed, review_posted, app_opened]}}
rules:
  - {{key: at_once, on: anything, then: [{{earn: {{currency: points, amount: 1}}}}]}}
  - {{key: later, on: anything, quiet: {{for: {DELAY_SECONDS}s, of: anything}}, then: [{{earn: {{currency: points, amount: 1}}}}]}}
"""

_PENDING: Final = """
INSERT INTO due (program_id, bucket, member_id, key, due_at, name, payload)
SELECT $1, number % 256, gen_random_uuid(), gen_random_uuid(), now() + interval '1 year' * random() + interval '1 day', 'wake', '{}'
FROM generate_series(1, $2) AS number
"""
_FIRED: Final = "SELECT count(*) FROM transaction WHERE program_id = $1 AND source = 'rule:later'"
_DUE_IN: Final = "SELECT extract(epoch FROM max(due_at) - now())::float8 FROM due WHERE program_id = $1 AND due_at < now() + interval '1 h'"


def measure_timers(local: LocalServers, *, pending: int, due: int, seconds: float, told: Told) -> Figures:
    """Processor time of an idle service and its PostgreSQL without and with `pending` timers, and the seconds that a
    worker takes from its start until `due` timers of as many members, due before it started, are all paid."""
    database = create_database(local, "timers", PROGRAM.encode())
    without = _idle_share(database, seconds)
    run(_execute(database, _PENDING, database.program_id, pending))
    run(_execute(database, "VACUUM ANALYZE due"))
    with_them = _idle_share(database, seconds)
    told(f"idle processor: {without:.2%} with nothing pending, {with_them:.2%} with {pending:,}")
    fired = _fire(database, due)
    told(f"{due:,} due at once are paid {fired:.1f} s after the worker was started")
    return {
        "timers_idle_share_without": without,
        "timers_idle_share_with": with_them,
        "timers_due_at_once_seconds": fired,
    }


def _idle_share(database: Database, seconds: float) -> float:
    """The share of one processor that the service and its PostgreSQL use while nobody asks them anything."""
    with service(database, 1) as started:
        time.sleep(5)  # what starting costs is not meant
        before = sum(started.processor_seconds())
        time.sleep(seconds)
        return (sum(started.processor_seconds()) - before) / seconds


def _fire(database: Database, due: int) -> float:
    with service(database, 1, "--no-worker") as started:
        sent = 0
        while sent < due:
            found = started.load(prefix=f"due{sent}", members=due, seconds=2, connections=8, batch=BATCH)
            sent += found.acknowledged
    waiting = run(_value(database, _DUE_IN, database.program_id))
    time.sleep(max(0.0, waiting) + 1)
    expected = run(_value(database, "SELECT count(*) FROM due WHERE due_at <= now()"))
    began = time.monotonic()
    with process([REWARDS, "work"], env=database.environment(), stderr=subprocess.DEVNULL):
        while run(_value(database, _FIRED, database.program_id)) < expected:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise RuntimeError(f"not all of {expected:,.0f} timers fired within {PATIENCE_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        return (time.monotonic() - began) * due / expected


async def _execute(database: Database, sql: str, *arguments: object) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        await connection.execute(sql, *arguments)
    finally:
        await connection.close()


async def _value(database: Database, sql: str, *arguments: object) -> float:
    connection = await asyncpg.connect(database.url)
    try:
        return float(await connection.fetchval(sql, *arguments) or 0)
    finally:
        await connection.close()
