"""A small town to be attacked: two programs, a member with something to lose in each, and a digest of every row."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import httpx
from sqlalchemy import text
from tests.service import Live, publish

from rewards.db.tables import metadata
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.keys.queries import KeyRow
from rewards.http.auth import SCOPES

DOCUMENT: Final = """
rewards: 1
program: {key: town, timezone: UTC, late_window: 72h, unknown_events: reject, invalid_events: reject}
currencies:
  points: {clawback: within_balance, worth: 1}
  miles: {}
types:
  text: {type: string, maxLength: 50}
events:
  visited: {client: true, properties: {page: text}}
  bought:
    properties: {order_id: text, total: {type: integer}, weight: {type: number}, at: date-time}
    required: [order_id]
  told: {properties: {anything: {type: object}}}
attributes:
  plan: {type: string, maxLength: 20, purpose: offers that fit}
  age: {type: integer, minimum: 0, purpose: offers that are allowed}
rules:
  - key: purchase
    on: bought
    when: has(event.total)
    then: [{earn: {currency: points, amount: event.total}}]
  - key: heavy
    on: bought
    when: has(event.weight)
    then: [{earn: {currency: miles, amount: event.weight * 1000}}]
"""
NEIGHBOUR: Final = DOCUMENT.replace("key: town", "key: neighbour").replace(
    "unknown_events: reject", "unknown_events: quarantine"
)


ALIAS_BOMB: Final = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(12)
)
HANGING: Final = "".join(f"[1, 2, 3, 4, 5, 6, 7, 8, 9].all(x{n}, " for n in range(20)) + "x0 > 0" + ")" * 20
"""A condition of nested loops: 9^20 steps, if anyone began."""


def document(*, when: str) -> bytes:
    """The program with another condition."""
    return DOCUMENT.replace("when: has(event.total)", f"when: {json.dumps(when)}").encode()


@dataclass(frozen=True)
class Belongings:
    """What one program has that another must never see."""

    transaction: str
    hold: str
    quarantined: str
    key: str
    cursor: str


_NOTHING: Final = "01a200bf-a935-8f30-8000-00a53a57529e"
NOBODYS: Final = Belongings(_NOTHING, _NOTHING, _NOTHING, _NOTHING, cursor="")
"""Ids that nothing has."""


@dataclass(frozen=True)
class Town:
    """The service under attack by the owner of one program. `foreign` is what the other program has."""

    live: Live
    foreign: Belongings
    revoked: str
    digests: dict[str, dict[str, str]] = field(default_factory=dict)
    """The last digest, by the snapshot of the database that it was taken with."""

    async def digest(self) -> dict[str, str]:
        """A hash of all rows by table: what was not changed is the same afterwards."""
        tables = [table.name for table in metadata.tables.values()]
        rows = "md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), ''))"
        sql = " UNION ALL ".join(f"SELECT '{name}' AS name, {rows} AS digest FROM \"{name}\" t" for name in tables)
        async with self.live.service.engine.connect() as connection:
            # Equal snapshots see the same rows: nothing was committed since they were last read.
            snapshot = (await connection.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one()
            if snapshot not in self.digests:
                read = {row.name: row.digest for row in await connection.execute(text(sql))}
                self.digests.clear()
                self.digests[snapshot] = read
            return self.digests[snapshot]

    async def send(self, request: Request) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.live.server_key}", **request.headers}
        given = [(name.encode(), _bytes(value)) for name, value in headers.items() if value is not None]
        url = self.live.client.base_url.join(request.path)
        built = httpx.Request(request.method, url, headers=given, content=request.content)
        return await self.live.client.send(built)


@dataclass(frozen=True)
class Request:
    """What an attacker sends: bytes as they are, or a value as JSON."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str | bytes | None] = field(default_factory=dict)

    @property
    def content(self) -> bytes | None:
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()

    def replacing(self, mark: str, content: bytes) -> Request:
        """With bytes in the place of a mark in the body."""
        assert self.content is not None
        return replace(self, body=self.content.replace(json.dumps(mark)[1:-1].encode(), content))

    def with_header(self, name: str, value: bytes | None) -> Request:
        """With this header instead, or without any."""
        return replace(self, headers={**self.headers, name: value})

    def about(self, belongings: Belongings) -> Request:
        """With the ids of that program in the path."""
        return replace(self, path=self.path.format(**asdict(belongings)))

    def __str__(self) -> str:
        return f"{self.method} {self.path} {(self.content or b'')[:80]!r}"


def _bytes(text_: str | bytes) -> bytes:
    return text_ if isinstance(text_, bytes) else text_.encode()


def event(**changes: Any) -> Request:
    """An event as good as any but for the changes."""
    return Request("POST", "/v1/events", {"id": "e", "type": "visited", "member": "alice", **changes})


def bought(**properties: Any) -> Request:
    return event(type="bought", properties={"order_id": "o-1", **properties})


def move(operation: str, member: str = "alice", *, key: str | bytes = "attack", **changes: Any) -> Request:
    """Moving points of alice, as good as any but for the changes."""
    body = {"currency": "points", "amount": 1, **({"expires_in": "1h"} if operation == "holds" else {}), **changes}
    return Request("POST", f"/v1/members/{member}/{operation}", body, {"Idempotency-Key": key})


def profile(**changes: Any) -> Request:
    return Request("PATCH", "/v1/members/alice", changes)


def get(path: str) -> Request:
    return Request("GET", f"/v1{path}")


def post(path: str, body: Any = None, *, key: str | None = None, media_type: str | None = None) -> Request:
    headers: dict[str, str | bytes | None] = {}
    if key is not None:
        headers["Idempotency-Key"] = key
    if media_type is not None:
        headers["Content-Type"] = media_type
    return Request("POST", f"/v1{path}", body, headers)


async def settle(live: Live) -> Town:
    """Populates two programs and revokes a key."""
    service = live.service
    await _populate(live, live.server_key, "alice")
    neighbour, _ = await publish(service, NEIGHBOUR, key="neighbour")
    key, _ = await _key(live, neighbour)
    foreign = await _populate(live, key, "bob")
    revoked, row = await _key(live, live.program_id)
    answer = await live.client.delete(f"/v1/keys/{row.id}")
    assert answer.status_code == 200, answer.text
    return Town(live, foreign, revoked)


async def _key(live: Live, program_id: int) -> tuple[str, KeyRow]:
    service = live.service
    request = KeyRequest("tests", scopes=SCOPES)
    return await create_key(service.engine, service.secret_key, program_id=program_id, request=request, actor="tests")


async def _populate(live: Live, key: str, member: str) -> Belongings:
    town = Town(live, NOBODYS, "")

    async def done(request: Request) -> Any:
        answer = await town.send(request.with_header("Authorization", f"Bearer {key}".encode()))
        assert answer.is_success, answer.text
        return answer.json()

    earned = await done(move("earn", member, amount=1000, key="settle-1"))
    held = await done(move("holds", member, amount=100, key="settle-2"))
    await done(event(id="first", member=member))
    if member == "alice":
        return NOBODYS
    for identifier in ("odd", "odder"):
        await done(event(id=identifier, type="teleported", member=member))
    page = await done(get("/quarantine?limit=1"))
    keys = await done(get("/keys"))
    return Belongings(
        transaction=earned["transactions"][0]["id"],
        hold=held["hold"]["id"],
        quarantined=page["items"][0]["entry"],
        key=keys["items"][0]["id"],
        cursor=page["next_cursor"],
    )
