"""`rewards local` as a person uses it: starts, earns, stops, starts again, survives being killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
from tests.chaos.harness import free_port
from tests.service import SECRET_KEY

from rewards.local import LocalServers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT: Final = Path(__file__).parents[2]
EVENT: Final = {"type": "product_viewed", "properties": {"category": "audio", "dwell_seconds": 42}}
READY_SECONDS: Final = 60


class Running:
    """One `rewards local` and what it has printed so far."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.printed: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rewards.cli", "local", "--directory", str(directory)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._welcomed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            if "Stop with Ctrl-C" in line:
                self._welcomed.set()

    def welcomed(self) -> None:
        assert self._welcomed.wait(READY_SECONDS), "".join(self.printed)

    def rest(self) -> list[str]:
        """All that it has printed, now that it has ended."""
        self._reader.join()
        return self.printed

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "local.json").read_text())
        return found

    def send(self, **event: str) -> dict[str, Any]:
        facts = self.facts
        answer = httpx.post(
            f"{facts['base_url']}/v1/events",
            json={**EVENT, **event},
            headers={"Authorization": f"Bearer {facts['server_key']}"},
        )
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: signal.Signals) -> int:
        """Sends the signal and waits; fails when any process of its family outlives it."""
        family = self.children()
        self.process.send_signal(how)
        code = self.process.wait(30)
        gone, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, f"left behind: {alive}, ended: {gone}"
        return code


@contextmanager
def running(directory: Path, **environment: str) -> Iterator[Running]:
    started = Running(directory, {"REWARDS_PORT": str(free_port()), **environment})
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


def test_it_starts_earns_and_keeps_its_data(server_directory: Path) -> None:
    directory = server_directory / "local"
    with running(directory) as first:
        first.welcomed()
        assert stat.S_IMODE((directory / "local.json").stat().st_mode) == 0o600
        assert set(first.facts) == {"base_url", "server_key", "public_key", "database_url", "redis_url"}
        printed = "".join(first.printed)
        assert first.facts["server_key"] in printed
        assert '"amount": 5' in printed
        earned = first.send(id="evt-1", member="alice")
        assert earned["balances"]["points"]["available"] == 5

        with running(directory) as second:
            assert second.process.wait(30) == 1
            assert f"already running on {directory}" in "".join(second.printed)

        facts = first.facts
        given = {
            "REWARDS_DATABASE_URL": facts["database_url"],
            "REWARDS_REDIS_URL": facts["redis_url"],
            "REWARDS_SECRET_KEY": (directory / "secret_key").read_text(),
        }
        with running(directory, **given) as told_where:  # from the terminal in which somebody uses the commands
            assert told_where.process.wait(30) == 1
            assert f"already running on {directory}" in "".join(told_where.printed)
        assert first.facts == facts

        assert first.end(signal.SIGINT) == 0

    with running(directory) as again:
        again.welcomed()
        assert again.facts["server_key"] in printed
        assert again.send(id="evt-1", member="alice")["status"] == "duplicate"
        again.end(signal.SIGKILL)

    with running(directory) as after_the_crash:
        after_the_crash.welcomed()
        assert after_the_crash.send(id="evt-1", member="alice")["effects"] == earned["effects"]
        after_the_crash.process.send_signal(signal.SIGTERM)  # somebody is impatient
        assert after_the_crash.end(signal.SIGTERM) == 0
        assert after_the_crash.rest()[-1] == "Stopped. The data is kept; run it again to go on.\n"
        assert "Traceback" not in "".join(after_the_crash.printed)


def test_servers_of_ones_own_replace_the_embedded_ones(server_directory: Path, servers: LocalServers) -> None:
    given = {
        "REWARDS_DATABASE_URL": servers.database_url,
        "REWARDS_REDIS_URL": servers.redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
    }
    with running(server_directory / "own", **given) as started:
        started.welcomed()
        assert started.facts["database_url"] == servers.database_url
        assert not any("postgres" in child.name() for child in started.children())
        assert started.send(id="evt-1", member="bob")["balances"]["points"]["available"] == 5
        assert started.end(signal.SIGTERM) == 0


def test_without_a_port_it_takes_the_next_free_one(server_directory: Path) -> None:
    started = time.monotonic()
    with running(server_directory / "ports", REWARDS_PORT="") as one:
        one.welcomed()
        with running(server_directory / "ports-two", REWARDS_PORT="") as two:
            two.welcomed()
            assert one.facts["base_url"] != two.facts["base_url"]
    assert time.monotonic() - started < READY_SECONDS
