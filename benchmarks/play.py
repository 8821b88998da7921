"""What playing costs: the same load on the bare program and on one that has badges, quests, streaks, boards and timers besides."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.installation import PROGRAM, create_database, service
from benchmarks.members import fill
from rewards.domain.program.read import read_document
from rewards.local import LocalServers

Figures = dict[str, float]
Told = Callable[[str], None]

PLAY: Final = Path(__file__).with_name("play.yaml")
CONNECTIONS: Final = 32
BATCH: Final = 100
BATCH_CONNECTIONS: Final = 8
ROUNDS: Final = 2


def full_program() -> bytes:
    """The benchmark's program with all that `play.yaml` adds, as JSON."""
    document: dict[str, Any] = dict(read_document(PROGRAM.read_bytes()).data)
    for section, more in read_document(PLAY.read_bytes()).data.items():
        known = document.get(section)
        if known is None:
            document[section] = more
        else:
            document[section] = [*known, *more] if isinstance(known, list) else {**known, **more}
    return msgspec.json.encode(document)


def measure_play(
    local: LocalServers,
    *,
    members: int,
    seconds: float,
    warmup_seconds: float,
    processes: int,
    told: Told,
) -> Figures:
    """Single events and batches on both, in turns, so that a machine that slows down does so for both."""
    sides = {"bare": PROGRAM.read_bytes(), "full": full_program()}
    databases = {label: create_database(local, f"play_{label}", source) for label, source in sides.items()}
    for label, database in databases.items():
        told(f"{members:,} members for the {label} program")
        with service(database, processes) as started:
            fill(started, members=members, events_each=1, told=told)
    found: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        for label, database in databases.items():
            with service(database, processes) as started:
                for what, connections, batch in (("single", CONNECTIONS, 1), ("batch", BATCH_CONNECTIONS, BATCH)):
                    measured = started.load(
                        prefix=f"{what}{turn}",
                        members=members,
                        seconds=seconds,
                        warmup_seconds=warmup_seconds,
                        connections=connections,
                        batch=batch,
                    )
                    found.setdefault(f"play_{label}_{what}_events_per_s", []).append(measured.events_per_second)
                    told(f"{label}, {what}: {measured.events_per_second:,.0f} events/s")
    return {key: statistics.mean(values) for key, values in found.items()}
