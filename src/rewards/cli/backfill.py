"""`rewards program backfill`: new metrics count what was recorded before them, with a bar to watch."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

import click
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.printing import counted, progress_bar
from rewards.cli.root import run
from rewards.db.transact import reading
from rewards.features.backfills.running import Backfills
from rewards.features.backfills.runs import Named
from rewards.features.backfills.starting import BackfillRunning, Starter, Wish
from rewards.service import Service
from rewards.settings import Settings

ACTOR: Final = "cli"
PAUSE_SECONDS: Final = 1.0
"""How long to wait where the service is too busy for more."""


@click.command()
@PROGRAM
@click.option("--metric", "metrics", multiple=True, metavar="KEY", help="Which; by default those new in this version.")
@click.option("--silent", is_flag=True, help="Achieved without a word: no events, no news, no rewards.")
@click.option("--rewards/--no-rewards", default=None, help="Whether what is achieved is rewarded, announced or not.")
def backfill(program: str | None, metrics: tuple[str, ...], *, silent: bool, rewards: bool | None) -> None:
    """Count recorded events in metrics that are new, and give the badges and tiers that follow.

    Beside live traffic. Interrupted, it goes on in a worker, or where it stopped when this is called again.
    """
    announce = not silent
    wish = Wish(metrics or None, announce, announce if rewards is None else rewards)
    done = run(lambda settings: _backfill(settings, program, wish)).run
    click.echo(
        f"{counted(done.done, 'member')}, {done.changed:,} with recorded events; badges and tiers achieved: "
        f"{done.achieved:,}; {counted(done.failed, 'member')} failed"
    )
    if done.state == "cancelled":
        click.echo("It was cancelled.", err=True)
    if done.state == "cancelled" or done.failed:
        raise click.exceptions.Exit(1)


async def _backfill(settings: Settings, key: str | None, wish: Wish) -> Named:
    service = Service(settings)
    async with service.running():
        async with reading(service.engine) as connection:
            program_id, _ = await chosen_program(connection, key)
        starter = Starter(service.engine, service.programs, settings.event_retention_days)
        found = await _begun(starter, program_id, wish)
        return await _with_bar(starter, Backfills(service.engine, service.programs, service.lanes), found)


async def _begun(starter: Starter, program_id: int, wish: Wish) -> Named:
    """A new one, or the one that is at work."""
    try:
        return (await starter.start(program_id, wish, key=secrets.token_hex(16), actor=ACTOR))[0]
    except BackfillRunning as running:
        [found] = [each for each in await starter.every(program_id) if str(each.id) == running.details["backfill"]]
        click.echo(f"Going on with the backfill {found.id}, begun by {found.run.actor}.", err=True)
        return found


async def _with_bar(starter: Starter, backfills: Backfills, found: Named) -> Named:
    columns = (
        TextColumn("Counting"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,} members, {task.fields[achieved]:,} achieved"),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=found.run.members, achieved=0)
        while found.run.state == "running":
            if await backfills.step(found) is None:
                await asyncio.sleep(PAUSE_SECONDS)
            read = await starter.find(found.program_id, found.id)
            assert read is not None, "a backfill is never deleted"
            found = read
            bar.update(task, completed=found.run.done, achieved=found.run.achieved)
    return found
