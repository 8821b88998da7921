"""`rewards members`: bring members with their opening balances from another system."""

from __future__ import annotations

import asyncio
import csv
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TextIO

import click
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.printing import counted, progress_bar
from rewards.cli.root import run
from rewards.db.transact import reading
from rewards.domain.errors import InvalidInput
from rewards.features.imports.importing import Importer, Opening, Tally
from rewards.features.imports.reading import BadRow, Table
from rewards.features.imports.rehearsal import Rehearsal
from rewards.features.imports.runs import Progress as Done
from rewards.features.imports.runs import Runs, digest_of
from rewards.service import Service
from rewards.settings import Settings

SHOWN_MAX: Final = 20
_SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


def _source(_: click.Context, __: click.Parameter, value: str) -> str:
    if not _SOURCE.fullmatch(value):
        raise click.BadParameter("1 to 64 letters, digits and _ . : - are allowed")
    return value


@click.group()
def members() -> None:
    """Import members with their opening balances."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the command."""

    path: Path
    program: str | None
    currency: str
    source: str
    dry_run: bool


@members.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@PROGRAM
@click.option("--currency", default="points", show_default=True, metavar="KEY", help="What `points_balance` counts.")
@click.option(
    "--source",
    default="import",
    show_default=True,
    metavar="NAME",
    callback=_source,
    help="The system that the balances come from. A member is imported once per source and currency.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what the import would do, and write nothing to the database. Bad rows go to FILE.dry-run.errors.csv.",
)
@click.pass_context
def import_members(
    ctx: click.Context, file: Path, program: str | None, currency: str, source: str, *, dry_run: bool
) -> None:
    """Book opening balances from a CSV file.

    Columns: external_id, points_balance, and any attribute that the program declares (email, tier, joined_at, …); others
    are passed over. Bad rows are listed in FILE.errors.csv and stop nothing. A killed import goes on where it stopped, and
    a file imported before adds nothing. Exit code 1 when rows were bad.
    """
    request = Request(file, program, currency, source, dry_run)
    with file.open("rb") as opened, Errors(file, dry_run=dry_run) as errors:
        table = Table(opened)
        began = time.monotonic()
        try:
            tally = run(lambda settings: _import(settings, request, table, opened, errors))
        except KeyboardInterrupt:
            if not dry_run:
                click.echo("Interrupted. The same command goes on where it stopped.", err=True)
            raise
        _summary(tally, request, errors, seconds=time.monotonic() - began)
    ctx.exit(1 if tally.failed else 0)


async def _import(settings: Settings, request: Request, table: Table, opened: BinaryIO, errors: Errors) -> Tally:
    service = Service(settings)
    async with service.running():
        opening = await _opening(service, request)
        passed_over = [name for name in table.columns if name not in {*opening.attributes, *BOOKED}]
        if passed_over:
            click.echo(f"Not attributes of the program, passed over: {', '.join(passed_over)}", err=True)
        digest = await asyncio.to_thread(digest_of, request.path, source=request.source, currency=request.currency)
        runs = Runs(service.engine, opening.program_id, digest)
        before = await runs.read()
        if before.finished and not before.rows_failed:
            click.echo("This file was imported before; nothing to do.", err=True)
            return Tally(line=before.rows_done + 1)
        before = _going_on(request, before, errors)
        errors.start(before)
        size = os.fstat(opened.fileno()).st_size
        if not request.dry_run:
            importer = Importer(opening, service.intake.many, runs, report=errors.add)
            return await _with_bar(importer, table, before, size=size)
        with Rehearsal(service.engine, service.programs) as rehearsal:
            importer = Importer(opening, rehearsal.many, None, report=errors.add)
            return await _with_bar(importer, table, before, size=size)


def _going_on(request: Request, before: Done, errors: Errors) -> Done:
    """From where to go on, and says so."""
    if before.finished or not before.rows_done:
        # What was wrong may have been put right in the program. Rows that were imported are repeats.
        return Done()
    line = before.rows_done + 1
    if len(errors.reported(before)) != before.rows_failed:
        click.echo(
            f"Beginning anew: {errors.of_import} does not list the {counted(before.rows_failed, 'bad row')} up to line "
            f"{line:,}, where this import stopped. Members that were imported are not imported again.",
            err=True,
        )
        return Done()
    click.echo(f"{'The import would go on' if request.dry_run else 'Going on'} after line {line:,}.", err=True)
    return before


BOOKED: Final = ("external_id", "points_balance")


async def _opening(service: Service, request: Request) -> Opening:
    async with reading(service.engine) as connection:
        program_id, _ = await chosen_program(connection, request.program)
    program = (await service.programs.get(program_id)).program
    if request.currency not in program.currencies:
        known = ", ".join(sorted(program.currencies))
        raise InvalidInput(f"the program has no currency {request.currency!r}", path="--currency", expected=known)
    return Opening(program_id, request.currency, request.source, program.attributes)


async def _with_bar(importer: Importer, table: Table, before: Done, *, size: int) -> Tally:
    columns = (
        TextColumn("Importing"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f} a second, {task.fields[failed]:,} bad"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=size, rows=0, rate=0.0, failed=0)

        def progressed(tally: Tally) -> None:
            rate = (tally.line - before.rows_done) / max(time.monotonic() - began, 0.001)
            bar.update(task, completed=table.bytes_read, rows=tally.line - 1, rate=rate, failed=tally.failed)

        return await importer.run(table, before, progressed=progressed)


def _summary(tally: Tally, request: Request, errors: Errors, *, seconds: float) -> None:
    verb = "would be imported" if request.dry_run else "imported"
    click.echo(
        f"{counted(tally.imported, 'member')} {verb} with {tally.amount:,} {request.currency}, "
        f"{tally.repeated:,} imported before, {counted(tally.failed, 'bad row')}; {seconds:.1f} s"
    )
    if tally.failed:
        click.echo(f"Bad rows: {errors.path}", err=True)


class Errors:
    """The bad rows of an import of `file`: line, reason, row. For its owner only, since rows are personal data; gone when
    there are none.

    `FILE.errors.csv`, which an import that was interrupted goes on with. A dry run has a file of its own.
    """

    def __init__(self, file: Path, *, dry_run: bool) -> None:
        self.of_import = file.with_name(file.name + ".errors.csv")
        self.path = file.with_name(file.name + ".dry-run.errors.csv") if dry_run else self.of_import
        self._file: TextIO | None = None
        self._shown = 0
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        self._file.close()
        if not self._count:
            self.path.unlink()

    def reported(self, before: Done) -> list[list[str]]:
        """What an interrupted import has reported of the rows that are done; what it reported later comes again.

        Not as many rows as failed where the list was removed, or another import of the file has written its own.
        """
        if not before.rows_done or not self.of_import.exists():
            return []
        with self.of_import.open(encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):
            rows = [row for row in csv.reader(file) if row and row[0].isascii() and row[0].isdigit()]
            return [row for row in rows if int(row[0]) <= before.rows_done + 1]
        return []

    def start(self, before: Done) -> None:
        """Begins with what was reported before."""
        kept = self.reported(before)
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.unlink(missing_ok=True)
        self._file = os.fdopen(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline=""
        )
        csv.writer(self._file).writerows([["line", "reason", "row"], *kept])
        self._file.flush()
        fresh.replace(self.path)
        self._count = len(kept)

    def add(self, bad: list[BadRow]) -> None:
        """Writes them down, and shows the first few."""
        assert self._file is not None, "start comes first"
        csv.writer(self._file).writerows([each.line, each.reason, each.text] for each in bad)
        self._file.flush()
        self._count += len(bad)
        for each in bad[: max(0, SHOWN_MAX - self._shown)]:
            click.echo(f"line {each.line}: {each.reason}", err=True)
        if self._shown <= SHOWN_MAX < self._shown + len(bad):
            click.echo(f"… and more, all of them in {self.path}", err=True)
        self._shown += len(bad)
