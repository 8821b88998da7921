"""The service as a process of its own on a loopback port, for clients that know nothing of it but an address and a key."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.features.segment.conftest import PROGRAM, Sender
from tests.service import SECRET_KEY, live, service_settings

HERE: Final = Path(__file__).parent
INSTALL_SECONDS: Final = 100


@dataclass(frozen=True)
class Served:
    """`known` reads what the service stored, and runs what came due: the process has no worker of its own."""

    base_url: str
    known: Sender

    @property
    def key(self) -> str:
        return self.known.live.server_key


@pytest.fixture(scope="session")
async def served(migrated_url: str, redis_url: str) -> AsyncIterator[Served]:
    environment = {
        **os.environ,
        "REWARDS_DATABASE_URL": migrated_url,
        "REWARDS_REDIS_URL": redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
        "REWARDS_LOCK_TIMEOUT_SECONDS": "0.2",
    }
    rewards = Path(sys.executable).with_name("rewards")
    async with live(service_settings(migrated_url, redis_url), PROGRAM) as running:
        process = await asyncio.create_subprocess_exec(
            *(rewards, "serve", "--port", "0", "--no-worker"), env=environment, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        base_url = await asyncio.wait_for(_listening(process.stderr), 30)
        # What it says later is read as well, so that it never waits for a reader.
        reading = asyncio.create_task(process.stderr.read())
        try:
            yield Served(base_url, Sender(running))
        finally:
            process.terminate()
            await process.wait()
            await reading


async def _listening(said: asyncio.StreamReader) -> str:
    """The address that the process says it listens on."""
    lines = []
    while line := (await said.readline()).decode():
        if line.startswith("Listening on "):
            return line.removeprefix("Listening on ").strip()
        lines.append(line)
    raise AssertionError("the service ended: " + "".join(lines))


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the clients of `package.json` installed beside it, exactly as its lock file says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm (Debian packages: nodejs, npm)")
    wanted = json.loads((HERE / "package-lock.json").read_text())["packages"]
    del wanted[""]
    installed = HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or json.loads(installed.read_text())["packages"].keys() != wanted.keys():
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return node
