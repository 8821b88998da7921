"""Shared counters: read before deciding, claimed with the writes after the members are locked, in key order.

Where a claim does not fit, nothing is written and the batch is decided again with the counters locked right after the
members, item by item, so that the last point of a budget is paid and not one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.play.budgets import counter_key
from rewards.domain.program.compiled import Program
from rewards.pipeline import queries
from rewards.pipeline.load import rows
from rewards.pipeline.write_batch import Row, Rows, Writes


def candidate_keys(program: Program, moments: Iterable[datetime]) -> frozenset[str]:
    """The counters that events of these moments may claim."""
    budgeted = [(rule.key, rule.budget) for rule in program.rules.values() if rule.budget is not None]
    if not budgeted:
        return frozenset()
    return frozenset(counter_key(key, budget, moment, program.zone) for moment in moments for key, budget in budgeted)


async def read_counters(
    connection: AsyncConnection, program_id: int, keys: frozenset[str], *, lock: bool
) -> dict[str, int]:
    """What is used of each; zero for a counter that does not exist yet."""
    if not keys:
        return {}
    wanted = sorted(keys)
    sql = queries.LOCK_COUNTERS if lock else queries.READ_COUNTERS
    used = dict.fromkeys(wanted, 0)
    used.update({row.key: row.used for row in await rows(connection, sql, program_id, wanted)})
    return used


def _claims(writes: Writes) -> Iterator[Row]:
    amounts: dict[str, int] = {}
    totals: dict[str, int] = {}
    for decided in writes.decided:
        for reservation in decided.outcome.reservations if decided.outcome is not None else ():
            amounts[reservation.key] = amounts.get(reservation.key, 0) + reservation.amount
            totals[reservation.key] = reservation.total
    for key, amount in amounts.items():
        yield key, amount, totals[key]


CLAIMS: Final = "claims"
"""The check that fails where a budget is short."""

ROWS: Final = (
    # In key order. What does not fit is not written, and then nothing is.
    Rows(
        name=CLAIMS,
        columns=(("key", "text"), ("amount", "bigint"), ("total", "bigint")),
        sql="INSERT INTO counter (program_id, key, used, total) SELECT $1, key, amount, total FROM :rows"
        " WHERE amount <= total ORDER BY key"
        " ON CONFLICT (program_id, key) DO UPDATE SET used = counter.used + excluded.used, total = excluded.total"
        " WHERE counter.used + excluded.used <= excluded.total RETURNING 1",
        collect=_claims,
        exact=True,
    ),
)
