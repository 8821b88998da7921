"""PostgreSQL's own limit on this machine: the smallest durable award that there can be, by pgbench.

One transaction of five statements on plain tables: the event, the transaction, two entries, the balance. Keys come
from sequences, nothing is read before it is written, and no statement is more than its row needs.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.installation import port_and_password, process, run
from rewards.local import LocalServers

DATABASE: Final = "pgbench_limit"
BALANCES: Final = 100_000
CLIENTS: Final = (1, 4, 8, 16, 32)
_TPS: Final = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)

TABLES: Final = f"""
CREATE TABLE balance (member bigint PRIMARY KEY, points bigint NOT NULL);
CREATE TABLE event (id bigserial PRIMARY KEY, member bigint NOT NULL, type text NOT NULL, properties jsonb NOT NULL,
                    recorded_at timestamptz NOT NULL);
CREATE TABLE award (id bigserial PRIMARY KEY, event_id bigint NOT NULL, member bigint NOT NULL, recorded_at timestamptz NOT NULL);
CREATE TABLE entry (award_id bigint, account bigint, amount bigint NOT NULL, PRIMARY KEY (award_id, account));
INSERT INTO balance SELECT number, 0 FROM generate_series(1, {BALANCES}) AS number;
"""

AWARD: Final = f"""
\\set member random(1, {BALANCES})
BEGIN;
INSERT INTO event (member, type, properties, recorded_at)
  VALUES (:member, 'product_viewed', '{{"category": "audio", "dwell_seconds": 42}}', now()) RETURNING id AS event \\gset
INSERT INTO award (event_id, member, recorded_at) VALUES (:event, :member, now()) RETURNING id AS award \\gset
INSERT INTO entry (award_id, account, amount) VALUES (:award, 0, -5);
INSERT INTO entry (award_id, account, amount) VALUES (:award, :member, 5);
UPDATE balance SET points = points + 5 WHERE member = :member;
COMMIT;
"""


def measure(
    local: LocalServers, *, seconds: int, clients: Sequence[int] = CLIENTS, told: Callable[[str], None]
) -> dict[int, float]:
    """Awards per second by number of clients. Leaves no database behind."""
    run(_create(local.database_url))
    try:
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory, "award.sql")
            script.write_text(AWARD)
            found = {}
            for count in clients:
                found[count] = _pgbench(local, script, clients=count, seconds=seconds)
                told(f"{count:>3} clients {found[count]:>9,.0f} awards/s")
            return found
    finally:
        run(_drop(local.database_url))


def _pgbench(local: LocalServers, script: Path, *, clients: int, seconds: int) -> float:
    user, password, host, port = port_and_password(local.database_url)
    command = [
        *(str(local.postgres.program("pgbench")), "-h", host, "-p", port, "-U", user),
        *("-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, os.cpu_count() or 1))),
        *("-T", str(seconds), "-f", str(script), DATABASE),
    ]
    environment = {**os.environ, "PGPASSWORD": password}
    with process(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        out, wrong = started.communicate()
    found = _TPS.search(out.decode())
    if started.returncode != 0 or found is None:
        raise RuntimeError(f"pgbench failed:\n{wrong.decode()}")
    return float(found[1])


async def _create(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    await connection.execute(f"CREATE DATABASE {DATABASE}")
    await connection.close()
    connection = await asyncpg.connect(f"{url.rsplit('/', 1)[0]}/{DATABASE}")
    await connection.execute(TABLES)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _drop(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP DATABASE {DATABASE}")
    await connection.close()
