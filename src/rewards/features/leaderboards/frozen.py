"""Results of closed periods, in PostgreSQL: they never change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.commands import MemberRef
from rewards.domain.ids import bucket_of
from rewards.domain.program.schedule import Period
from rewards.features.leaderboards import queries
from rewards.pipeline.load import rows


@dataclass(frozen=True, slots=True)
class Result:
    """A member's place in a frozen result. `position` counts from 1; `ref` is None once the member is erased."""

    position: int
    rank: int
    member: UUID
    score: float
    ref: str | None


@dataclass(frozen=True, slots=True)
class Frozen:
    """The result of a closed period, in one part of its board."""

    program_id: int
    board: str
    period: Period
    part: str
    closed_at: datetime
    total: int

    @classmethod
    async def of(
        cls, connection: AsyncConnection, program_id: int, board: str, period: str, part: str
    ) -> Frozen | None:
        """None while the period is open."""
        found = await rows(connection, queries.FROZEN_PERIOD, program_id, board, period, part)
        if not found:
            return None
        [row] = found
        return cls(program_id, board, Period(period, row.starts_at, row.ends_at), part, row.closed_at, row.total)

    async def page(self, connection: AsyncConnection, after: int, until: int) -> list[Result]:
        """The places after one position and up to another."""
        return await self._read(connection, queries.RESULT_PAGE, max(0, after), until)

    async def members(self, connection: AsyncConnection, members: Sequence[UUID]) -> list[Result]:
        """Those of the members that are ranked, in the order of the ranking."""
        buckets = [bucket_of(member) for member in members]
        return await self._read(connection, queries.RESULT_MEMBERS, buckets, list(members))

    async def before(self, connection: AsyncConnection, place: Result, *, shared: bool) -> Result | None:
        """The next better place: of the members of a shared rank, the one before all of them."""
        found = await self._read(connection, queries.RESULT_BETTER, (place.rank if shared else place.position) - 1)
        return found[0] if found else None

    async def _read(self, connection: AsyncConnection, sql: str, *arguments: Any) -> list[Result]:
        found = await rows(connection, sql, self.program_id, self.board, self.period.key, self.part, *arguments)
        return [Result(row.position, row.rank, row.member_id, row.score, _ref(row)) for row in found]


def _ref(row: Any) -> str | None:
    return str(MemberRef(row.kind, row.external_id)) if row.external_id is not None else None
