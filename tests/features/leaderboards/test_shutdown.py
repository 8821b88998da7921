"""A real process with an open stream ends at once when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.chaos.harness import Process
from tests.features.leaderboards.boards import Boards
from tests.service import SECRET_KEY

pytestmark = pytest.mark.slow


@pytest.fixture
def process(boards_url: str, redis_url: str) -> Iterator[Process]:
    made = Process(
        {"REWARDS_DATABASE_URL": boards_url, "REWARDS_REDIS_URL": redis_url, "REWARDS_SECRET_KEY": SECRET_KEY}
    )
    yield made
    made.kill()


def serve(process: Process, processes: int) -> None:
    """As an operator would."""
    command = [sys.executable, "-m", "rewards.cli", "serve", "--port", str(process.port), "--processes", str(processes)]
    process.running = subprocess.Popen(command, env={**os.environ, **process.environment})


@pytest.mark.parametrize("processes", [1, 2])
async def test_an_open_stream_does_not_hold_up_the_end(boards: Boards, process: Process, processes: int) -> None:
    await boards.project()
    serve(process, processes)
    assert process.running is not None
    await process.ready()
    headers = {"Authorization": f"Bearer {boards.live.server_key}"}
    async with (
        httpx.AsyncClient(base_url=process.url, headers=headers, timeout=20) as client,
        client.stream("GET", "/v1/leaderboards/shared/stream") as answer,
    ):
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        async for line in lines:
            if line == "event: snapshot":
                break
        began = time.monotonic()
        process.running.send_signal(signal.SIGTERM)
        async for _ in lines:  # until the service ends the answer
            pass
        async with asyncio.timeout(20):
            code = await asyncio.to_thread(process.running.wait)
    assert code == 0
    assert time.monotonic() - began < 10
