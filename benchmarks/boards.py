"""A large board: rebuilt from PostgreSQL, read over HTTP, and how soon a change is seen on it.

`python -m benchmarks.boards` by itself; a million members unless told otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import asyncpg
import msgspec

from benchmarks.installation import (
    PROCESSES,
    PROGRAM,
    REWARDS,
    Database,
    Service,
    create_database,
    run,
    servers,
    service,
)
from benchmarks.load import Connection, Run, percentile
from rewards.db.engine import make_engine
from rewards.domain.commands import MemberRef
from rewards.domain.ids import bucket_of
from rewards.domain.program.read import read_document
from rewards.local import LocalServers
from rewards.pipeline.codec import encode_state
from rewards.pipeline.load import unknown_member
from rewards.pipeline.programs import Programs
from rewards.service import compiled

Figures = dict[str, float]
Told = Callable[[str], None]

MEMBERS: Final = 1_000_000
SECONDS: Final = 10.0
CONNECTIONS: Final = 32
PROBES: Final = 300
PROBE_SECONDS_MAX: Final = 10.0
LOADED_MEMBERS: Final = 2_000
BOARD: Final = "points"
_GET: Final = "GET /v1/leaderboards/points{} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n"


def program() -> bytes:
    """The benchmark's program with a board, and an event that scores on it."""
    document: dict[str, Any] = dict(read_document(PROGRAM.read_bytes()).data)
    document["events"] = {**document["events"], "played": {"properties": {"points": {"type": "number"}}}}
    document["metrics"] = {**document.get("metrics", {}), "played_points": {"sum": "played", "value": "event.points"}}
    document["leaderboards"] = {BOARD: {"score": {"metric": "played_points", "operator": "sum"}}}
    return msgspec.json.encode(document)


def measure_boards(local: LocalServers, *, members: int, seconds: float, processes: int, told: Told) -> Figures:
    """Rebuild, reads at full and at half rate, and the time from an answer until it is seen, at half rate of events."""
    database = create_database(local, "boards", program())
    told(f"{members:,} members")
    run(_fill(database, members))
    figures: Figures = {"board_rebuild_s": _rebuild(database)}
    told(f"rebuilt in {figures['board_rebuild_s']:.1f} s")
    with service(database, processes) as started:
        for what, paths in _questions(members).items():
            rate, _ = run(_reads(started, paths, seconds=seconds, rate_per_second=0))
            _, p99 = run(_reads(started, paths, seconds=seconds, rate_per_second=rate / 2))
            figures |= {f"board_{what}_per_s": rate, f"board_{what}_p99_ms": p99}
            told(f"{what:<8}{rate:>8,.0f}/s, p99 {p99:.1f} ms at half rate")
        figures |= _visibility(started, seconds, told)
    return figures


async def _fill(database: Database, members: int) -> None:
    """Members with a score each, as the service would have written them."""
    engine = make_engine(database.url, application_name="rewards-bench", role=None)
    programs = Programs(engine, secret_key=bytes.fromhex(database.secret_key), compiler=compiled)
    published = await programs.get(database.program_id)
    await engine.dispose()
    assert published.program.boards is not None
    definition = published.program.boards.by_key[BOARD].id
    now, chance = datetime.now(UTC), random.Random(7)
    ids = [published.identity.member(MemberRef("user", _name(number))) for number in range(members)]
    connection = await asyncpg.connect(database.url)
    try:
        await connection.execute("SET synchronous_commit = off")
        nothing = encode_state(unknown_member(ids[0], MemberRef("user", _name(0))), ())
        rows: Iterator[Any] = (
            (database.program_id, bucket_of(member), member, "user", _name(number), "{}", nothing, 0, now, now)
            for number, member in enumerate(ids)
        )
        columns = ["program_id", "bucket", "member_id", "kind", "external_id", "attributes", "state", "seq"]
        await connection.copy_records_to_table("member", records=rows, columns=[*columns, "last_now", "created_at"])
        rows = (
            (
                *(
                    database.program_id,
                    bucket_of(member),
                    member,
                    BOARD,
                    "all_time",
                    "",
                    float(chance.randrange(members)),
                ),
                *(now - timedelta(microseconds=chance.randrange(10**9)), True, definition, now),
            )
            for member in ids
        )
        columns = ["program_id", "bucket", "member_id", "board", "period", "part", "score"]
        columns += ["achieved_at", "shown", "definition", "updated_at"]
        await connection.copy_records_to_table("leaderboard_score", records=rows, columns=columns)
        await connection.execute("VACUUM ANALYZE member, leaderboard_score")
    finally:
        await connection.close()


def _name(number: int) -> str:
    return f"member-{number}"


def _rebuild(database: Database) -> float:
    """Seconds, with the start of the command."""
    began = time.monotonic()
    command = [REWARDS, "leaderboards", "rebuild", "--board", BOARD]
    subprocess.run(command, env=database.environment(), check=True, capture_output=True)
    return time.monotonic() - began


def _questions(members: int) -> dict[str, Callable[[], str]]:
    chance = random.Random(11)

    def somebody() -> str:
        return _name(chance.randrange(members))

    return {
        "top": lambda: "?limit=10",
        "rank": lambda: f"/members/{somebody()}",
        "around": lambda: f"/around/{somebody()}?radius=5",
    }


class Reads:
    """GETs on all connections: the next one when an answer has come, or at a rate, charged from when they were due."""

    def __init__(self, started: Service, path: Callable[[], str], rate_per_second: float) -> None:
        """Rate zero: a closed loop."""
        self._started = started
        self._path = path
        self._rate_per_second = rate_per_second
        self._idle: list[Connection] = []
        self._due: list[float] = []
        self.latencies: list[float] = []
        self.refused = 0
        self._open = True

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            host, port = self._started.host, self._started.port
            _, connection = await loop.create_connection(lambda: Connection(cast("Run", self)), host, port)
            self._idle.append(connection)
        began, sent = time.monotonic(), 0
        connections = list(self._idle)
        while (now := time.monotonic()) < began + seconds:
            if not self._rate_per_second:
                self._due = [now] * len(self._idle)
            while sent < (now - began) * self._rate_per_second:
                self._due.append(began + sent / self._rate_per_second)
                sent += 1
            self._send()
            await asyncio.sleep(0.001)
        self._open = False
        async with asyncio.timeout(10):
            while len(self._idle) < CONNECTIONS:  # noqa: ASYNC110 - they come back one by one
                await asyncio.sleep(0.01)
        for connection in connections:
            connection.close()

    def answered(self, connection: Connection, data: bytes) -> None:
        self.latencies.append(time.monotonic() - connection.due_at)
        self.refused += not data.startswith(b"HTTP/1.1 200")
        self._idle.append(connection)
        if not self._rate_per_second:
            self._due = [time.monotonic()]
        self._send()

    def lost(self, _: Connection) -> None:
        if self._open:
            raise RuntimeError("the service closed a connection")

    def _send(self) -> None:
        while self._due and self._idle and self._open:
            self._idle.pop().send(_GET.format(self._path(), self._started.database.key).encode(), self._due.pop(0))


async def _reads(
    started: Service, path: Callable[[], str], *, seconds: float, rate_per_second: float
) -> tuple[float, float]:
    """Answers per second, and the 99th percentile in milliseconds."""
    reads = Reads(started, path, rate_per_second)
    await reads.run(seconds)
    if reads.refused:
        raise RuntimeError(f"{reads.refused} reads were refused")
    return len(reads.latencies) / seconds, percentile(sorted(reads.latencies), 0.99)


def _visibility(started: Service, seconds: float, told: Told) -> Figures:
    """Milliseconds from an event's answer until its score is read, while others send events at half of what is possible."""
    full = started.load(prefix="full", members=LOADED_MEMBERS, seconds=seconds)
    waits: list[float] = []
    loading = threading.Thread(
        target=lambda: started.load(
            prefix="half", members=LOADED_MEMBERS, seconds=seconds + 5, rate_per_second=full.events_per_second / 2
        )
    )
    loading.start()
    connection = http.client.HTTPConnection(started.host, started.port, timeout=PROBE_SECONDS_MAX)
    for probe in range(PROBES):
        if not loading.is_alive():
            break
        waits.append(_probe(started, connection, probe))
    loading.join()
    connection.close()
    p99 = percentile(sorted(waits), 0.99)
    told(f"seen after {percentile(sorted(waits), 0.5):.1f} ms, p99 {p99:.1f} ms, {len(waits)} probes")
    return {"board_visible_p50_ms": percentile(sorted(waits), 0.5), "board_visible_p99_ms": p99}


def _probe(started: Service, connection: http.client.HTTPConnection, number: int) -> float:
    headers = {"Authorization": f"Bearer {started.database.key}", "Content-Type": "application/json"}
    name = f"probe-{number}"
    event = {"id": name, "type": "played", "member": name, "properties": {"points": 1}}
    connection.request("POST", "/v1/events", msgspec.json.encode(event), headers)
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status == 200, said
    answered = time.monotonic()
    while time.monotonic() < answered + PROBE_SECONDS_MAX:
        connection.request("GET", f"/v1/leaderboards/{BOARD}/members/{name}", headers=headers)
        if msgspec.json.decode(connection.getresponse().read())["rank"] is not None:
            return time.monotonic() - answered
    raise RuntimeError("a score was not seen")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boards", description=__doc__)
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    chosen = parser.parse_args()
    with servers() as local:
        measure_boards(
            local, members=chosen.members, seconds=chosen.seconds, processes=chosen.processes,
            told=lambda text: print(text, flush=True),
        )  # fmt: skip


if __name__ == "__main__":
    main()
