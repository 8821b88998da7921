"""Processes of the service, and clients that do not give up: each event is sent until it has been answered."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

ROOT: Final = Path(__file__).parents[2]
TRY_AGAIN: Final = frozenset({429, 503})
PATIENCE_SECONDS: Final = 60.0


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Process:
    """One process of the service on its port."""

    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, step: str = "never", times: int = 0) -> None:
        command = [sys.executable, "-m", "tests.chaos.doomed", step, str(times), str(self.port)]
        self.running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **self.environment})

    async def ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url) as client:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    try:
                        if (await client.get("/healthz")).status_code == 200:
                            return
                    except httpx.HTTPError:
                        assert self.running is not None
                        assert self.running.poll() in {None, -signal.SIGKILL}, "the service did not start"
                        if self.running.poll() is not None:
                            return
                    await asyncio.sleep(0.05)

    async def died(self) -> None:
        """Waits for the SIGKILL that it gave itself."""
        assert self.running is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            code = await asyncio.to_thread(self.running.wait)
        assert code == -signal.SIGKILL, f"it ended with {code}"

    def kill(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.kill()
            self.running.wait()

    def stop(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
            try:
                self.running.wait(15)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()


@dataclass
class Ledger:
    """What the clients were told. `answers` holds every answer by event id."""

    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    retry_after: list[str | None] = field(default_factory=list)

    def told(self, event: Mapping[str, Any], answer: dict[str, Any]) -> None:
        self.answers.setdefault(event["id"], []).append(answer)


async def insist(
    urls: Sequence[str], key: str, events: Sequence[Mapping[str, Any]], told: Ledger, *, offset: int = 0
) -> None:
    """One client: sends each event, in order, until the service has answered it; alternates between the processes."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
        for number, event in enumerate(events):
            async with asyncio.timeout(PATIENCE_SECONDS):
                attempt = 0
                while True:
                    url = urls[(number + offset + attempt) % len(urls)]
                    attempt += 1
                    try:
                        answer = await client.post(f"{url}/v1/events", json=event)
                    except httpx.HTTPError:
                        await asyncio.sleep(0.05)
                        continue
                    told.statuses[answer.status_code] = told.statuses.get(answer.status_code, 0) + 1
                    if answer.status_code == 200:
                        told.told(event, answer.json())
                        break
                    assert answer.status_code in TRY_AGAIN, answer.text
                    told.retry_after.append(answer.headers.get("retry-after"))
                    await asyncio.sleep(0.1)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that other tasks bring about."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for are answers from another process
            await asyncio.sleep(0.01)


def repeated(events: Sequence[Mapping[str, Any]], clients: int) -> Iterator[list[Mapping[str, Any]]]:
    """The same events for several clients, each beginning elsewhere: everything is repeated and much is raced."""
    for client in range(clients):
        start = client * len(events) // (2 * clients)
        yield [*events[start:], *events[:start]]
