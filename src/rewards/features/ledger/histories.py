"""Going through members' histories step by step with the pure checker, streamed in bounded memory.

To explain what a fold or a replay found: which step was wrong, and how.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.ledger.accounts import (
    Account,
    Book,
    Hold,
    Kind,
    Lot,
    Origin,
    Posting,
    Transaction,
    UnbalancedPosting,
)
from rewards.domain.ledger.verify import Audit
from rewards.features.ledger import queries
from rewards.features.ledger.findings import Finding
from rewards.pipeline.load import rows

INVARIANT: Final = "each step is allowed"
MEMBERS_PER_PAGE: Final = 200
ROWS_PER_FETCH: Final = 2_000

_HISTORY: Final = text(queries.HISTORY_OF).bindparams(bindparam("members", type_=ARRAY(Uuid)))
_ORIGIN: Final = Origin("")


@dataclass(slots=True)
class _Books:
    """What is stored of one member in one currency."""

    account: Account
    lots: list[Lot] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)


async def step_through(
    connection: AsyncConnection, program_id: int, bucket: int, members: Sequence[UUID]
) -> AsyncIterator[Finding]:
    """Everything wrong in the histories of these members, one sentence each."""
    for start in range(0, len(members), MEMBERS_PER_PAGE):
        page = list(members[start : start + MEMBERS_PER_PAGE])
        books = await _books(connection, program_id, bucket, page)
        async for finding in _audit_page(connection, program_id, bucket, page, books):
            yield finding


async def _audit_page(
    connection: AsyncConnection,
    program_id: int,
    bucket: int,
    page: list[UUID],
    books: dict[tuple[UUID, str], _Books],
) -> AsyncIterator[Finding]:
    current: tuple[UUID, str] | None = None
    audit: Audit | None = None
    async for transaction, key in _transactions(connection, program_id, bucket, page):
        if key != current:
            if current is not None and audit is not None:
                for finding in _finished(current, audit, books):
                    yield finding
            current = key
            audit = Audit(books[key].lots if key in books else ())
        assert audit is not None
        if isinstance(transaction, str):
            yield Finding(INVARIANT, key[0], key[1], transaction, "a transaction of the ledger")
        else:
            audit.add(transaction)
    if current is not None and audit is not None:
        for finding in _finished(current, audit, books):
            yield finding
    for key, left in books.items():
        for finding in _finished(key, Audit(left.lots), {key: left}):
            yield finding


def _finished(key: tuple[UUID, str], audit: Audit, books: dict[tuple[UUID, str], _Books]) -> list[Finding]:
    """Takes the member's books away, so that those without any history are left."""
    member, currency = key
    mine = books.pop(key, None) or _Books(Account(currency))
    return [Finding(INVARIANT, member, currency, said, "") for said in audit.finish(mine.account, mine.holds)]


async def _books(
    connection: AsyncConnection, program_id: int, bucket: int, page: list[UUID]
) -> dict[tuple[UUID, str], _Books]:
    books: dict[tuple[UUID, str], _Books] = {}

    def of(row: Any) -> _Books:
        return books.setdefault((row.member_id, row.currency), _Books(Account(row.currency)))

    for row in await rows(connection, queries.ACCOUNTS_OF, program_id, bucket, page):
        of(row).account = Account(*row[1:13])
    for row in await rows(connection, queries.LOTS_OF, program_id, bucket, page):
        of(row).lots.append(Lot(*row[1:15]))
    for row in await rows(connection, queries.HOLDS_OF, program_id, bucket, page):
        of(row).holds.append(
            Hold(
                id=row.id,
                currency=row.currency,
                amount=row.amount,
                captured=row.captured,
                released=row.released,
                expires_at=row.expires_at,
                created_at=row.created_at,
                parts=list(zip(row.lots, row.amounts, strict=False)),
                reference=row.reference,
            )
        )
    return books


async def _transactions(
    connection: AsyncConnection, program_id: int, bucket: int, page: list[UUID]
) -> AsyncIterator[tuple[Transaction | str, tuple[UUID, str]]]:
    """Transactions with their member and currency, in order; a sentence where a row is none that the ledger writes."""
    streamed = await connection.stream(
        _HISTORY,
        {"program": program_id, "bucket": bucket, "members": page},
        execution_options={"yield_per": ROWS_PER_FETCH},
    )
    gathered: list[Any] = []
    async for row in streamed:
        if gathered and gathered[0].id != row.id:
            yield _transaction(gathered), (gathered[0].member_id, gathered[0].currency)
            gathered = []
        gathered.append(row)
    if gathered:
        yield _transaction(gathered), (gathered[0].member_id, gathered[0].currency)


def _transaction(gathered: list[Any]) -> Transaction | str:
    head = gathered[0]
    try:
        return Transaction(
            head.id,
            Kind(head.kind),
            head.currency,
            head.amount,
            head.seq,
            _ORIGIN,
            head.effective_at,
            head.recorded_at,
            [
                Posting(Book(row.debit), Book(row.credit), row.moved, row.lot_id)
                for row in gathered
                if row.debit is not None
            ],
            head.available_after,
            head.pending_after,
            head.held_after,
            head.debt_after,
            head.requested,
            head.reverses,
            head.hold_id,
        )
    except (ValueError, UnbalancedPosting) as wrong:
        return f"transaction {head.id}: {wrong}"
