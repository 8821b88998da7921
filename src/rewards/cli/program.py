"""`rewards program`: check, test, compare, publish and simulate program documents."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from rewards.cli.backfill import backfill
from rewards.cli.documents import FILE, check_distinct, checked, document_of, read_source, show_problems, tested
from rewards.cli.owned_program import owned_document, pause, publish, resume, rollback, versions
from rewards.cli.printing import console, counted
from rewards.cli.simulate import simulate
from rewards.domain.program.diff import diff as compare
from rewards.domain.program.docs import render
from rewards.domain.program.schema import document_schema

OF_PROGRAM = click.option("--program", metavar="KEY", help="A program in the database instead of a file.")
VERSION = click.option("--version", type=click.IntRange(min=1), help="Its version; the published one by default.")


@click.group()
def program() -> None:
    """Check, test, compare, publish and simulate program documents.

    check, test, diff, docs and schema of files need neither a database nor settings.
    """


@program.command()
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Report everything that is wrong with documents, each mistake with its place."""
    check_distinct(*files)
    wrong = False
    for path in files:
        source = read_source(path)
        report = checked(source)
        wrong = wrong or not report.ok
        if as_json:
            click.echo(json.dumps({"file": str(path), **report.as_json()}, ensure_ascii=False))
            continue
        show_problems(report, str(path), source)
        if report.document is not None:
            document = report.document
            click.echo(
                f"{path}: ok, {counted(len(document.rules), 'rule')}, {counted(len(document.metrics), 'metric')}, "
                f"{counted(len(document.tests), 'test')}"
            )
    if wrong:
        raise click.exceptions.Exit(1)


@program.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def test(file: Path, as_json: bool) -> None:
    """Run the tests that a document carries."""
    source = read_source(file)
    found = tested(source)
    if as_json:
        click.echo(json.dumps({**found.report.as_json(), "ok": found.ok, "tests": found.results}, ensure_ascii=False))
    else:
        out = console()
        show_problems(found.report, str(file), source)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for result in found.results:
            table.add_row("[green]passed[/]" if result["passed"] else "[bold red]failed[/]", escape(result["name"]))
            for failure in result["failures"]:
                table.add_row("", f"[red]{escape(failure)}[/]")
        out.print(table)
        passed = sum(1 for result in found.results if result["passed"])
        if found.report.ok:
            out.print(f"{passed} passed, {len(found.results) - passed} failed")
    if not found.ok:
        raise click.exceptions.Exit(1)


@program.command()
@click.argument("files", nargs=-1, type=FILE, metavar="[BEFORE] [AFTER]")
@OF_PROGRAM
@click.option("--from", "before", type=click.IntRange(min=1), help="A version; the published one by default.")
@click.option("--to", "after", type=click.IntRange(min=1), help="A version to compare with.")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def diff(files: tuple[Path, ...], program: str | None, before: int | None, after: int | None, as_json: bool) -> None:
    """Compare two documents by meaning: two files, a file with a program's version, or two versions.

    A file alone is compared with what is published of the program that it names.
    """
    check_distinct(*files)
    if len(files) == 2 and program is None and before is None and after is None:
        one, other = (document_of(path) for path in files)
    elif len(files) == 1 and after is None:
        other = document_of(files[0])
        one = owned_document(program or other.program.key, before)
    elif program is not None and not files and after is not None:
        one, other = owned_document(program, before), owned_document(program, after)
    else:
        raise click.UsageError(
            "Give two files, or one file (with --program unless it names its own, and --from for another version than "
            "the published one), or --program with --to."
        )
    changes = compare(one, other)
    if as_json:
        click.echo(json.dumps([change.as_json() for change in changes], ensure_ascii=False))
        return
    out = console()
    colours = {"added": "green", "removed": "red", "moved": "cyan"}
    for change in changes:
        out.print(f"[{colours.get(change.kind, 'yellow')}]{escape(str(change))}[/]")
    if not changes:
        out.print("No change.")


@program.command()
@click.argument("file", type=FILE, required=False)
@OF_PROGRAM
@VERSION
def docs(file: Path | None, program: str | None, version: int | None) -> None:
    """Print the program for people, as Markdown with a flowchart of each rule."""
    if (file is None) == (program is None):
        raise click.UsageError("Give either a file or --program.")
    if file is not None and version is not None:
        raise click.UsageError("--version goes with --program: a file is one version.")
    if file is not None:
        click.echo(render(document_of(file)))
    elif program is not None:
        click.echo(render(owned_document(program, version)))


@program.command()
def schema() -> None:
    """Print the grammar as JSON Schema, for editors."""
    click.echo(json.dumps(document_schema(), indent=2))


for command in (versions, publish, backfill, rollback, pause, resume, simulate):
    program.add_command(command)
