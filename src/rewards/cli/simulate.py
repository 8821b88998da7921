"""`rewards program simulate`: what a document would have done with events that have happened. Nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from rewards.cli.documents import FILE, check_distinct, document_in, read_source
from rewards.cli.owned_program import as_owner, stored_document
from rewards.cli.printing import console, progress_bar
from rewards.cli.simulation_report import budget_totals, figures, show
from rewards.db.transact import reading
from rewards.features.programs import queries
from rewards.features.programs.owning import Owner
from rewards.features.programs.recorded import Recording, simulate_recorded
from rewards.features.programs.simulate import Progress as Hears
from rewards.features.programs.simulate import Written, simulate_file
from rewards.settings import load_settings

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(9999, 1, 1, tzinfo=UTC)
MOMENTS: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"])


@click.command()
@click.argument("file", type=FILE)
@click.option("--events", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Events, one JSON a line.")
@click.option("--recorded", is_flag=True, help="The events that the program recorded.")
@click.option(
    "--program",
    metavar="KEY",
    help="Whose events, by default of the one in the document; with --events, whose published document to compare with.",
)
@click.option("--against", type=FILE, help="Another document to compare with.")
@click.option("--from", "since", type=MOMENTS, help="Recorded events from this moment (UTC unless it says otherwise).")
@click.option("--to", "until", type=MOMENTS, help="Recorded events before this moment.")
@click.option("--processes", type=click.IntRange(1, 64), help="How many processes may decide at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def simulate(
    file: Path,
    events: Path | None,
    recorded: bool,
    program: str | None,
    against: Path | None,
    since: datetime | None,
    until: datetime | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Replay events through a document and print what would change. Nothing is written.

    --events FILE replays a file of events, in time order, each line as for POST /v1/events with `occurred_at`; the
    document in the database (--program) or another one (--against) is the comparison; lines that are no events, and events
    that the document rejects, are counted, and the first of them told with their numbers and why. --recorded replays what a program
    recorded and compares with what was answered then, or with --against.
    """
    if (events is None) == (not recorded):
        raise click.UsageError("Give either --events FILE or --recorded.")
    if events is not None and (since is not None or until is not None):
        raise click.UsageError("--from and --to are of --recorded: a file is replayed as a whole.")
    if events is not None and program is not None and against is not None:
        raise click.UsageError("Compare with --program, or with --against.")
    check_distinct(file, against)
    first, end = _utc(since) or BEGINNING, _utc(until) or END
    if end < first:
        raise click.UsageError("--to is before --from.")
    source = read_source(file)
    document = document_in(source, file)
    after = Written(source)
    before = _written(against) if against is not None else None
    with _bar() as progress:
        if events is not None:
            if before is None and program is not None:
                before = as_owner(program, _published)
            found = simulate_file(events, after, before, progress, processes=processes)
        else:
            settings = load_settings()
            program_id, published = as_owner(program or document.program.key, _owned)
            recording = Recording(
                settings.database_url.get_secret_value(),
                settings.database_role,
                program_id,
                first,
                end,
            )
            found = simulate_recorded(
                recording, after, before, progress, published=published.compiled(), processes=processes
            )
    label = str(against) if against else ("recorded" if recorded else f"{program} published" if program else None)
    money = document.program.money
    budgets = budget_totals(after.compiled())
    if as_json:
        click.echo(json.dumps(figures(found, label, money, budgets), ensure_ascii=False))
    else:
        show(console(), found, names=(label or "", str(file)), money=money, budgets=budgets)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _written(path: Path) -> Written:
    source = read_source(path)
    document_in(source, path)
    return Written(source)


async def _published(owner: Owner) -> Written:
    stored = await stored_document(owner, None)
    async with reading(owner.engine) as connection:
        pauses = await queries.list_pauses(connection, owner.program_id)
    return Written(stored.as_written, frozenset(pauses))


async def _owned(owner: Owner) -> tuple[int, Written]:
    return owner.program_id, await _published(owner)


@contextmanager
def _bar() -> Iterator[Hears]:
    """A progress bar on standard error, on a terminal only."""
    shown = progress_bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with shown:

        def hear(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total)
            shown.update(tasks[stage], completed=done)

        yield hear
