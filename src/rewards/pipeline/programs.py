"""The published program of each program id, compiled and kept until its revision changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db import tables
from rewards.db.transact import snapshot
from rewards.domain.errors import RewardsError
from rewards.domain.program.compiled import Program
from rewards.domain.program.sealing import Counting, sealed
from rewards.pipeline.identity import Identity, WrongSecretKey, unwrap_secret


class NothingPublished(RewardsError):
    """The program has no published version yet."""

    code = "nothing-published"


UNREADABLE: Final = (WrongSecretKey, NothingPublished, ValueError)
"""What loading a program raises when something is wrong with this one: its key, or its document. Others are not concerned."""


@dataclass(frozen=True, slots=True)
class Published:
    """A compiled version with the program's identity. `revision` rises with every publication, pause and resume."""

    program_id: int
    key: str
    revision: int
    program: Program
    identity: Identity
    sandbox: bool


class Programs:
    """Compiled programs by id. `refresh` is called when a batch meets a newer revision; compiling runs in a thread."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        secret_key: bytes,
        compiler: Callable[[dict[str, Any], int, frozenset[str]], Program],
    ) -> None:
        self._engine = engine
        self._secret_key = secret_key
        self._compile = compiler
        self._current: dict[int, Published] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    async def get(self, program_id: int) -> Published:
        """The newest version known here. Raises `NothingPublished`."""
        return self._current.get(program_id) or await self.refresh(program_id)

    def at_hand(self, program_id: int) -> Published | None:
        """The newest version known here, if there is one."""
        return self._current.get(program_id)

    async def refresh(self, program_id: int, *, at_least: int = 0) -> Published:
        """Loads and compiles the published version unless one of at least this revision is at hand."""
        async with self._locks.setdefault(program_id, asyncio.Lock()):
            known = self._current.get(program_id)
            if known is not None and known.revision >= at_least > 0:
                return known
            fresh = await self._load(program_id)
            self._current[program_id] = fresh
            return fresh

    async def _load(self, program_id: int) -> Published:
        program, version, pause = tables.program, tables.program_version, tables.rule_pause
        async with snapshot(self._engine) as connection:
            row = (
                await connection.execute(
                    select(
                        program.c.key,
                        program.c.kind,
                        program.c.secret,
                        program.c.revision,
                        program.c.boards,
                        version.c.number,
                        version.c.document,
                    )
                    .join(version, (version.c.program_id == program.c.id) & (version.c.number == program.c.published))
                    .where(program.c.id == program_id)
                )
            ).one_or_none()
            if row is None:
                raise NothingPublished("the program has no published version; publish one first")
            paused = frozenset(
                (await connection.execute(select(pause.c.rule).where(pause.c.program_id == program_id))).scalars()
            )
        compiled = await asyncio.to_thread(self._compile, _plain(row.document), row.number, paused)
        if compiled.boards is not None:
            until = {key: counting.sealed_until for key, counting in countings(row.boards).items()}
            compiled = replace(compiled, boards=sealed(compiled.boards, until))
        return Published(
            program_id=program_id,
            key=row.key,
            revision=row.revision,
            program=compiled,
            identity=Identity(unwrap_secret(self._secret_key, row.secret)),
            sandbox=row.kind == "sandbox",
        )


def countings(stored: Any) -> dict[str, Counting]:
    """What the row of a program says of its boards."""
    return msgspec.convert(_plain(stored), dict[str, Counting])


def _plain(document: Any) -> dict[str, Any]:
    plain = msgspec.json.decode(document) if isinstance(document, str | bytes) else document
    assert isinstance(plain, dict)
    return plain
