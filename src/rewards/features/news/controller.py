"""`/v1/me/news`: what the member was awarded since last looking."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.params import JSONBody
from msgspec.structs import replace

from rewards.db.transact import reading, transact
from rewards.domain.commands import check_moment
from rewards.domain.errors import InvalidInput
from rewards.domain.play.prizes import PRIZE
from rewards.features.news.naming import currency_name, named
from rewards.features.news.queries import Awarded, see, unseen
from rewards.features.news.schemas import NewsItem, NewsOut, Seen, Won
from rewards.http.auth import ApiRequest, requires
from rewards.http.openapi import also
from rewards.http.pagination import PAGE_ITEMS_DEFAULT, PageSize
from rewards.http.parameters import me
from rewards.pipeline.lookup import FoundWallet, find_wallet


@get("/news", operation_id="get_my_news", responses=also(404, 409, 410))
async def get_my_news(request: ApiRequest, limit: PageSize = PAGE_ITEMS_DEFAULT) -> NewsOut:
    """Points, badges, quests, milestones, tiers and prizes that the member has not seen yet, the newest first.

    What was taken back is no news any more, and what was not announced never was.
    """
    state = request.app.state
    wallet = await _member(request)
    found = wallet.found
    names = list(dict.fromkeys((*found.ids, *found.state.absorbed)))
    async with reading(state.engine) as connection:
        awarded = await unseen(connection, request.auth.program_id, found.state.id, names, limit=limit + 1)
    shown = awarded[:limit]
    return NewsOut(
        member=str(found.ref),
        merged_into=found.merged_into,
        items=[_item(wallet, each) for each in shown],
        until=shown[0].recorded_at if shown else None,
        more=len(awarded) > limit,
    )


@post("/news/seen", operation_id="see_my_news", status_code=200, responses=also(404, 409, 410))
async def see_my_news(request: ApiRequest, data: JSONBody[Seen]) -> Seen:
    """Mark everything up to `until` as seen; never less than was seen before. Repeating it changes nothing."""
    check_moment(data.until, "until")
    wallet = await _member(request)
    if data.until > wallet.now:
        raise InvalidInput("The future is not seen yet.", path="until", expected="`until` of the news that was shown")
    program_id, member = request.auth.program_id, wallet.found.state.id
    return Seen(
        await transact(request.app.state.engine, lambda connection: see(connection, program_id, member, data.until))
    )


async def _member(request: ApiRequest) -> FoundWallet:
    state = request.app.state
    return await find_wallet(state.engine, state.programs, request.auth.program_id, me(request))


def _item(wallet: FoundWallet, awarded: Awarded) -> NewsItem:
    name, image = named(wallet.program, awarded, wallet.found.state.locale)
    item = NewsItem(
        id=awarded.id,
        kind=awarded.kind,
        key=awarded.subject,
        name=name,
        occurred_at=awarded.occurred_at,
        recorded_at=awarded.recorded_at,
        image=image,
        amount=awarded.amount,
        source=awarded.source,
    )
    if awarded.kind == PRIZE:
        return replace(item, period=awarded.period, rank=awarded.level, won=_won(wallet, awarded))
    return replace(item, level=awarded.level, instance=awarded.instance)


def _won(wallet: FoundWallet, awarded: Awarded) -> list[Won]:
    locale = wallet.found.state.locale
    paid = zip(awarded.currencies or (), awarded.amounts or (), strict=True)
    return [Won(currency, currency_name(wallet.program, currency, locale), amount) for currency, amount in paid]


def news_router() -> Router:
    """Needs `engine`, `programs`, `api_keys` and `member_tokens` in the application's state."""
    return Router("/v1/me", route_handlers=[get_my_news, see_my_news], guards=[requires("me")], tags=["me"])
