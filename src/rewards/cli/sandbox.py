"""`rewards sandbox`: programs whose clock can be moved on."""

from __future__ import annotations

from functools import partial
from typing import Final

import click
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.root import run
from rewards.db.transact import reading, transact
from rewards.features.keys.issuing import KeyRequest, create_key
from rewards.features.programs.checking import Checker
from rewards.features.programs.owning import CHECK_SECONDS_MAX, invalid
from rewards.features.programs.queries import StoredDocument, published_number, read_document
from rewards.features.programs.store import Draft, ProgramExists, add_version, create_program, publish_version
from rewards.http.auth import SCOPES
from rewards.pipeline.programs import NothingPublished
from rewards.service import database
from rewards.settings import Settings

ACTOR: Final = "cli"


@click.group()
def sandbox() -> None:
    """Programs to try things out in: members of their own, and a clock that can be moved on."""


@sandbox.command()
@PROGRAM
@click.option("--version", "number", type=click.IntRange(min=1), help="Of this version; else of the published one.")
@click.option("--key", "name", metavar="KEY", help="The sandbox's key; else the program's with `_sandbox` behind it.")
def create(program: str | None, number: int | None, name: str | None) -> None:
    """Make a sandbox from a version of a program, and print a server key for it."""

    async def make(settings: Settings) -> tuple[str, str, int]:
        engine = database(settings, application_name="rewards sandbox", role=settings.database_role)
        secret_key = settings.secret_key.get_secret_value()

        async def store(source_key: str, found: StoredDocument, connection: AsyncConnection) -> tuple[int, str]:
            key = name or f"{source_key}_sandbox"
            try:
                sandbox_id = await create_program(connection, key, secret_key=secret_key, kind="sandbox")
            except ProgramExists as exists:
                raise ProgramExists(f"{exists.message}; name another one with --key") from None
            note = f"version {found.number} of {source_key}"
            draft = Draft(document=found.document, source=found.source, author=ACTOR, note=note)
            await publish_version(connection, sandbox_id, await add_version(connection, sandbox_id, draft))
            return sandbox_id, key

        try:
            source_key, found = await _source(engine, program, number)
            sandbox_id, key = await transact(engine, partial(store, source_key, found))
            request = KeyRequest("sandbox", scopes=SCOPES)
            token, _ = await create_key(engine, secret_key, program_id=sandbox_id, request=request, actor=ACTOR)
        finally:
            await engine.dispose()
        return token, key, found.number

    token, key, version = run(make)
    click.echo(token)
    click.echo(f"The sandbox `{key}` decides by version {version}. Its clock: POST /v1/sandbox/clock", err=True)


async def _source(engine: AsyncEngine, program: str | None, number: int | None) -> tuple[str, StoredDocument]:
    """The program's key, and a version of it that can decide. Raises `NothingPublished`, `UnknownVersion`, `InvalidProgram`."""
    async with reading(engine) as connection:
        program_id, key = await chosen_program(connection, program)
        version = number or await published_number(connection, program_id)
        if version is None:
            raise NothingPublished(f"the program {key!r} has no published version")
        found = await read_document(connection, program_id, version)
    checker = Checker()
    try:
        report = await checker.check(found.as_written, timeout_seconds=CHECK_SECONDS_MAX)
    finally:
        await checker.close()
    if not report.ok:
        raise invalid(report.errors)
    return key, found
