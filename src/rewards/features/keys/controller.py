"""`/v1/keys`: the program's API keys, for callers with the scope `admin`."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.transact import reading, transact
from rewards.features.keys.issuing import KeyRequest, create_key, create_key_once
from rewards.features.keys.queries import KeyRow, list_keys, revoke_key
from rewards.features.keys.schemas import CreatedKey, Key, NewKey, key_of
from rewards.http.auth import ApiRequest, requires
from rewards.http.idempotency import TAKES_KEY, idempotency_key, replay_headers
from rewards.http.pagination import PAGE_ITEMS_DEFAULT, Page, PageCursor, PageSize
from rewards.http.problems import NotFound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from rewards.http.auth import ApiKeys
    from rewards.http.pagination import Cursors


@post("/", operation_id="create_key", opt=TAKES_KEY)
async def create(request: ApiRequest, data: JSONBody[NewKey]) -> Response[CreatedKey]:
    """Make a key. The answer is the only place where its text appears.

    Repeated with its `Idempotency-Key` no other key is made, and the answer has its `details` as they are by now, but not its
    text (`key` is null), of which only a hash is kept. If the first answer was lost, revoke that key and make another.
    """
    engine: AsyncEngine = request.app.state.engine
    api_keys: ApiKeys = request.app.state.api_keys
    wanted = KeyRequest(data.name, data.kind, data.scopes, data.origins, data.rate_per_second)
    token, row = await _made(engine, api_keys.secret_key, request, wanted)
    return Response(CreatedKey(token, key_of(row)), headers=replay_headers(replayed=token is None))


async def _made(
    engine: AsyncEngine, secret_key: bytes, request: ApiRequest, wanted: KeyRequest
) -> tuple[str | None, KeyRow]:
    program_id, actor, key = request.auth.program_id, request.auth.actor, idempotency_key(request)
    if key is None:
        return await create_key(engine, secret_key, program_id=program_id, request=wanted, actor=actor)
    return await create_key_once(
        engine, secret_key, program_id=program_id, request=wanted, actor=actor, idempotency_key=key
    )


@get("/", operation_id="list_keys")
async def list_all(request: ApiRequest, limit: PageSize = PAGE_ITEMS_DEFAULT, cursor: PageCursor = None) -> Page[Key]:
    """All keys, the oldest first, revoked ones included."""
    engine: AsyncEngine = request.app.state.engine
    cursors: Cursors = request.app.state.cursors
    of = f"keys/{request.auth.program_id}"
    position = cursors.read(of, cursor)
    after = (datetime.fromisoformat(position[0]), UUID(position[1])) if position else None
    async with reading(engine) as connection:
        rows = await list_keys(connection, request.auth.program_id, after=after, limit=limit + 1)
    shown = rows[:limit]
    more = cursors.write(of, (shown[-1].created_at.isoformat(), str(shown[-1].id))) if len(rows) > limit else None
    return Page([key_of(row) for row in shown], more)


@delete("/{key_id:uuid}", operation_id="revoke_key", status_code=200)
async def revoke(request: ApiRequest, key_id: FromPath[UUID]) -> Key:
    """Revoke a key. It stops working within two seconds. Revoking it again changes nothing."""
    engine: AsyncEngine = request.app.state.engine
    api_keys: ApiKeys = request.app.state.api_keys
    row = await transact(engine, partial(_revoke, request.auth.program_id, key_id, request.auth.actor))
    api_keys.forget()
    if row is None:
        raise NotFound("The program has no such key.")
    return key_of(row)


async def _revoke(program_id: int, key_id: UUID, actor: str, connection: AsyncConnection) -> KeyRow | None:
    return await revoke_key(connection, program_id, key_id, actor=actor)


def keys_router() -> Router:
    """Needs `engine`, `api_keys` and `cursors` in the application's state."""
    return Router("/v1/keys", route_handlers=[create, list_all, revoke], guards=[requires("admin")], tags=["keys"])
