"""Writing a batch: every table's rows as one array, folded into one statement of data-modifying CTEs.

Slices register what they write as `Rows`. One statement means one round trip, and PostgreSQL runs all of its parts on one
snapshot; no part reads what another writes.

The same statement locks the members in key order and refuses to write when what was decided on is no longer true: see
`Basis` and docs/decisions/0025. PostgreSQL evaluates the outer SELECT, and so the locks and checks, before the parts that it does
not mention; were it otherwise, everything would still be rolled back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.driver import fetch
from rewards.db.transact import sqlstate
from rewards.domain.ids import bucket_of
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
    unknown: frozenset[UUID] = frozenset()
    """Members of whom nothing is recorded yet: those among `members` get a row."""
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


@dataclass(frozen=True, slots=True)
class Basis:
    """What a batch was decided on: each member's version (None of one unknown), and until when it may be written at the latest.

    `until` is None where the members were locked before they were read.
    """

    versions: Mapping[UUID, int | None]
    until: datetime | None


class Outdated(Exception):
    """What was decided on is no longer true, and nothing was written. `check` names what failed."""

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check


MEMBERS_CHECK: Final = "members"
TIME_CHECK: Final = "time"
WRITE_REFUSED: Final = "RW001"
"""The SQLSTATE of `refuse_write`, the database's function that ends the statement."""

Row: TypeAlias = tuple[Any, ...]
NOTHING_ELSE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Rows:
    """What one intent writes: `collect` gives a row per record, in the order of `columns` (name, PostgreSQL type).

    In `sql`, `$1` is the program and `:rows` stands for the rows as a table with these columns. The rows travel as an
    array of the composite type `row_type`, which a migration makes; when the columns change, so does its name by way of
    `version`, and the service before and after can run side by side.

    Of an `exact` one every row must be written, or nothing is: its `sql` returns a row for each.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    sql: str
    collect: Callable[[Writes], Iterable[Row]]
    version: int = 1
    exact: bool = False

    @property
    def row_type(self) -> str:
        return f"written_{self.name}" if self.version == 1 else f"written_{self.name}_{self.version}"


def insert(table: str, columns: Sequence[tuple[str, str]], *, also: Mapping[str, str] = NOTHING_ELSE) -> str:
    """The statement that inserts the rows as they are, with the program in front and the expressions of `also` behind."""
    names = ", ".join(name for name, _ in columns)
    into = ", ".join(("program_id", names, *also))
    return f"INSERT INTO {table} ({into}) SELECT {', '.join(('$1', names, *also.values()))} FROM :rows"


MEMBER_COLUMNS = (("bucket", "smallint"), ("member_id", "uuid"))


_HELD: Final = """held AS MATERIALIZED (
    SELECT coalesce(m.xmin, made.xmin) IS NOT DISTINCT FROM k.version AS same
    FROM unnest($2::smallint[], $3::uuid[], $4::xid[]) AS k (bucket, member_id, version)
    LEFT JOIN LATERAL (
        SELECT m.xmin FROM member m
        WHERE k.version IS NOT NULL AND m.program_id = $1 AND m.bucket = k.bucket AND m.member_id = k.member_id
        FOR UPDATE
    ) m ON true
    LEFT JOIN LATERAL (
        SELECT m.xmin FROM member m
        WHERE k.version IS NULL AND m.program_id = $1 AND m.bucket = k.bucket AND m.member_id = k.member_id
        OFFSET 0
    ) made ON true
)"""
"""Locks in the order of the keys. After a wait `xmin` is that of the row as it is now. Who was unknown has no version and must
still have no row; one that has come is not waited for, since whoever holds it may wait for a budget that is locked here already.
"""

_CHECKS: Final = f"""SELECT CASE
    WHEN (SELECT count(*) FROM held WHERE same) < cardinality($3::uuid[]) THEN refuse_write('{MEMBERS_CHECK}')
    WHEN pg_current_xact_id() IS NULL OR clock_timestamp() > $5::timestamptz THEN refuse_write('{TIME_CHECK}')"""
"""In this order: the members first, then the number of the transaction, by which others know that it has begun, and only then
the clock."""

_FIRST_ROWS: Final = 6
"""The first parameter that holds rows."""


@lru_cache(maxsize=512)
def _statement(parts: tuple[Rows, ...]) -> str:
    """The folded statement for these parts; the text is stable, so that the driver prepares it once."""
    # One array of rows per table: an array per column would cost the driver a look at every single value.
    ctes = [_HELD]
    checks = [_CHECKS]
    for position, part in enumerate(parts, start=_FIRST_ROWS):
        ctes.append(f"{part.name} AS ({part.sql.replace(':rows', f'unnest(${position}::{part.row_type}[]) AS r')})")
        if part.exact:
            written = f"(SELECT count(*) FROM {part.name})"
            checks.append(f"    WHEN {written} < cardinality(${position}) THEN refuse_write('{part.name}')")
    return "WITH " + ",\n".join(ctes) + "\n" + "\n".join(checks) + "\nEND"


Send: TypeAlias = Callable[..., Awaitable[Any]]


async def write(
    connection: AsyncConnection, parts: Sequence[Rows], writes: Writes, basis: Basis, *, send: Send = fetch
) -> None:
    """Writes everything at once, or only checks that what was decided on is true where there is nothing to write.

    Raises `Outdated`, and `DBAPIError` as the driver reports it. Whether it commits is up to `send`.
    """
    members = sorted(basis.versions)
    versions = [basis.versions[member] for member in members]
    used: list[Rows] = []
    arguments: list[Any] = [writes.program_id, [bucket_of(each) for each in members], members, versions, basis.until]
    for part in parts:
        rows = list(part.collect(writes))
        if rows:
            used.append(part)
            arguments.append(rows)
    try:
        await send(connection, _statement(tuple(used)), *arguments)
    except DBAPIError as error:
        if sqlstate(error) == WRITE_REFUSED:
            raise Outdated(str(error.orig)) from error
        raise
