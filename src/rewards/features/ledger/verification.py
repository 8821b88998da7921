"""Proving a program's books: every invariant of the ledger, bucket by bucket, each bucket as it was at one moment.

The folds of all postings are compared in SQL, and spending is replayed against the lots that were open. Members about whom
that finds something are then gone through step by step, which explains it. What spans buckets is compared last, in one snapshot of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import snapshot
from rewards.domain.ids import id_floor
from rewards.features.ledger import queries
from rewards.features.ledger.budgets import Budgets, always_budgeted
from rewards.features.ledger.checks import CHECK_BUCKET, NAMES
from rewards.features.ledger.findings import Finding, Size
from rewards.features.ledger.histories import step_through
from rewards.features.ledger.spending import wrong_takers
from rewards.features.ledger.totals import ByCurrency, House, Totals, plan_for_bulk
from rewards.pipeline.load import rows
from rewards.pipeline.programs import Published

TRANSIT: Final = "transit nets to zero"
HOUSE: Final = "house totals are the sums of the accounts"
_RETAINED: Final = ("outbox", "event", "answer")


class Verification:
    """One run over a program. `buckets` first, then `each_bucket` to the end, then `house`."""

    def __init__(self, engine: AsyncEngine, published: Published) -> None:
        self._engine = engine
        self._program_id = published.program_id
        self._zone = published.program.zone
        self._budgets: Budgets | None = None
        self.size = Size()

    async def buckets(self) -> list[int]:
        """The buckets that hold anything; also reads what must be known before the first."""
        async with snapshot(self._engine) as connection:
            self._budgets = Budgets(
                self._zone,
                await self._counters(connection),
                always_budgeted(
                    [row.document for row in await rows(connection, queries.PUBLISHED_DOCUMENTS, self._program_id)]
                ),
            )
            return [row.bucket for row in await rows(connection, queries.BUCKETS_IN_USE, self._program_id)]

    async def each_bucket(self, buckets: list[int]) -> AsyncIterator[list[Finding]]:
        """What is wrong in each, in order."""
        for bucket in buckets:
            async with snapshot(self._engine) as connection:
                yield await self._bucket(connection, bucket)

    async def house(self) -> list[Finding]:
        """What spans buckets: transit, house totals, budgets."""
        assert self._budgets is not None, "buckets come first"
        house = House(self._engine, self._program_id)
        kept = await house.keep_closed_months()
        async with snapshot(self._engine) as connection:
            sums = await rows(connection, queries.ACCOUNT_SUMS, self._program_id)
            on_their_way = {
                row.currency: int(row.amount) for row in await rows(connection, queries.ON_THEIR_WAY, self._program_id)
            }
            counters = await self._counters(connection)
            totals = await house.until(connection, kept, datetime(9999, 1, 1, tzinfo=UTC))
        return [*_transit(sums, on_their_way), *_totals(sums, totals), *self._budgets.findings(counters)]

    async def _bucket(self, connection: AsyncConnection, bucket: int) -> list[Finding]:
        assert self._budgets is not None, "buckets come first"
        await plan_for_bulk(connection)
        floors = [await _floor(connection, table) for table in _RETAINED]
        found = [
            Finding(NAMES[row.number], row.member_id, row.subject, row.found, row.expected)
            for row in await rows(connection, CHECK_BUCKET, self._program_id, bucket, *floors)
        ]
        members = {finding.member for finding in found if finding.member is not None}
        members |= {member async for member in wrong_takers(connection, self._program_id, bucket)}
        steps = step_through(connection, self._program_id, bucket, sorted(members))
        found += [finding async for finding in steps]
        if sources := self._budgets.sources:
            self._budgets.add(await rows(connection, queries.ISSUED_BY_RULE, self._program_id, bucket, sources))
        [size] = await rows(connection, queries.BUCKET_SIZE, self._program_id, bucket)
        self.size += Size(size.members, size.transactions, size.postings)
        return found

    async def _counters(self, connection: AsyncConnection) -> dict[str, tuple[int, int]]:
        return {row.key: (row.used, row.total) for row in await rows(connection, queries.COUNTERS, self._program_id)}


async def _floor(connection: AsyncConnection, table: str) -> UUID:
    """The smallest id that retention has left of a table."""
    [oldest] = await rows(connection, queries.FIRST_PARTITION, table)
    year, month = oldest.name.split("_")[-2:]
    return id_floor(datetime(int(year), int(month), 1, tzinfo=UTC))


def _transit(sums: Any, on_their_way: Mapping[str, int]) -> list[Finding]:
    gone = {row.currency: int(row.in_transit) for row in sums}
    return [
        Finding(TRANSIT, None, currency, str(gone.get(currency, 0)), f"{on_their_way.get(currency, 0)} on their way")
        for currency in sorted({*gone, *on_their_way})
        if gone.get(currency, 0) != on_their_way.get(currency, 0)
    ]


def _totals(sums: Any, totals: ByCurrency) -> list[Finding]:
    found = []
    for row in sums:
        mine = totals.get(row.currency, Totals())
        found += [
            Finding(HOUSE, None, f"{row.currency} {name}", str(getattr(mine, name)), str(getattr(row, name)))
            for name in ("issued", "redeemed", "expired", "revoked")
            if getattr(mine, name) != getattr(row, name)
        ]
        if mine.liability != row.position + row.in_transit:
            wallets = f"{row.position + row.in_transit} in wallets and on their way"
            found.append(Finding(HOUSE, None, f"{row.currency} liability", str(mine.liability), wallets))
    return found
