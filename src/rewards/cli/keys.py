"""`rewards keys`: make, list and revoke API keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast
from uuid import UUID

import click
from rich.table import Column, Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.printing import table_console
from rewards.cli.root import run
from rewards.db.engine import make_engine
from rewards.db.transact import reading, transact
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.keys.queries import KeyRow, list_keys, revoke_key
from rewards.features.programs.store import check_secret_key
from rewards.http.auth import PUBLIC_SCOPES, SCOPES, Kind
from rewards.http.problems import NotFound
from rewards.settings import Settings

ACTOR: Final = "cli"
PAGE_ITEMS: Final = 200


@click.group()
def keys() -> None:
    """Make, list and revoke API keys of a program."""


@keys.command()
@PROGRAM
@click.option("--name", required=True, help="For people: what uses the key.")
@click.option("--kind", type=click.Choice(["secret", "public"]), default="secret", show_default=True)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeatable. Without it: everything for a secret key, `events` for a public one.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    help="A web origin that may use a public key, or *; repeatable. Without it no web page may, only apps.",
)
@click.option("--rate", "rate_per_second", type=click.IntRange(min=1), help="Requests a second; without it no limit.")
def create(
    program: str | None,
    name: str,
    kind: str,
    scopes: tuple[str, ...],
    origins: tuple[str, ...],
    rate_per_second: int | None,
) -> None:
    """Make a key and print it. It is stored as a hash, so this is the only time that anybody sees it."""
    chosen = scopes or (SCOPES if kind == "secret" else tuple(PUBLIC_SCOPES))
    request = KeyRequest(name, cast("Kind", kind), chosen, origins, rate_per_second)

    async def make(settings: Settings) -> tuple[str, KeyRow, str]:
        async with _engine(settings) as engine:
            program_id, of = await _program(engine, program)
            secret_key = settings.secret_key.get_secret_value()
            async with reading(engine) as connection:
                await check_secret_key(connection, secret_key)
            return *await create_key(engine, secret_key, program_id=program_id, request=request, actor=ACTOR), of

    token, row, of = run(make)
    click.echo(token)
    click.echo(f"{row.kind} key {row.id} of {of}, scopes: {', '.join(row.scopes)}", err=True)


@keys.command(name="list")
@PROGRAM
def list_all(program: str | None) -> None:
    """List the keys, the oldest first, revoked ones included."""

    async def read(settings: Settings) -> list[KeyRow]:
        async with _engine(settings) as engine:
            program_id, _ = await _program(engine, program)
            rows: list[KeyRow] = []
            async with reading(engine) as connection:
                while True:
                    after = (rows[-1].created_at, rows[-1].id) if rows else None
                    page = await list_keys(connection, program_id, after=after, limit=PAGE_ITEMS)
                    rows += page
                    if len(page) < PAGE_ITEMS:
                        return rows

    table = Table(
        Column("id", no_wrap=True, min_width=36),  # in full on any terminal: `revoke` takes it
        *("kind", "starts", "name", "scopes", "origins", "a second", "created", "revoked"),
        box=None,
    )
    for row in run(read):
        table.add_row(
            *(str(row.id), row.kind, row.prefix, row.name, " ".join(row.scopes), " ".join(row.origins)),
            *(str(row.rate_per_second or "-"), f"{row.created_at:%Y-%m-%d %H:%M}"),
            f"{row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else "-",
        )
    table_console().print(table)


@keys.command()
@PROGRAM
@click.argument("key_id", type=click.UUID)
def revoke(program: str | None, key_id: UUID) -> None:
    """Revoke a key by its id. It stops working within two seconds."""

    async def stop(settings: Settings) -> tuple[KeyRow | None, str]:
        async with _engine(settings) as engine:
            program_id, of = await _program(engine, program)

            async def work(connection: AsyncConnection) -> KeyRow | None:
                return await revoke_key(connection, program_id, key_id, actor=ACTOR)

            return await transact(engine, work), of

    row, of = run(stop)
    if row is None:
        raise NotFound(f"The program `{of}` has no key {key_id}.")
    click.echo(f"{row.kind} key {row.id} ({row.name}) is revoked.")


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(
        settings.database_url.get_secret_value(),
        application_name="rewards keys",
        role=settings.database_role,
        pool_size=1,
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def _program(engine: AsyncEngine, key: str | None) -> tuple[int, str]:
    async with reading(engine) as connection:
        return await chosen_program(connection, key)
