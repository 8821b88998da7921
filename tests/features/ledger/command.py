"""The command line as a real process of its own."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.service import SECRET_KEY

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
        **os.environ,
        "REWARDS_DATABASE_URL": database_url,
        "REWARDS_REDIS_URL": redis_url,
        "REWARDS_SECRET_KEY": SECRET_KEY,
    }


def rewards(database_url: str, redis_url: str) -> Command:
    """Runs `rewards …` to its end."""

    async def run(*arguments: str) -> Done:
        process = await start(database_url, redis_url, *arguments)
        stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, stdout.decode(), stderr.decode())

    return run


async def start(database_url: str, redis_url: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from rewards.cli import main; main()", *arguments),
        env=environment(database_url, redis_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
