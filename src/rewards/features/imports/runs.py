"""How far the import of a file has come, kept with the digest of its content, so that a killed one goes on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import reading, transact
from rewards.pipeline.load import rows

READ: Final = "SELECT rows_done, rows_failed, finished_at FROM import_run WHERE program_id = $1 AND digest = $2"

SAVE: Final = """
INSERT INTO import_run (program_id, digest, rows_done, rows_failed, started_at, finished_at)
VALUES ($1, $2, $3, $4, now(), CASE WHEN $5::bool THEN now() END)
ON CONFLICT (program_id, digest) DO UPDATE
SET rows_done = excluded.rows_done, rows_failed = excluded.rows_failed, finished_at = excluded.finished_at
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """`rows_done` lines after the first are durable, bad ones included, of which `rows_failed` were bad."""

    rows_done: int = 0
    rows_failed: int = 0
    finished: bool = False


def digest_of(path: Path, *, source: str, currency: str) -> bytes:
    """What makes it the same import: the content, what it is called, and the currency. Reads the whole file."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(b"\0".join((source.encode(), currency.encode(), content))).digest()


@dataclass(frozen=True, slots=True)
class Runs:
    """The progress of one import in the database."""

    engine: AsyncEngine
    program_id: int
    digest: bytes

    async def read(self) -> Progress:
        async with reading(self.engine) as connection:
            found = await rows(connection, READ, self.program_id, self.digest)
        if not found:
            return Progress()
        return Progress(found[0].rows_done, found[0].rows_failed, found[0].finished_at is not None)

    async def save(self, progress: Progress) -> None:
        row = (self.program_id, self.digest, progress.rows_done, progress.rows_failed, progress.finished)
        await transact(self.engine, lambda connection: connection.exec_driver_sql(SAVE, row))
