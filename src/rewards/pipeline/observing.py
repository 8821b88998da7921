"""What the pipeline tells its operators: how large batches are, how long they take, what became of the commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rewards.domain.errors import RewardsError
from rewards.pipeline.submission import Receipt, Submission
from rewards.telemetry import span_attributes, tracer

SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
NOTED_SECONDS: Final = 1.0
COMMANDS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200)


class BatchMetrics:
    """Prometheus metrics and OpenTelemetry spans of the batches of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tracer = tracer("pipeline")
        self._seconds = Histogram(
            "rewards_batch_seconds", "From reading to the commit.", buckets=SECONDS_BUCKETS, registry=registry
        )
        self._sizes = Histogram(
            "rewards_batch_commands", "Commands that shared a transaction.", buckets=COMMANDS_BUCKETS, registry=registry
        )
        self._commands = Counter(
            "rewards_commands", "Commands by kind and what became of them.", ("command", "result"), registry=registry
        )
        self._outdated = Counter(
            "rewards_batches_outdated",
            "Batches that began anew with a lock, by what had changed since they were read.",
            ("check",),
            registry=registry,
        )
        self._waiting = Gauge(
            "rewards_lane_waiting_commands",
            "Commands that wait in the lanes.",
            registry=registry,
            multiprocess_mode="sum",
        )
        self._count_waiting: Callable[[], int] = int
        # `labels()` costs more than counting; kinds and results are few, so the children are kept.
        self._children: dict[tuple[str, str], Counter] = {}

    def watch_lanes(self, waiting: Callable[[], int]) -> None:
        self._count_waiting = waiting
        self._waiting.set_function(waiting)

    @asynccontextmanager
    async def noting_waiting(self) -> AsyncIterator[None]:
        """Inside, another process that is scraped in our place sees how many commands wait here, as of this second."""

        async def note() -> None:
            while True:
                self._waiting.set(self._count_waiting())
                await asyncio.sleep(NOTED_SECONDS)

        task = asyncio.create_task(note(), name="note-waiting")
        try:
            yield
        finally:
            task.cancel()
            self._waiting.set(0)

    @contextmanager
    def batch(self, size: int) -> Iterator[None]:
        """Times one batch."""
        started = time.perf_counter()
        with self._tracer.start_as_current_span("batch", attributes=span_attributes(commands=size)):
            yield
        self._seconds.observe(time.perf_counter() - started)
        self._sizes.observe(size)

    def outdated(self, check: str) -> None:
        self._outdated.labels(check).inc()

    def count(self, results: Mapping[Submission, Receipt | RewardsError]) -> None:
        for item, result in results.items():
            self._counter(type(item.command).__name__, _word(result)).inc()

    def _counter(self, command: str, result: str) -> Any:
        found = self._children.get((command, result))
        if found is None:
            found = self._children[command, result] = self._commands.labels(command, result)
        return found


def _word(result: Receipt | RewardsError) -> str:
    if isinstance(result, RewardsError):
        return result.code
    return result.refusal["code"] if result.refusal is not None else result.status.value
