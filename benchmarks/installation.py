"""The service as a user starts it: durable PostgreSQL and Valkey, a migrated database, a program, a key, a process."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg
import msgspec
import psutil
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.load import Finding, Order
from rewards.db.engine import make_engine
from rewards.db.transact import transact
from rewards.domain.program.check import check_bytes
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.programs.store import Draft, add_version, create_program, publish_version
from rewards.local import LocalServers
from rewards.local.process import LAUNCH

T = TypeVar("T")

PROGRAM: Final = Path(__file__).with_name("program.yaml")
PROGRAM_KEY: Final = "bench"
REWARDS: Final = str(Path(sys.executable).with_name("rewards"))
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
PROCESSES: Final = min(4, os.cpu_count() or 1)
"""Serving processes: as many as there are cores. See docs/decisions/0011."""
WORN_LOG_MB: Final = 4_000
"""More than any phase writes between two checkpoints, but for the loading of a million members."""
POSTGRES_SETTINGS: Final = {
    "shared_buffers": f"{psutil.virtual_memory().total * 2 // 5 >> 20}MB",
    "effective_cache_size": f"{psutil.virtual_memory().total * 3 // 5 >> 20}MB",
    "min_wal_size": "4GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
}
"""As the README advises for an installation of this size: what is touched between two checkpoints stays in memory."""
_LISTENING: Final = re.compile(r"Listening on http://([^:/\s]+):(\d+)")


def run(work: Coroutine[Any, Any, T]) -> T:
    """One piece of asynchronous work, on a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def process(command: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block, and with us if we are killed. Ctrl-C is ours alone."""
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(signal.SIGTERM)), "-1", "-1", *command],
        start_new_session=True,
        **more,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
            try:
                started.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                started.kill()
        started.wait()


@contextmanager
def servers() -> Iterator[LocalServers]:
    """Durable servers in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="rewards-bench-") as directory:
        Path(directory).chmod(0o755)  # PostgreSQL may run as another account
        with LocalServers(Path(directory), durable=True, postgres_settings=POSTGRES_SETTINGS) as started:
            run(_wear_in(started.database_url))
            yield started


async def _wear_in(database_url: str) -> None:
    """Makes a new PostgreSQL one that has run for a while: with log segments that it can use again.

    Where there are none, each 16 MB of log are first written with zeros while every commit waits, here for 95 ms after every
    4,700 events, with pgbench as with the service.
    """
    connection = await asyncpg.connect(database_url)
    try:
        for _ in range(WORN_LOG_MB):
            await connection.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 1024 * 1024))")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database with the published program. `url` is its owner's."""

    url: str
    redis_url: str
    postgres_pid: int
    secret_key: str
    program_id: int = 0
    key: str = ""

    def environment(self) -> dict[str, str]:
        """For the processes of the service."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("REWARDS_")},
            "REWARDS_DATABASE_URL": self.url,
            "REWARDS_REDIS_URL": self.redis_url,
            "REWARDS_SECRET_KEY": self.secret_key,
            "REWARDS_LOG_LEVEL": "warning",
        }


def create_database(local: LocalServers, name: str, source: bytes | None = None) -> Database:
    """A database of its own in the running servers, with the benchmark's program or the one in `source`."""
    url = f"{local.database_url.rsplit('/', 1)[0]}/{name}"
    secret_key = secrets.token_hex(32)

    async def create() -> None:
        connection = await asyncpg.connect(local.database_url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    run(create())
    empty = Database(url, local.redis_url, local.postgres.pid, secret_key)
    subprocess.run([REWARDS, "migrate"], env=empty.environment(), check=True, capture_output=True)
    program_id, key = run(_publish(url, bytes.fromhex(secret_key), source or PROGRAM.read_bytes()))
    return replace(empty, program_id=program_id, key=key)


async def _publish(url: str, secret_key: bytes, source: bytes) -> tuple[int, str]:
    report = check_bytes(source)
    assert report.ok, report.errors

    async def store(connection: AsyncConnection) -> int:
        program_id = await create_program(connection, PROGRAM_KEY, secret_key=secret_key)
        draft = Draft(document=report.data, source=source.decode(), author="benchmarks", note=None)
        await publish_version(connection, program_id, await add_version(connection, program_id, draft))
        return program_id

    engine = make_engine(url, application_name="rewards-bench", role=None)
    try:
        program_id = await transact(engine, store)
        key, _ = await create_key(
            engine,
            secret_key,
            program_id=program_id,
            request=KeyRequest("benchmarks", scopes=("events", "read")),
            actor="benchmarks",
        )
    finally:
        await engine.dispose()
    return program_id, key


class Service:
    """A running `rewards serve`, its worker inside."""

    def __init__(self, database: Database, pid: int, host: str, port: int) -> None:
        self.database = database
        self.pid = pid
        self.host = host
        self.port = port
        self.acknowledged = 0
        """Events that this process has answered as processed."""

    def load(self, *, prefix: str, members: int, seconds: float, **how: Any) -> Finding:
        """What the load generator finds; see `Order`. Raises when anything was refused or left unanswered."""
        order = Order(
            host=self.host,
            port=self.port,
            key=self.database.key,
            prefix=prefix,
            members=members,
            seconds=seconds,
            first=self.acknowledged,
            **how,
        )
        with process(
            [sys.executable, "-m", "benchmarks.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as generator:
            out, _ = generator.communicate(msgspec.json.encode(order))
        if generator.returncode != 0:
            raise RuntimeError(f"the load generator ended with code {generator.returncode}")
        found = msgspec.json.decode(out, type=Finding)
        self.acknowledged += found.acknowledged
        if found.paid != found.acknowledged:
            raise RuntimeError(f"{found.acknowledged} events were processed, but {found.paid} paid")
        return found

    def peak_memory_mb(self) -> float:
        """The most that any one of its processes has had resident so far, in MB (10^6 bytes)."""
        return max(map(_peak_memory_mb, self._processes()))

    def processor_seconds(self) -> tuple[float, float]:
        """What the service has used so far, in all of its processes, and what PostgreSQL's processes have for it."""
        of_postgres = psutil.Process(self.database.postgres_pid).children()
        return sum(map(_used, self._processes())), sum(map(_used, of_postgres))

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.pid)
        return [parent, *parent.children()]


def _used(of: psutil.Process) -> float:
    times = of.cpu_times()
    return float(times.user + times.system)


def _peak_memory_mb(of: psutil.Process) -> float:
    status = Path(f"/proc/{of.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return float(of.memory_info().rss) / 1e6


@contextmanager
def service(database: Database, processes: int, *options: str) -> Iterator[Service]:
    """Starts it on a free port and stops it as an operator would, with SIGTERM."""
    command = [REWARDS, "serve", "--port", "0", "--processes", str(processes), *options]
    with process(command, env=database.environment(), stderr=subprocess.PIPE) as started:
        assert started.stderr is not None
        host, port = _address(started)
        yield Service(database, started.pid, host, port)


def _address(started: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Where it listens, from what it says. It says little else, so its pipe need not be read further."""
    assert started.stderr is not None
    said = b""
    deadline = time.monotonic() + START_SECONDS
    while (found := _LISTENING.search(said.decode(errors="replace"))) is None:
        ready, _, _ = select.select([started.stderr], [], [], max(0.0, deadline - time.monotonic()))
        more = os.read(started.stderr.fileno(), 4096) if ready else b""
        if not more:
            raise RuntimeError(f"the service did not start:\n{said.decode(errors='replace')}")
        said += more
    return found[1], int(found[2])


def port_and_password(url: str) -> tuple[str, str, str, str]:
    """User, password, host and port of a database URL."""
    parts = urlsplit(url)
    return parts.username or "", parts.password or "", parts.hostname or "", str(parts.port or 5432)
