"""Writing a batch: every table's rows as one array, folded into one statement of data-modifying CTEs.

Slices register what they write as `Rows`. One statement means one round trip, and PostgreSQL runs all of its parts on one
snapshot; no part reads what another writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.driver import fetch
from rewards.domain.ledger.accounts import Account, Hold, Lot
from rewards.domain.program.compiled import Program
from rewards.domain.state import MemberState
from rewards.pipeline.identity import Identity
from rewards.pipeline.submission import Decided


@dataclass(slots=True)
class Writes:
    """All that a batch changes. For rows that change, only their last version within the batch is kept."""

    program_id: int
    program: Program
    identity: Identity
    decided: list[Decided] = field(default_factory=list)
    members: dict[UUID, MemberState] = field(default_factory=dict)
    accounts: dict[tuple[UUID, str], Account] = field(default_factory=dict)
    lots: dict[tuple[UUID, UUID], Lot] = field(default_factory=dict)
    holds: dict[tuple[UUID, UUID], Hold] = field(default_factory=dict)
    reversed: dict[tuple[UUID, UUID], int] = field(default_factory=dict)

    def add(self, decided: Decided) -> None:
        self.decided.append(decided)
        outcome = decided.outcome
        if outcome is None:
            return
        member = outcome.state.id
        self.members[member] = outcome.state
        for currency, account in outcome.accounts.items():
            self.accounts[member, currency] = account
        for lot_id, lot in outcome.lots.items():
            self.lots[member, lot_id] = lot
        for hold_id, hold in outcome.holds.items():
            self.holds[member, hold_id] = hold
        for transaction, amount in outcome.reversed.items():
            self.reversed[member, transaction] = amount


Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Rows:
    """What one intent writes: `collect` gives a row per record, in the order of `columns` (name, PostgreSQL type).

    In `sql`, `$1` is the program and `:rows` stands for the rows as a table with these columns. The rows travel as an
    array of the composite type `row_type`, which a migration makes; when the columns change, so does its name by way of
    `version`, and the service before and after can run side by side.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    sql: str
    collect: Callable[[Writes], Iterable[Row]]
    version: int = 1

    @property
    def row_type(self) -> str:
        return f"written_{self.name}" if self.version == 1 else f"written_{self.name}_{self.version}"


def insert(table: str, columns: Sequence[tuple[str, str]]) -> str:
    """The statement that inserts the rows as they are, with the program in front."""
    names = ", ".join(name for name, _ in columns)
    return f"INSERT INTO {table} (program_id, {names}) SELECT $1, {names} FROM :rows"


MEMBER_COLUMNS = (("bucket", "smallint"), ("member_id", "uuid"))


@lru_cache(maxsize=512)
def _statement(parts: tuple[Rows, ...]) -> str:
    """The folded statement for these parts; the text is stable, so that the driver prepares it once."""
    # One array of rows per table: an array per column would cost the driver a look at every single value.
    ctes = [
        f"{part.name} AS ({part.sql.replace(':rows', f'unnest(${position}::{part.row_type}[]) AS r')})"
        for position, part in enumerate(parts, start=2)
    ]
    return "WITH " + ",\n".join(ctes) + "\nSELECT 1"


async def write(connection: AsyncConnection, parts: Sequence[Rows], writes: Writes) -> None:
    """Writes everything at once. Raises `DBAPIError` as the driver reports it; nothing is committed here."""
    used: list[Rows] = []
    arguments: list[Any] = [writes.program_id]
    for part in parts:
        rows = list(part.collect(writes))
        if rows:
            used.append(part)
            arguments.append(rows)
    if used:
        await fetch(connection, _statement(tuple(used)), *arguments)
