"""The command line as processes of their own: `run` for one that ends, `start` for one that is watched or killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Final, TypeAlias

from tests.service import SECRET_KEY

SERVER: Final = Path(__file__).with_name("command_server.py")
TIMEOUT_SECONDS: Final = 100

_one_at_a_time = threading.Lock()

Command: TypeAlias = Callable[..., Awaitable["Done"]]


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended."""

    returncode: int
    stdout: str
    stderr: str


def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """What every installation must set."""
    return {
        "PATH": os.environ["PATH"],
        "REWARDS_DATABASE_URL": database_url,
        "REWARDS_REDIS_URL": redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
    }


def run(*arguments: str, environment: dict[str, str], onto: IO[bytes] | None = None) -> Done:
    """Runs `rewards …` to its end, in a process forked from one that has imported it (`tests/command_server.py`).

    What it prints goes `onto` that file, and is then not told, or else into one of its own.
    """
    command = {"arguments": arguments, "environment": environment, "directory": str(Path.cwd())}
    with _one_at_a_time, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        channel, process = _server()
        files = [(onto or stdout).fileno(), stderr.fileno()]
        socket.send_fds(channel, [json.dumps(command).encode() + b"\n"], files)
        try:
            ended = channel.recv(16)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert ended, "the process that commands are forked from has ended"
        return Done(int(ended), _text(stdout), _text(stderr))


def rewards(database_url: str, redis_url: str) -> Command:
    """Runs `rewards …` to its end; the loop goes on meanwhile."""

    async def run_command(*arguments: str) -> Done:
        return await asyncio.to_thread(run, *arguments, environment=environment(database_url, redis_url))

    return run_command


async def start(database_url: str, redis_url: str, *arguments: str) -> asyncio.subprocess.Process:
    """A process that begins from nothing, as a shell would start it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from rewards.cli import main; main()", *arguments),
        env=environment(database_url, redis_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """One for the whole session: it ends when we do, because then its socket is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), str(theirs.fileno())], pass_fds=[theirs.fileno()], start_new_session=True
        )
    ours.settimeout(TIMEOUT_SECONDS)
    return ours, process


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
