"""How fast a million recorded events are simulated: `python -m benchmarks.simulate_bench [--events N] [--members N]`.

Writes events of a 20-rule program (`simulate_program.yaml`) to a temporary file, simulates them as the command line does, and
prints seconds, events per second and the memory of all processes together.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rewards.features.programs.simulate import Written, simulate_file

PROGRAM = Path(__file__).with_name("simulate_program.yaml")
START = datetime(2026, 10, 1, tzinfo=UTC)
SPAN = timedelta(days=30)


def events(count: int, members: int) -> Iterator[dict[str, Any]]:
    """A month of events, nearly in time order."""
    chance = random.Random(1)
    for number in range(count):
        at = START + SPAN * number / count + timedelta(seconds=chance.randrange(-600, 600))
        kind, properties = _content(chance, number)
        yield {
            "id": f"e{number}",
            "type": kind,
            "member": f"m{chance.randrange(members)}",
            "occurred_at": at.isoformat(),
            "properties": properties,
            "context": {"device": "ios"},
        }


def _content(chance: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    product = f"p{chance.randrange(500)}"
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("product_viewed", {"product_id": product, "category": "video", "dwell_seconds": chance.randrange(90)}),
        ("product_shared", {"product_id": product, "network": "x"}),
        ("order_placed", {"order_id": f"o{number}", "total": chance.randrange(1, 200)}),
        ("review_posted", {"product_id": product, "stars": chance.randrange(1, 6)}),
        ("app_opened", {"screen": "home"}),
    ]
    return chance.choice(kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--processes", type=int)
    parser.add_argument(
        "--budget", action="store_true", help="a budget shared by all members: one process, in time order"
    )
    options = parser.parse_args()
    source = PROGRAM.read_bytes()
    if options.budget:
        source = source.replace(
            b"{key: view_audio, on", b"{key: view_audio, budget: {points: 1000000, currency: points, per: month}, on"
        )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "events.jsonl")
        with file.open("w") as out:
            out.writelines(json.dumps(event) + "\n" for event in events(options.events, options.members))
        began = time.perf_counter()
        found = simulate_file(file, Written(source), None, lambda *_: None, processes=options.processes)
        seconds = time.perf_counter() - began
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    processor = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
    print(f"events             {found.events:>12,}")
    print(f"members            {found.members:>12,}")
    print(f"seconds            {seconds:>12.1f}")
    print(f"processor seconds  {processor:>12.1f}   (writing the file included)")
    print(f"events per second  {found.events / seconds:>12,.0f}")
    print(f"largest process MB {max(own.ru_maxrss, others.ru_maxrss) / 1024:>12,.0f}")
    print(f"issued             {found.after.currencies['points'].issued:>12,}")


if __name__ == "__main__":
    main()
