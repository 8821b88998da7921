"""House totals: what the program has issued, redeemed, expired and revoked, derived from postings.

A hot row of totals would cost every award; instead closed months are summed once and kept. A transaction belongs to the
moment in its id: the wall clock when it was booked, in UTC. In a sandbox, whose clock may be moved, it belongs to its
`recorded_at`, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.partitions import month_start
from rewards.db.transact import reading, snapshot, transact
from rewards.domain.ids import id_floor
from rewards.features.ledger import queries
from rewards.pipeline.load import rows

JOB: Final = "house_totals"
SETTLED_AFTER: Final = timedelta(hours=1)
"""Ids are taken at the beginning of a transaction. After this no transaction of a month can still be under way."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Net movements of one currency: refunds lower `redeemed`. `expired` is the breakage."""

    issued: int = 0
    redeemed: int = 0
    expired: int = 0
    revoked: int = 0

    @property
    def liability(self) -> int:
        """What the house owes: all wallets less their debt, and what is on its way between members."""
        return self.issued - self.redeemed - self.expired - self.revoked

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.issued + other.issued,
            self.redeemed + other.redeemed,
            self.expired + other.expired,
            self.revoked + other.revoked,
        )


ByCurrency: TypeAlias = Mapping[str, Totals]


def added(parts: Iterable[ByCurrency]) -> dict[str, Totals]:
    """The sum by currency."""
    sums: dict[str, Totals] = {}
    for part in parts:
        for currency, totals in part.items():
            sums[currency] = sums.get(currency, Totals()) + totals
    return sums


class House:
    """The totals of one program. `kept` are the closed months already summed, by `2026-10`."""

    def __init__(self, engine: AsyncEngine, program_id: int) -> None:
        self._engine = engine
        self._program_id = program_id

    async def between(self, start: datetime | None, end: datetime) -> tuple[dict[str, Totals], dict[str, Totals]]:
        """What was until `start` (nothing when None), and what came from there until `end`, exclusive."""
        if await self._sandbox():
            async with snapshot(self._engine) as connection:
                before = await self._recorded(connection, None, start) if start is not None else {}
                return before, await self._recorded(connection, start, end)
        kept = await self.keep_closed_months()
        async with snapshot(self._engine) as connection:
            until_end = await self.until(connection, kept, end)
            before = await self.until(connection, kept, start) if start is not None else {}
        return before, added((until_end, {currency: _negative(totals) for currency, totals in before.items()}))

    async def until(
        self, connection: AsyncConnection, kept: Mapping[str, ByCurrency], end: datetime
    ) -> dict[str, Totals]:
        """Everything booked before `end`: the months kept, and the rest from the postings."""
        months = {name: totals for name, totals in kept.items() if _month_end(name) <= end}
        start = max(map(_month_end, months), default=None)
        return added((*months.values(), await self._booked(connection, start, end)))

    async def keep_closed_months(self) -> dict[str, ByCurrency]:
        """Sums the months that closed since the last time, one after the other, and keeps them. Returns all."""
        async with reading(self._engine) as connection:
            [moment] = await rows(connection, queries.NOW)
            kept = _decoded(await rows(connection, queries.KEPT_TOTALS, self._program_id, JOB))
            first = await rows(connection, queries.FIRST_PARTITION, "transaction")
        month = _month(first[0].name[-7:].replace("_", "-")) if first and first[0].name else None
        while month is not None and month_start(month, 1) + SETTLED_AFTER < moment.now:
            name = f"{month:%Y-%m}"
            following = month_start(month, 1)
            if name not in kept:
                async with snapshot(self._engine) as connection:
                    kept[name] = await self._booked(connection, month, following)
                await self._keep(name, kept[name])
            month = following
        return kept

    async def _keep(self, name: str, totals: ByCurrency) -> None:
        state = msgspec.json.encode({name: {currency: asdict(of) for currency, of in totals.items()}}).decode()
        arguments = (self._program_id, JOB, state)
        await transact(self._engine, lambda connection: connection.exec_driver_sql(queries.KEEP_TOTALS, arguments))

    async def _sandbox(self) -> bool:
        async with reading(self._engine) as connection:
            [program] = await rows(connection, queries.PROGRAM_KIND, self._program_id)
        return bool(program.kind == "sandbox")

    async def _booked(self, connection: AsyncConnection, start: datetime | None, end: datetime) -> dict[str, Totals]:
        floor = id_floor(start or datetime(1970, 1, 1, tzinfo=UTC))
        await plan_for_bulk(connection)
        return _totals(await rows(connection, queries.TOTALS_BY_ID, self._program_id, floor, id_floor(end)))

    async def _recorded(self, connection: AsyncConnection, start: datetime | None, end: datetime) -> dict[str, Totals]:
        await plan_for_bulk(connection)
        return _totals(await rows(connection, queries.TOTALS_BY_RECORDED_AT, self._program_id, start, end))


async def plan_for_bulk(connection: AsyncConnection) -> None:
    """For the rest of this transaction. Estimates about rows written since the last ANALYZE are poor, and where they are too
    low, a nested loop over a month of postings takes a hundred times as long as a hash join."""
    await connection.exec_driver_sql("SET LOCAL work_mem = '64MB'")
    await connection.exec_driver_sql("SET LOCAL enable_nestloop = off")


def _totals(found: Iterable[Any]) -> dict[str, Totals]:
    return {row.currency: Totals(*map(int, row[1:])) for row in found}


def _decoded(found: Iterable[Any]) -> dict[str, ByCurrency]:
    return {
        name: {currency: Totals(**totals) for currency, totals in by_currency.items()}
        for row in found
        for name, by_currency in row.state.items()
    }


def _negative(totals: Totals) -> Totals:
    return Totals(-totals.issued, -totals.redeemed, -totals.expired, -totals.revoked)


def _month(name: str) -> datetime:
    year, month = name.split("-")
    return datetime(int(year), int(month), 1, tzinfo=UTC)


def _month_end(name: str) -> datetime:
    return month_start(_month(name), 1)
