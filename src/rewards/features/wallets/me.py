"""`/v1/me/wallet`, `/v1/me/expiring` and `/v1/me/statement`: the member's points, for the member's browser or app."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Router, get

from rewards.features.wallets.controller import CurrencyQuery, FromMoment, ToMoment
from rewards.features.wallets.reading import Asked, statement, wallet_of
from rewards.features.wallets.schemas import ExpiringOut, MyStatementOut, WalletOut
from rewards.features.wallets.views import expiring_out, wallet_out
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.pagination import PAGE_ITEMS_DEFAULT, PageCursor, PageSize
from rewards.http.parameters import me, moment

_MISSING: Final = also(404, 409, 410)


@get("/wallet", operation_id="get_my_wallet", responses=_MISSING)
async def get_my_wallet(request: ApiRequest) -> WalletOut:
    """Balances, lifetime totals, open holds and the next expiry of every currency, as of now."""
    return wallet_out(await wallet_of(request, me(request)))


@get("/expiring", operation_id="get_my_expiring", responses=_MISSING)
async def get_my_expiring(request: ApiRequest) -> ExpiringOut:
    """When how much will expire if the member does nothing more: the whole schedule."""
    return expiring_out(await wallet_of(request, me(request)))


@get("/statement", operation_id="get_my_statement", responses=also(404, 409, 410, 422))
async def get_my_statement(
    request: ApiRequest,
    *,
    currency: CurrencyQuery = None,
    start: FromMoment = None,
    end: ToMoment = None,
    limit: PageSize = PAGE_ITEMS_DEFAULT,
    cursor: PageCursor = None,
) -> MyStatementOut:
    """The transactions of a range, the newest first, with opening and closing balances. All pages end at one moment."""
    asked = Asked(moment(start, "from"), moment(end, "to"), currency, limit, cursor)
    return msgspec.convert(await statement(request, me(request), asked), MyStatementOut, from_attributes=True)


def my_wallet_router() -> Router:
    """Needs `engine`, `programs`, `cursors`, `api_keys` and `member_tokens` in the application's state."""
    handlers = [get_my_wallet, get_my_expiring, get_my_statement]
    return Router("/v1/me", route_handlers=handlers, guards=[requires("me")], tags=["me"])
