"""`/v1/members/{member}/tokens` and `/v1/tokens`: the app server mints tokens for customers, and takes them back.

Minting changes nothing and nothing is stored, so a repeat simply makes another token; revoking twice does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from litestar import Router, delete, get, post, put
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.transact import reading, snapshot, transact
from rewards.domain.commands import MemberRef
from rewards.features.tokens.queries import (
    end_token,
    raise_epochs,
    raise_program_epoch,
    read_origins,
    read_revoked,
    read_standing,
    write_origins,
)
from rewards.features.tokens.schemas import NewToken, Origins, Token
from rewards.http.auth import ApiRequest, requires, requires_all
from rewards.http.member_tokens import Standing
from rewards.http.openapi import also
from rewards.http.origins import check_origins
from rewards.http.parameters import MemberPath, member_ref
from rewards.http.problems import NotFound
from rewards.http.token_watch import HeldToken
from rewards.pipeline.lookup import UnknownMember, find_member
from rewards.pipeline.programs import Programs, Published

if TYPE_CHECKING:
    from rewards.http.member_tokens import MemberTokens

_REFUSALS: Final = also(409, 410, 422)
_DEFAULTS: Final = NewToken()


async def find_standing(engine: AsyncEngine, programs: Programs, program_id: int, member: MemberRef) -> Standing | None:
    """For `MemberTokens`: what holds for a member's tokens. Raises `NothingPublished`."""
    published = await programs.get(program_id)
    async with reading(engine) as connection:
        return await read_standing(connection, program_id, published.identity.member(member))


async def find_revoked(engine: AsyncEngine, tokens: Sequence[HeldToken]) -> frozenset[HeldToken]:
    """For `TokenWatch`: those of the tokens that were revoked."""
    async with reading(engine) as connection:
        return await read_revoked(connection, tokens)


@post(
    "/members/{member:str}/tokens",
    operation_id="mint_token",
    guards=[requires_all("events", "read", "ledger")],
    responses=_REFUSALS,
)
async def mint(request: ApiRequest, member: MemberPath, data: JSONBody[NewToken] = _DEFAULTS) -> Token:
    """Make a token with which the member's browser or app may use `/v1/me`. The member need not be known before.

    What a token may do are sending events, reading, and spending points for freezes: the key needs the scopes for all three.
    """
    state = request.app.state
    program_id = request.auth.program_id
    ref = member_ref(member)
    published: Published = await state.programs.get(program_id)
    async with snapshot(state.engine) as connection:
        await _names_of(connection, published, ref)
        standing = await read_standing(connection, program_id, published.identity.member(ref))
    assert standing is not None, "a key's program is there"
    tokens: MemberTokens = state.member_tokens
    minted = tokens.mint(program_id, ref, standing, timedelta(seconds=data.ttl_seconds))
    return Token(minted.token, minted.id, str(ref), minted.expires_at)


@delete(
    "/members/{member:str}/tokens",
    operation_id="revoke_member_tokens",
    guards=[requires("events")],
    responses=_REFUSALS,
)
async def revoke(request: ApiRequest, member: MemberPath) -> None:
    """End every token of the member, also those of members that were merged into it. It takes at most two seconds.

    Their streams end as soon.
    """
    state = request.app.state
    program_id = request.auth.program_id
    ref = member_ref(member)
    published: Published = await state.programs.get(program_id)

    async def raise_all(connection: AsyncConnection) -> None:
        names = await _names_of(connection, published, ref)
        await raise_epochs(connection, program_id, names, actor=request.auth.actor)

    await transact(state.engine, raise_all)
    _forget(request)


@delete(
    "/members/{member:str}/tokens/{token:uuid}",
    operation_id="revoke_member_token",
    guards=[requires("events")],
    responses=_REFUSALS,
)
async def revoke_one(request: ApiRequest, member: MemberPath, token: FromPath[UUID]) -> None:
    """End one token, by the `id` that minting told. It takes at most two seconds.

    The member may be named as when the token was minted, or as it is called since a merge. Where more than a hundred tokens of
    a member were ended one by one and have not expired, all of them end.
    """
    state = request.app.state
    program_id = request.auth.program_id
    ref = member_ref(member)
    published: Published = await state.programs.get(program_id)
    tokens: MemberTokens = state.member_tokens

    async def end(connection: AsyncConnection) -> None:
        for name in await _names_of(connection, published, ref):
            if (expires_at := tokens.expiry(token, name)) is not None:
                await end_token(connection, program_id, name, token, expires_at, actor=request.auth.actor)
                return
        raise NotFound("The member has no such token.")

    await transact(state.engine, end)
    _forget(request)


@delete("/tokens", operation_id="revoke_all_tokens", guards=[requires("admin")])
async def revoke_all(request: ApiRequest) -> None:
    """End every member token of the program. It takes at most two seconds."""
    change = partial(raise_program_epoch, program_id=request.auth.program_id, actor=request.auth.actor)
    await transact(request.app.state.engine, change)
    _forget(request)


@get("/tokens/origins", operation_id="get_token_origins", guards=[requires("admin")])
async def get_origins(request: ApiRequest) -> Origins:
    """The web pages that may use the program's member tokens. None at all: any page."""
    async with reading(request.app.state.engine) as connection:
        return Origins(await read_origins(connection, request.auth.program_id))


@put("/tokens/origins", operation_id="set_token_origins", guards=[requires("admin")])
async def set_origins(request: ApiRequest, data: JSONBody[Origins]) -> Origins:
    """Say from which web pages member tokens may be used. It takes at most two seconds."""
    check_origins(data.origins)
    origins = list(dict.fromkeys(data.origins))
    change = partial(write_origins, program_id=request.auth.program_id, origins=origins, actor=request.auth.actor)
    await transact(request.app.state.engine, change)
    _forget(request)
    return Origins(origins)


async def _names_of(connection: AsyncConnection, published: Published, ref: MemberRef) -> set[UUID]:
    """Every id under which the member may hold tokens. Raises `MemberErased`."""
    names = {published.identity.member(ref)}
    try:
        found = await find_member(connection, published, ref)
    except UnknownMember:
        return names
    return names.union(found.passed, found.state.absorbed)


def _forget(request: ApiRequest) -> None:
    tokens: MemberTokens = request.app.state.member_tokens
    tokens.forget()


def tokens_router() -> Router:
    """Needs `engine`, `programs`, `api_keys` and `member_tokens` in the application's state."""
    return Router(
        "/v1", route_handlers=[mint, revoke, revoke_one, revoke_all, get_origins, set_origins], tags=["tokens"]
    )
