"""Waiting until all is written that was decided before now: by an earlier version, or before some moment."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.driver import fetch
from rewards.db.transact import reading, transact
from rewards.pipeline.attempt import DECIDED_SECONDS_MAX
from rewards.pipeline.programs import Published

log = structlog.get_logger()

PATIENCE_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.01

BARRIER: Final = "SELECT pg_current_xact_id()::text::bigint AS number"
"""The number of this transaction: whatever was read before now, and may still be written, has a smaller one."""

PASSED: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1 AS passed"
"""Whether every transaction with a smaller number has ended."""


async def all_written(engine: AsyncEngine, published: Published) -> bool:
    """Returns True once whatever was read before this call is written, or will be read anew; False if that takes too long.

    Who reads without a lock writes within `DECIDED_SECONDS_MAX`, or not at all, and looks at the clock for that when its
    transaction has a number; who locks first has one before it reads.
    """
    if not published.sandbox:  # of a sandbox everybody locks first
        await asyncio.sleep(DECIDED_SECONDS_MAX)
    [begun] = await transact(engine, lambda connection: fetch(connection, BARRIER))
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        async with reading(engine) as connection:
            [row] = await fetch(connection, PASSED, begun.number)
        if row.passed:
            return True
        if asyncio.get_running_loop().time() > deadline:
            log.warning("not_all_written", why="a transaction from before is still under way")
            return False
        await asyncio.sleep(PAUSE_SECONDS)
