"""Reading the ledger: wallets, statements, past balances, what expires, and single transactions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeAlias, TypeVar
from uuid import UUID

from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.transact import snapshot
from rewards.domain.errors import InvalidInput
from rewards.features.wallets import queries
from rewards.features.wallets.schemas import BalanceOut, Buckets, ExpiringOut, StatementOut, TransactionOut, WalletOut
from rewards.features.wallets.views import (
    balances_out,
    expiring_out,
    isoformat,
    owner_name,
    transaction_out,
    wallet_out,
)
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.pagination import PAGE_ITEMS_DEFAULT, Cursors, PageCursor, PageSize
from rewards.http.parameters import MOMENT_LENGTH_MAX, MemberPath, member_ref, moment
from rewards.http.problems import NotFound
from rewards.pipeline.lookup import FoundWallet, find_wallet, standing_still

T = TypeVar("T")
_TICK: Final = timedelta(microseconds=1)
"""The database's resolution: "up to and including" a moment is "before the next"."""
_MISSING: Final = also(409, 410, 422)

CurrencyQuery: TypeAlias = FromQuery[Annotated[str | None, QueryParameter(max_length=64)]]
AtQuery: TypeAlias = FromQuery[
    Annotated[str | None, QueryParameter(max_length=MOMENT_LENGTH_MAX, description="RFC 3339; default: now.")]
]
FromMoment: TypeAlias = Annotated[
    str | None,
    QueryParameter(name="from", max_length=MOMENT_LENGTH_MAX, description="RFC 3339; default: the beginning."),
]
ToMoment: TypeAlias = Annotated[
    str | None,
    QueryParameter(name="to", max_length=MOMENT_LENGTH_MAX, description="RFC 3339, not included; default: now."),
]
Postings: TypeAlias = FromQuery[Annotated[bool, QueryParameter(description="Add the postings of each transaction.")]]


@get("/members/{member:str}/wallet", operation_id="get_wallet", responses=_MISSING)
async def get_wallet(request: ApiRequest, member: MemberPath) -> WalletOut:
    """Balances, lifetime totals, open holds and the next expiry of every currency, as of now."""
    return wallet_out(await _wallet(request, member))


@get("/members/{member:str}/expiring", operation_id="get_expiring", responses=_MISSING)
async def get_expiring(request: ApiRequest, member: MemberPath) -> ExpiringOut:
    """When how much will expire if the member does nothing more: the whole schedule."""
    return expiring_out(await _wallet(request, member))


@get("/members/{member:str}/balance", operation_id="get_balance", responses=_MISSING)
async def get_balance(
    request: ApiRequest, member: MemberPath, *, at: AtQuery = None, currency: CurrencyQuery = None
) -> BalanceOut:
    """The balances as they were recorded at a moment. What is said of a moment never changes."""
    asked = moment(at, "at")

    async def read(connection: AsyncConnection, wallet: FoundWallet) -> BalanceOut:
        if asked is not None and asked > wallet.now:
            raise InvalidInput("Of the future nothing is recorded.", path="query.at", expected="a moment in the past")
        past = asked or wallet.now
        currencies = _currencies(wallet, currency)
        balances = await _before(connection, request, wallet, past + _TICK, currencies)
        return BalanceOut(str(wallet.found.ref), wallet.found.merged_into, past, balances)

    return await _standing_still(request, member, read)


@get("/members/{member:str}/statement", operation_id="get_statement", responses=_MISSING)
async def get_statement(
    request: ApiRequest,
    member: MemberPath,
    *,
    currency: CurrencyQuery = None,
    start: FromMoment = None,
    end: ToMoment = None,
    postings: Postings = False,
    limit: PageSize = PAGE_ITEMS_DEFAULT,
    cursor: PageCursor = None,
) -> StatementOut:
    """The transactions of a range, the newest first, with opening and closing balances. All pages end at one moment."""
    since, until = moment(start, "from"), moment(end, "to")
    cursors: Cursors = request.app.state.cursors
    name = f"statement/{request.auth.program_id}/{member_ref(member)}/{currency}/{isoformat(since)}/{isoformat(until)}"
    position = cursors.read(name, cursor)

    async def read(connection: AsyncConnection, wallet: FoundWallet) -> StatementOut:
        settled = wallet.now + _TICK
        to = datetime.fromisoformat(position[1]) if position else min(until or settled, settled)
        before = UUID(position[0]) if position else None
        currencies = _currencies(wallet, currency)
        of = queries.Range(to, since, currency, before)
        state = wallet.found.state
        place = (request.auth.program_id, state.bucket, state.id)
        found = await queries.statement(connection, *place, of, limit + 1)
        shown = found[:limit]
        moved = await queries.postings(connection, *place, [row.id for row in shown]) if postings else None
        nothing: list[Any] = []
        return StatementOut(
            member=str(wallet.found.ref),
            merged_into=wallet.found.merged_into,
            since=since,
            to=to,
            opening=balances_out({}, currencies)
            if since is None
            else await _before(connection, request, wallet, min(since, to), currencies),
            closing=await _before(connection, request, wallet, to, currencies),
            items=[
                transaction_out(row, None if moved is None else moved.get(row.id, nothing))
                for row in sorted(shown, key=lambda row: -row.seq)
            ],
            next_cursor=cursors.write(name, (str(shown[-1].id), to.isoformat())) if len(found) > limit else None,
        )

    return await _standing_still(request, member, read)


@get("/transactions/{transaction:uuid}", operation_id="get_transaction", responses=also(409))
async def get_transaction(request: ApiRequest, transaction: FromPath[UUID]) -> TransactionOut:
    """One entry of the ledger: its postings, what was taken back of it, and the event and rule that caused it."""
    program_id = request.auth.program_id
    async with snapshot(request.app.state.engine) as connection:
        row = await queries.transaction_by_id(connection, program_id, transaction)
        if row is None:
            raise NotFound("The program has no such transaction.")
        moved = await queries.postings(connection, program_id, row.bucket, row.member_id, [row.id])
    return transaction_out(row, moved.get(row.id, []), member=owner_name(row), taken_back=row.reversed or 0)


async def _wallet(request: ApiRequest, member: str) -> FoundWallet:
    state = request.app.state
    return await find_wallet(state.engine, state.programs, request.auth.program_id, member_ref(member))


async def _standing_still(request: ApiRequest, member: str, read: Callable[..., Awaitable[T]]) -> T:
    state = request.app.state
    ref = member_ref(member)
    return await standing_still(state.engine, state.programs, request.auth.program_id, ref, read)


async def _before(
    connection: AsyncConnection, request: ApiRequest, wallet: FoundWallet, end: datetime, currencies: list[str]
) -> dict[str, Buckets]:
    state = wallet.found.state
    found = await queries.balances_before(connection, request.auth.program_id, state.bucket, state.id, end)
    return balances_out(found, currencies)


def _currencies(wallet: FoundWallet, asked: str | None) -> list[str]:
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


def ledger_router() -> Router:
    """Needs `engine`, `programs`, `cursors` and `api_keys` in the application's state."""
    handlers = [get_wallet, get_expiring, get_balance, get_statement, get_transaction]
    return Router("/v1", route_handlers=handlers, guards=[requires("read")], tags=["points"])
