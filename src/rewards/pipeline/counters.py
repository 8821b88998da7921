"""Shared counters: read before deciding, claimed after it and before any write, locked in key order.

Deciding is optimistic. Where a claim does not fit, the batch is rolled back and decided again with the counters locked
right after the members, item by item, so that the last point of a budget is paid and not one more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.outcome import Reservation
from rewards.domain.play.budgets import counter_key
from rewards.domain.program.compiled import Program
from rewards.pipeline import queries
from rewards.pipeline.load import rows


class CountersShort(Exception):
    """A claim did not fit. The batch rolls back and is decided again with these counters locked."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(keys)))
        self.keys = keys


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


async def claim(connection: AsyncConnection, program_id: int, reservations: Iterable[Reservation]) -> None:
    """Adds the reservations of a batch to their counters, or raises `CountersShort`."""
    amounts: dict[str, int] = {}
    totals: dict[str, int] = {}
    for reservation in reservations:
        amounts[reservation.key] = amounts.get(reservation.key, 0) + reservation.amount
        totals[reservation.key] = reservation.total
    if not amounts:
        return
    keys = sorted(amounts)
    granted = await rows(
        connection,
        queries.CLAIM_COUNTERS,
        program_id,
        keys,
        [amounts[key] for key in keys],
        [totals[key] for key in keys],
    )
    short = frozenset(keys) - {row.key for row in granted}
    if short:
        raise CountersShort(short)
