"""Reading the ledger: wallets, statements, past balances, what expires, and single transactions."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias
from uuid import UUID

from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.transact import snapshot
from rewards.domain.errors import InvalidInput
from rewards.features.wallets import queries
from rewards.features.wallets.reading import (
    TICK,
    Asked,
    balances_before,
    causes_elsewhere,
    held_still,
    shown_currencies,
    statement,
    wallet_of,
)
from rewards.features.wallets.schemas import BalanceOut, ExpiringOut, StatementOut, TransactionOut, WalletOut
from rewards.features.wallets.views import expiring_out, owner_name, transaction_out, wallet_out
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.pagination import PAGE_ITEMS_DEFAULT, PageCursor, PageSize
from rewards.http.parameters import MOMENT_LENGTH_MAX, MemberPath, member_ref, moment
from rewards.http.problems import NotFound
from rewards.pipeline.load import load_members
from rewards.pipeline.lookup import FoundWallet

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
    return wallet_out(await wallet_of(request, member_ref(member)))


@get("/members/{member:str}/expiring", operation_id="get_expiring", responses=_MISSING)
async def get_expiring(request: ApiRequest, member: MemberPath) -> ExpiringOut:
    """When how much will expire if the member does nothing more: the whole schedule."""
    return expiring_out(await wallet_of(request, member_ref(member)))


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
        currencies = shown_currencies(wallet, currency)
        balances = await balances_before(connection, request, wallet, past + TICK, currencies)
        return BalanceOut(str(wallet.found.ref), wallet.found.merged_into, past, balances)

    return await held_still(request, member_ref(member), read)


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
    asked = Asked(moment(start, "from"), moment(end, "to"), currency, limit, cursor, postings=postings)
    return await statement(request, member_ref(member), asked)


@get("/transactions/{transaction:uuid}", operation_id="get_transaction", responses=also(409))
async def get_transaction(request: ApiRequest, transaction: FromPath[UUID]) -> TransactionOut:
    """One entry of the ledger: its postings, what was taken back of it, and the event and rule that caused it."""
    program_id = request.auth.program_id
    async with snapshot(request.app.state.engine) as connection:
        row = await queries.transaction_by_id(connection, program_id, transaction)
        if row is None:
            raise NotFound("The program has no such transaction.")
        moved = await queries.postings(connection, program_id, row.bucket, row.member_id, [row.id])
        owner = (await load_members(connection, program_id, [row.member_id])).states[row.member_id]
        causes = await causes_elsewhere(connection, program_id, owner, [row])
    name, taken_back = owner_name(row), row.reversed or 0
    return transaction_out(row, moved.get(row.id, []), causes=causes, member=name, taken_back=taken_back)


def ledger_router() -> Router:
    """Needs `engine`, `programs`, `cursors` and `api_keys` in the application's state."""
    handlers = [get_wallet, get_expiring, get_balance, get_statement, get_transaction]
    return Router("/v1", route_handlers=handlers, guards=[requires("read")], tags=["points"])
