"""Commands about a program in the database: its versions, publishing, rolling back, pausing rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import click
from rich.markup import escape
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.documents import FILE, document_in, read_source
from rewards.cli.printing import console
from rewards.cli.root import run
from rewards.db.transact import reading, transact
from rewards.domain.program.diff import Change
from rewards.domain.program.models.document import Document
from rewards.features.programs import queries
from rewards.features.programs.checking import Checker
from rewards.features.programs.owning import NOTE_LENGTH_MAX, Owner, Publication, check_publishable, parsed
from rewards.features.programs.queries import StoredDocument, VersionRow
from rewards.features.programs.store import UnknownProgram, create_program
from rewards.pipeline.programs import NothingPublished
from rewards.service import database
from rewards.settings import Settings

T = TypeVar("T")

ACTOR: Final = "cli"
PAGE_ITEMS: Final = 200
FIELDS_SHOWN_MAX: Final = 2
LINE_LENGTH_MAX: Final = 160


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """An engine for one command."""
    engine = database(settings, application_name="rewards program", role=settings.database_role)
    try:
        yield engine
    finally:
        await engine.dispose()


def as_owner(program: str | None, act: Callable[[Owner], Awaitable[T]], *, create: bytes | None = None) -> T:
    """Runs `act` for a program, by default the only one. `create` is the document with which to make one that is not there.

    Raises `UnknownProgram` without it, and `InvalidProgram` before a program is made that could not be published.
    """

    async def with_owner(settings: Settings) -> T:
        checker = Checker()
        async with connected(settings) as engine:
            try:
                try:
                    program_id, key = await _found(engine, program)
                except UnknownProgram:
                    if program is None or create is None:
                        raise
                    await check_publishable(checker, program, create)
                    program_id, key = await _made(engine, settings, program), program
                return await act(Owner(engine, checker, program_id, key, ACTOR))
            finally:
                await checker.close()

    return run(with_owner)


async def _found(engine: AsyncEngine, key: str | None) -> tuple[int, str]:
    async with reading(engine) as connection:
        return await chosen_program(connection, key)


async def _made(engine: AsyncEngine, settings: Settings, key: str) -> int:
    secret_key = settings.secret_key.get_secret_value()
    return await transact(engine, partial(create_program, key=key, secret_key=secret_key))


def owned_document(program: str | None, version: int | None) -> Document:
    """The document of a version, by default the published one's."""

    async def read(owner: Owner) -> StoredDocument:
        return await stored_document(owner, version)

    return parsed(as_owner(program, read))


async def stored_document(owner: Owner, version: int | None) -> StoredDocument:
    """Raises `NothingPublished`, `UnknownVersion`."""
    async with reading(owner.engine) as connection:
        number = version or await queries.published_number(connection, owner.program_id)
        if number is None:
            raise NothingPublished(f"the program {owner.program_key!r} has no published version")
        return await queries.read_document(connection, owner.program_id, number)


@click.command()
@PROGRAM
def versions(program: str | None) -> None:
    """List the versions of a program, the newest first, and the rules that are paused."""

    async def read(owner: Owner) -> tuple[list[VersionRow], dict[str, queries.Pause]]:
        rows: list[VersionRow] = []
        async with reading(owner.engine) as connection:
            while True:
                before = rows[-1].number if rows else None
                page = await queries.list_versions(connection, owner.program_id, before=before, limit=PAGE_ITEMS)
                rows += page
                if len(page) < PAGE_ITEMS:
                    return rows, await queries.list_pauses(connection, owner.program_id)

    rows, pauses = as_owner(program, read)
    out = console()
    table = Table("version", "status", "author", "created", "published", "note", box=None, padding=(0, 2, 0, 0))
    colours = {"published": "green", "draft": "yellow", "superseded": "dim"}
    for row in rows:
        table.add_row(
            str(row.number),
            f"[{colours[row.status]}]{row.status}[/]",
            escape(row.author),
            f"{row.created_at:%Y-%m-%d %H:%M}",
            f"{row.published_at:%Y-%m-%d %H:%M}" if row.published_at else "-",
            escape(row.note or ""),
        )
    out.print(table)
    for pause_of in pauses.values():
        why = f": {pause_of.reason}" if pause_of.reason else ""
        out.print(f"[yellow]paused[/]  {pause_of.rule} by {escape(pause_of.actor)}{escape(why)}")


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option(
    "--program", metavar="KEY", help="The program's key; by default the one in the document, or the only one."
)
@click.option("--version", type=click.IntRange(min=1), help="Publish this draft instead of a file.")
@click.option("--note", help="Why, for those who read the list of versions.")
@click.option("--create", is_flag=True, help="Make the program if there is none of this key.")
def publish(file: Path | None, program: str | None, version: int | None, note: str | None, create: bool) -> None:
    """Publish a document as the next version, or a draft. Refused if it has mistakes or its tests fail."""
    if (file is None) == (version is None):
        raise click.UsageError("Give either a file or --version.")
    if version is not None and (note is not None or create):
        raise click.UsageError("--note and --create go with a file: a draft has its note, and its program.")
    if note is not None and len(note) > NOTE_LENGTH_MAX:
        raise click.UsageError(f"A note has at most {NOTE_LENGTH_MAX} characters.")
    if file is None:
        published = as_owner(program, lambda owner: _keyed(owner, owner.publish(version or 0)))
    else:
        source = read_source(file)
        key = program or document_in(source, file).program.key
        try:
            published = as_owner(
                key, lambda owner: _keyed(owner, _publish_new(owner, source, note)), create=source if create else None
            )
        except UnknownProgram:
            raise UnknownProgram(f"there is no program {key!r}; --create makes it") from None
    show_publication(*published)


def show_publication(program: str, published: Publication) -> None:
    """Which version decides now, in place of which, and what that changes in short."""
    number, replaced = published.version.number, published.replaced
    if number == replaced:
        click.echo(f"Version {number} is published already; nothing was changed.")
        return
    instead = f" in place of version {replaced}" if replaced is not None else ", the first of the program"
    click.echo(f"Version {number} is published{instead}.")
    if published.changes is None:
        return
    if not published.changes:
        click.echo("Nothing in it is different.")
        return
    for line in summary(published.changes):
        click.echo(line)
    click.echo(f"All of it: rewards program diff --program {program} --from {replaced} --to {number}")
    if published.fresh:
        fresh = "; ".join(f"{section} {', '.join(keys)}" for section, keys in published.fresh.items())
        click.echo(f"New are {fresh}. To count what was recorded before: rewards program backfill --program {program}")


def summary(changes: Sequence[Change]) -> list[str]:
    """Aligned: a line for what was changed, one for all that was added to a section, one for all that was removed."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for change in changes:
        if change.kind == "changed":
            fields = [str(each) for each in change.fields]
            what = "; ".join(fields) if len(fields) <= FIELDS_SHOWN_MAX else f"{len(fields)} fields"
            note = f" ({change.note})" if change.note else ""
            rows[change.section, change.kind, change.key] = [f"{change.key}: {what}{note}"]
        else:
            rows.setdefault((change.section, change.kind), []).append(change.key)
    sections, kinds = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"  {row[0]:<{sections}}  {row[1]:<{kinds}}  {', '.join(told)}" for row, told in rows.items()]
    return [line if len(line) <= LINE_LENGTH_MAX else f"{line[: LINE_LENGTH_MAX - 1]}…" for line in lines]


async def _keyed(owner: Owner, publishing: Awaitable[Publication]) -> tuple[str, Publication]:
    return owner.program_key, await publishing


async def _publish_new(owner: Owner, source: bytes, note: str | None) -> Publication:
    """Raises `InvalidProgram` before anything is stored."""
    await owner.check_publishable(source)
    row, _ = await owner.draft(source, note=note, keep_source=True)
    return await owner.publish(row.number)


@click.command()
@PROGRAM
@click.option("--to", type=click.IntRange(min=1), help="Which version; by default the one published before.")
def rollback(program: str | None, to: int | None) -> None:
    """Publish an earlier version again."""
    show_publication(*as_owner(program, lambda owner: _keyed(owner, owner.roll_back(to))))


@click.command()
@click.argument("rule")
@PROGRAM
@click.option("--reason", help="Why, for those who find it paused.")
def pause(rule: str, program: str | None, reason: str | None) -> None:
    """Stop a rule at once, without a new version."""
    if reason is not None and len(reason) > NOTE_LENGTH_MAX:
        raise click.UsageError(f"A reason has at most {NOTE_LENGTH_MAX} characters.")
    as_owner(program, lambda owner: owner.pause(rule, reason=reason))
    click.echo(f"{rule} is paused.")


@click.command()
@click.argument("rule")
@PROGRAM
def resume(rule: str, program: str | None) -> None:
    """Let a paused rule fire again."""
    as_owner(program, lambda owner: owner.resume(rule))
    click.echo(f"{rule} may fire again.")
