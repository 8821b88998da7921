"""Moves of a sandbox's clock that were asked for under a key: asked again, the clock goes to where it was to go, once."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.driver import fetch
from rewards.domain.errors import IdentityConflict

ASKED_MAX: Final = 100
"""So many keys of a sandbox are remembered, the newest."""

_LOCK: Final = """
INSERT INTO job_state (program_id, job, state, updated_at) VALUES ($1, 'clock', '[]', now())
ON CONFLICT (program_id, job) DO UPDATE SET updated_at = now()
RETURNING state
"""

_KEEP: Final = "UPDATE job_state SET state = $2, updated_at = now() WHERE program_id = $1 AND job = 'clock'"


class Move(Struct):
    """From where the clock stood by `seconds` to `target`; `moments` at which something fell due, once it is there."""

    key: str
    seconds: int
    target: datetime
    moments: int | None = None


async def move_of(connection: AsyncConnection, program_id: int, key: str, *, seconds: int, target: datetime) -> Move:
    """The move that the key stands for, `target` being where it would go now. Raises `IdentityConflict`."""
    known = await _locked(connection, program_id)
    digest = _digest(key)
    found = next((move for move in known if move.key == digest), None)
    if found is None:
        found = Move(digest, seconds, target)
        await _keep(connection, program_id, [*known[1 - ASKED_MAX :], found])
    elif found.seconds != seconds:
        raise IdentityConflict(
            "this Idempotency-Key was used before to advance by another length; nothing was changed. "
            "Another move needs another key"
        )
    return found


async def keep_moments(connection: AsyncConnection, program_id: int, key: str, moments: int) -> None:
    """The clock is there."""
    known = await _locked(connection, program_id)
    for move in known:
        if move.key == _digest(key):
            move.moments = moments
    await _keep(connection, program_id, known)


async def _locked(connection: AsyncConnection, program_id: int) -> list[Move]:
    [row] = await fetch(connection, _LOCK, program_id)
    plain: Any = msgspec.json.decode(row.state) if isinstance(row.state, str | bytes) else row.state
    return msgspec.convert(plain, list[Move])


async def _keep(connection: AsyncConnection, program_id: int, moves: list[Move]) -> None:
    await fetch(connection, _KEEP, program_id, msgspec.json.encode(moves).decode())


def _digest(key: str) -> str:
    return blake2b(key.encode(), digest_size=16).hexdigest()
