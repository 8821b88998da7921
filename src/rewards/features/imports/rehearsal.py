"""An import that is only tried: every row is decided as the real one would decide it, and nothing is written.

What earlier rows would have changed is known by their identity alone. That is enough: a member is imported once per source
and currency, so of several rows of one member at most one is decided.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.domain.errors import IdentityConflict
from rewards.domain.outcome import Status
from rewards.pipeline.dedup import check_same
from rewards.pipeline.dry_run import dry_run_all
from rewards.pipeline.intake import Addressed, submission
from rewards.pipeline.programs import Programs
from rewards.pipeline.submission import Receipt, Result, Submission

_GONE_WHEN_CLOSED: Final = ""
"""SQLite's name for a database in memory that moves to a nameless file when it grows: millions of rows may have been decided."""
_TABLE: Final = "CREATE TABLE decided (key BLOB PRIMARY KEY, fingerprint BLOB NOT NULL, refusal TEXT) WITHOUT ROWID"


class Kept(NamedTuple):
    """What would be kept of a row: what it said, and why it was refused if it was."""

    fingerprint: bytes
    refusal: str | None


class Rehearsal:
    """Answers as `Intake.many` would if all that was answered before had been written. A context manager."""

    def __init__(self, engine: AsyncEngine, programs: Programs) -> None:
        self._engine = engine
        self._programs = programs
        self._turn = asyncio.Lock()
        self._decided = sqlite3.connect(_GONE_WHEN_CLOSED)
        self._decided.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._decided.close()

    async def many(self, program_id: int, items: Sequence[Addressed]) -> list[Result]:
        """An answer or an error for each, in order. Calls take turns in the order in which they were made."""
        async with self._turn:
            published = await self._programs.get(program_id)
            submissions = [submission(published, item) for item in items]
            results: dict[Submission, Result] = {}
            fresh: dict[UUID, Kept] = {}
            left = submissions
            while left:
                first: dict[UUID, Submission] = {}
                waiting: list[Submission] = []
                for item in left:
                    assert item.key is not None, "rows have an identity"
                    kept = fresh.get(item.key) or self._kept(item.key)
                    if kept is not None:
                        results[item] = _repeated(item, kept)
                    elif item.key in first:
                        waiting.append(item)
                    else:
                        first[item.key] = item
                answers = await dry_run_all(self._engine, self._programs, program_id, list(first.values()))
                for (key, item), answer in zip(first.items(), answers, strict=True):
                    results[item] = answer
                    if isinstance(answer, Receipt):  # no error is kept: what repeats it is decided
                        refusal = answer.refusal["message"] if answer.refusal is not None else None
                        fresh[key] = Kept(item.fingerprint, refusal)
                left = waiting
            self._keep(fresh)  # only now: a call that the database interrupts is made again
            return [results[item] for item in submissions]

    def _kept(self, key: UUID) -> Kept | None:
        found = self._decided.execute("SELECT fingerprint, refusal FROM decided WHERE key = ?", (key.bytes,)).fetchone()
        return None if found is None else Kept(*found)

    def _keep(self, fresh: Mapping[UUID, Kept]) -> None:
        rows = [(key.bytes, kept.fingerprint, kept.refusal) for key, kept in fresh.items()]
        self._decided.executemany("INSERT INTO decided VALUES (?, ?, ?)", rows)


def _repeated(item: Submission, kept: Kept) -> Result:
    try:
        check_same(item, kept.fingerprint)
    except IdentityConflict as conflict:
        return conflict
    refusal = {"message": kept.refusal} if kept.refusal is not None else None
    return Receipt(Status.DUPLICATE, {}, replayed=True, refusal=refusal)
