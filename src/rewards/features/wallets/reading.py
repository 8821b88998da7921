"""What the server's and the customer's addresses read alike: wallets as they are, and statements that stay true."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.commands import MemberRef
from rewards.domain.errors import InvalidInput
from rewards.domain.state import MemberState
from rewards.features.wallets import queries
from rewards.features.wallets.schemas import Buckets, StatementOut
from rewards.features.wallets.views import balances_out, isoformat, transaction_out
from rewards.http.auth import ApiRequest
from rewards.http.pagination import Cursors
from rewards.pipeline.lookup import FoundWallet, find_wallet, standing_still

T = TypeVar("T")
TICK: Final = timedelta(microseconds=1)
"""The database's resolution: "up to and including" a moment is "before the next"."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of a statement: recorded from `since` up to `until`, of one currency or of all, a page at a time."""

    since: datetime | None
    until: datetime | None
    currency: str | None
    limit: int
    cursor: str | None
    postings: bool = False


async def wallet_of(request: ApiRequest, ref: MemberRef) -> FoundWallet:
    """Raises as `find_member`."""
    state = request.app.state
    return await find_wallet(state.engine, state.programs, request.auth.program_id, ref)


async def held_still(
    request: ApiRequest, ref: MemberRef, read: Callable[[AsyncConnection, FoundWallet], Awaitable[T]]
) -> T:
    """Reads while nothing is recorded for the member; see `standing_still`."""
    state = request.app.state
    return await standing_still(state.engine, state.programs, request.auth.program_id, ref, read)


async def statement(request: ApiRequest, ref: MemberRef, asked: Asked) -> StatementOut:
    """Raises as `find_member`, and `InvalidInput` for a currency or a cursor that does not fit."""
    program_id = request.auth.program_id
    cursors: Cursors = request.app.state.cursors
    name = f"statement/{program_id}/{ref}/{asked.currency}/{isoformat(asked.since)}/{isoformat(asked.until)}"
    position = cursors.read(name, asked.cursor)

    async def read(connection: AsyncConnection, wallet: FoundWallet) -> StatementOut:
        since, settled = asked.since, wallet.now + TICK
        to = datetime.fromisoformat(position[1]) if position else min(asked.until or settled, settled)
        before = UUID(position[0]) if position else None
        currencies = shown_currencies(wallet, asked.currency)
        state = wallet.found.state
        place = (program_id, state.bucket, state.id)
        of = queries.Range(to, since, asked.currency, before)
        found = await queries.statement(connection, *place, of, asked.limit + 1)
        shown = found[: asked.limit]
        moved = await queries.postings(connection, *place, [row.id for row in shown]) if asked.postings else None
        causes = await causes_elsewhere(connection, program_id, state, shown)
        nothing: list[Any] = []
        return StatementOut(
            member=str(wallet.found.ref),
            merged_into=wallet.found.merged_into,
            since=since,
            to=to,
            opening=balances_out({}, currencies)
            if since is None
            else await balances_before(connection, request, wallet, min(since, to), currencies),
            closing=await balances_before(connection, request, wallet, to, currencies),
            items=[
                transaction_out(row, None if moved is None else moved.get(row.id, nothing), causes=causes)
                for row in sorted(shown, key=lambda row: -row.seq)
            ],
            next_cursor=cursors.write(name, (str(shown[-1].id), to.isoformat())) if len(found) > asked.limit else None,
        )

    return await held_still(request, ref, read)


async def causes_elsewhere(
    connection: AsyncConnection, program_id: int, state: MemberState, transactions: Sequence[Any]
) -> dict[UUID, Any]:
    """The events of merged members that caused these transactions: a rule that had waited pays whom its member became."""
    wanted = [row.event_id for row in transactions if row.event_id is not None and row.client_id is None]
    if not wanted or not state.absorbed:
        return {}
    return await queries.events_of(connection, program_id, state.absorbed, wanted)


async def balances_before(
    connection: AsyncConnection, request: ApiRequest, wallet: FoundWallet, end: datetime, currencies: list[str]
) -> dict[str, Buckets]:
    """The balances as they were recorded before a moment."""
    state = wallet.found.state
    found = await queries.balances_before(connection, request.auth.program_id, state.bucket, state.id, end)
    return balances_out(found, currencies)


def shown_currencies(wallet: FoundWallet, asked: str | None) -> list[str]:
    """The currencies to show: those of the program and those the member has. Raises `InvalidInput` for any other."""
    known = list(dict.fromkeys((*wallet.program.currencies, *wallet.found.state.wallet.accounts)))
    if asked is None:
        return known
    if asked not in known:
        raise InvalidInput(
            f"The program has no currency {asked!r}.",
            path="query.currency",
            expected=f"one of {', '.join(sorted(known))}",
        )
    return [asked]
