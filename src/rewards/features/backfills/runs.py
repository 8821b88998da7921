"""One backfill as it is kept: what it fills in, how far it is, what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from rewards.features.backfills.queries import PREFIX

START: Final = (-1, UUID(int=0))
"""Before the first member."""


class Run(msgspec.Struct, frozen=True):
    """`metrics` are ids by key. `cursor` is the last member done: bucket and id.

    `members` counts those that there were when it began, `done` those it has seen to (new ones, too), `failed` those of
    them for whom it could not be decided. `achieved` counts badges' levels and tiers. `tries` is how often the next page was
    sent in vain.
    """

    state: Literal["running", "done", "cancelled"]
    metrics: dict[str, str]
    announce: bool
    rewards: bool
    actor: str
    members: int
    started_at: datetime
    version: int
    cursor: tuple[int, UUID] = START
    done: int = 0
    failed: int = 0
    changed: int = 0
    achieved: int = 0
    finished_at: datetime | None = None
    tries: int = 0


class Named(msgspec.Struct, frozen=True):
    """A run with its id."""

    id: UUID
    program_id: int
    run: Run

    @property
    def job(self) -> str:
        return job_name(self.id)


def job_name(identifier: UUID) -> str:
    """Under which name `job_state` keeps it."""
    return f"{PREFIX}{identifier}"


def named(program_id: int, row: Any) -> Named:
    """The run of a row of `job_state`."""
    state = msgspec.json.decode(row.state) if isinstance(row.state, str | bytes) else row.state
    return Named(UUID(row.job.removeprefix(PREFIX)), program_id, msgspec.convert(state, Run))


def encoded(run: Run) -> str:
    return msgspec.json.encode(run).decode()
