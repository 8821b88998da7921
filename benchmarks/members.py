"""Members by the hundred thousand: a few live through the service, then their rows are stamped for all the others.

The rows of the models are copied out in PostgreSQL's binary format. For every other member the copies get its id,
bucket and name, and ids of their own; amounts, balances, sequence numbers and moments stay, so whatever holds for the
models (`rewards ledger verify`) holds for all.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from benchmarks.installation import Database, Service, run
from benchmarks.traffic import EVENT_TYPES, event, name
from rewards.domain.commands import MemberRef
from rewards.domain.ids import bucket_of
from rewards.pipeline.identity import Identity, unwrap_secret

MODELS: Final = 5
CHUNK_BYTES: Final = 1 << 20
PROGRESS_SECONDS: Final = 10.0
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_BUCKET_MASK: Final = 0xFF << 68

CHANGING: Final = ("member", "account", "lot")
"""Tables whose rows change in place. They are loaded in no order of the key, as they would have come."""

HISTORY: Final = ("transaction", "posting", "dedup", "event", "outbox")
"""Tables that only grow: a batch appends to them, so only the depth of their indexes matters. Loaded in key order."""

_OWN_IDS: Final = """
SELECT id FROM event WHERE member_id = $1 UNION SELECT id FROM transaction WHERE member_id = $1
UNION SELECT id FROM lot WHERE member_id = $1 UNION SELECT key FROM dedup WHERE member_id = $1
"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The rows of one table for one model, cut where something of the member's own stands."""

    pieces: tuple[bytes, ...]
    slots: tuple[tuple[int, int], ...]
    """(piece, which value goes there)."""

    def rows(self, values: Sequence[bytes]) -> bytes:
        pieces = list(self.pieces)
        for piece, value in self.slots:
            pieces[piece] = values[value]
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Model:
    """One member that lived, with a stamp per table. `ids` are those that every copy needs its own of."""

    ids: tuple[UUID, ...]
    stamps: dict[str, Stamp]

    def values(self, number: int, member: UUID) -> list[bytes]:
        """What the copy of this number has in place of the model's own, in the order of `cut`'s tokens."""
        bucket = bucket_of(member)
        values = [marker(member), name(number)]
        for own in self.ids:
            fresh = copied_id(own, number, bucket)
            values += (fresh.to_bytes(16, "big"), str(UUID(int=fresh)).encode())
        return values


def marker(member: UUID) -> bytes:
    """Bucket and member id as two fields of a row in COPY's binary format."""
    return b"\0\0\0\x02%b\0\0\0\x10%b" % (bucket_of(member).to_bytes(2, "big"), member.bytes)


def copied_id(own: UUID, number: int, bucket: int) -> int:
    """The model's id made another member's: the same moment where it is a UUIDv8, which carries the bucket."""
    value = own.int ^ number
    return value & ~_BUCKET_MASK | bucket << 68 if own.version == 8 else value


def cut(rows: bytes, tokens: Sequence[bytes]) -> Stamp:
    """Finds every token in the rows."""
    order = {token: index for index, token in enumerate(tokens)}
    pieces = re.split(b"(" + b"|".join(map(re.escape, tokens)) + b")", rows)
    return Stamp(tuple(pieces), tuple((index, order[piece]) for index, piece in enumerate(pieces) if index % 2))


def fill(
    started: Service,
    *,
    members: int,
    events_each: int,
    tables: Iterable[str] = (*CHANGING, *HISTORY),
    told: Callable[[str], None],
) -> None:
    """Gives the database `members` members with `events_each` events, each of which paid.

    The first `MODELS` of them live through the service; `tables` are stamped for the rest.
    """
    for number in range(MODELS):
        _live(started, number, events_each)
    run(_fill(started.database, members, tuple(tables), told))


def _live(started: Service, number: int, events: int) -> None:
    """Sends a member's events one after the other; models begin with another type each."""
    connection = http.client.HTTPConnection(started.host, started.port, timeout=10)
    headers = {"Authorization": f"Bearer {started.database.key}", "Content-Type": "application/json"}
    for turn in range(events):
        content = event(turn * (EVENT_TYPES + 1) + number, who=name(number), prefix=name(number))
        connection.request("POST", "/v1/events", content, headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        assert b'"type":"earn"' in said, said
        started.acknowledged += 1
    connection.close()


async def _fill(database: Database, members: int, tables: Sequence[str], told: Callable[[str], None]) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        await connection.execute("SET synchronous_commit = off")
        identity = await _identity(connection, database)
        ids = [identity.member(MemberRef("user", name(number).decode())) for number in range(members)]
        models = [await _model(connection, number, ids[number], tables) for number in range(MODELS)]
        in_key_order = sorted(range(MODELS, members), key=ids.__getitem__)
        for table in tables:
            order = range(MODELS, members) if table in CHANGING else in_key_order
            await connection.copy_to_table(
                table,
                source=_rows(models, table, ids, order, told),
                columns=await _columns(connection, table),
                format="binary",
            )
        told("vacuum, analyze, checkpoint")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _identity(connection: Any, database: Database) -> Identity:
    wrapped = await connection.fetchval("SELECT secret FROM program WHERE id = $1", database.program_id)
    return Identity(unwrap_secret(bytes.fromhex(database.secret_key), wrapped))


async def _model(connection: Any, number: int, member: UUID, tables: Sequence[str]) -> Model:
    ids = tuple(row[0] for row in await connection.fetch(_OWN_IDS, member))
    tokens = [marker(member), name(number)]
    for own in ids:
        tokens += (own.bytes, str(own).encode())
    stamps = {table: cut(await _copied_out(connection, table, member), tokens) for table in tables}
    return Model(ids, stamps)


async def _columns(connection: Any, table: str) -> list[str]:
    """In this order bucket and member id stand side by side, as `marker` has them."""
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        f'"{table}"',
    )
    return [row[0] for row in rows]


async def _copied_out(connection: Any, table: str, member: UUID) -> bytes:
    """The member's rows in COPY's binary format, without its head and tail."""
    columns = ", ".join(await _columns(connection, table))
    out = bytearray()

    async def keep(data: bytes) -> None:
        out.extend(data)

    await connection.copy_from_query(
        f"SELECT {columns} FROM \"{table}\" WHERE bucket = {bucket_of(member)} AND member_id = '{member}'",
        output=keep,
        format="binary",
    )
    assert out.startswith(_SIGNATURE), table
    assert out.endswith(_TRAILER), table
    return bytes(out[len(_SIGNATURE) : -len(_TRAILER)])


async def _rows(
    models: Sequence[Model], table: str, ids: Sequence[UUID], order: Sequence[int], told: Callable[[str], None]
) -> AsyncIterator[bytes]:
    """COPY's binary format, in chunks."""
    chunk = bytearray(_SIGNATURE)
    next_word = time.monotonic() + PROGRESS_SECONDS
    for done, number in enumerate(order):
        model = models[number % MODELS]
        chunk += model.stamps[table].rows(model.values(number, ids[number]))
        if len(chunk) > CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
            if time.monotonic() > next_word:
                told(f"{table}: {done:,} of {len(order):,} members")
                next_word = time.monotonic() + PROGRESS_SECONDS
    chunk += _TRAILER
    yield bytes(chunk)
