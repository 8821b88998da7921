"""Metrics of several serving processes, of which a scrape reaches one: each keeps its own in files, and shows all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from rewards.settings import keep_metrics_in

IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a directory that only we may enter is made in it
KINDS: Final = ("counter", "histogram", "gauge_sum")


class SharedRegistry(CollectorRegistry):
    """The metrics of this process are registered here; what it collects are those of all processes, added up."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._everybody: Collector = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        return self._everybody.collect()


def metrics_directory() -> Path:
    """A new directory for the metrics of several processes.

    In memory where there is such a place: the files are written at every request, and a page that is being written to
    a disk makes the next writer wait.
    """
    writable = IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="rewards-metrics-", dir=IN_MEMORY if writable else None))


def share_metrics(directory: Path, *, number: int) -> SharedRegistry:
    """From here on this process keeps its metrics in the directory, as process `number`.

    Call it before the first metric is made. A process that takes a dead one's place counts on from where that stood,
    so counters never go back.
    """
    keep_metrics_in(directory)
    for kind in KINDS:  # whole from the start, or a scrape of another process might find one that is being made
        MmapedDict(str(directory / f"{kind}_{number}.db")).close()  # type: ignore[no-untyped-call]
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
    return SharedRegistry(directory)
