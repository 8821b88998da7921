"""`rewards program backfill`: new metrics count what was recorded before them, with a bar to watch."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final
from uuid import UUID

import click
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.printing import counted, progress_bar
from rewards.cli.root import run
from rewards.db.transact import reading
from rewards.domain.errors import RewardsError
from rewards.features.backfills.running import Backfills
from rewards.features.backfills.runs import Named
from rewards.features.backfills.starting import BackfillRunning, Starter, Wish
from rewards.service import Service
from rewards.settings import Settings

ACTOR: Final = "cli"
PAUSE_SECONDS: Final = 1.0
"""How long to wait where the service is too busy for more."""


class NothingAtWork(RewardsError):
    """There is no backfill to go on with."""

    code = "not-found"


@click.command()
@PROGRAM
@click.option("--metric", "metrics", multiple=True, metavar="KEY", help="Which; by default those new in this version.")
@click.option("--silent", is_flag=True, help="Achieved without a word: no events, no news, no rewards.")
@click.option("--rewards/--no-rewards", default=None, help="Whether what is achieved is rewarded, announced or not.")
@click.option("--resume", is_flag=True, help="Go on with the one that is at work, as it was begun.")
def backfill(
    program: str | None, metrics: tuple[str, ...], *, silent: bool, rewards: bool | None, resume: bool
) -> None:
    """Count recorded events in metrics that are new, and give the badges and tiers that follow.

    Beside live traffic, one of a program at a time. Interrupted, it goes on in a worker, or where it stopped when this is
    called again with the same options. Other options are refused until it has ended.
    """
    if resume and (metrics or silent or rewards is not None):
        raise click.UsageError("--resume goes on as it was begun: it takes no --metric, --silent or --rewards.")
    announce = not silent
    wish = None if resume else Wish(metrics or None, announce, announce if rewards is None else rewards)
    try:
        done = run(lambda settings: _backfill(settings, program, wish)).run
    except KeyboardInterrupt:
        click.echo("Interrupted. What was begun goes on in a worker, or with --resume.", err=True)
        raise
    click.echo(
        f"{counted(done.done, 'member')}, {done.changed:,} with events to fill in; badges and tiers achieved: "
        f"{done.achieved:,}; {counted(done.failed, 'member')} failed"
    )
    if done.state == "cancelled":
        click.echo("It was cancelled.", err=True)
    if done.state == "cancelled" or done.failed:
        raise click.exceptions.Exit(1)


async def _backfill(settings: Settings, key: str | None, wish: Wish | None) -> Named:
    """`wish` None goes on with whichever is at work."""
    service = Service(settings)
    async with service.running():
        async with reading(service.engine) as connection:
            program_id, of = await chosen_program(connection, key)
        starter = Starter(service.engine, service.programs, settings.event_retention_days)
        found = await _begun(starter, program_id, of, wish)
        return await _with_bar(starter, Backfills(service.engine, service.programs, service.lanes), found)


async def _begun(starter: Starter, program_id: int, program: str, wish: Wish | None) -> Named:
    """A new one, or the one at work if it is what is wished for. Raises `BackfillRunning` if it is another."""
    found = await starter.at_work(program_id)
    if found is None and wish is not None:
        try:
            return (await starter.start(program_id, wish, key=secrets.token_hex(16), actor=ACTOR))[0]
        except BackfillRunning as running:  # somebody was faster
            found = await starter.find(program_id, UUID(running.details["backfill"]))
    if found is None:
        raise NothingAtWork(f"no backfill of `{program}` is at work; without --resume one begins")
    if wish is not None and not await starter.is_asked_for(found, wish):
        raise BackfillRunning(_other(found, program), backfill=str(found.id))
    click.echo(f"Going on with the backfill {found.id}, begun by {found.run.actor}.", err=True)
    return found


def _other(found: Named, program: str) -> str:
    """What is at work instead of what was asked for, and what can be done."""
    begun = found.run
    options = [f"--metric {key}" for key in sorted(begun.metrics)] or ["no metric (badges and tiers only)"]
    if not begun.announce:
        options.append("--silent")
    if begun.announce != begun.rewards:
        options.append("--rewards" if begun.rewards else "--no-rewards")
    return (
        f"another backfill of `{program}` is at work; nothing was begun\n"
        f"  It has: {' '.join(options)}; begun by {begun.actor} at {begun.started_at:%Y-%m-%d %H:%M} UTC with version "
        f"{begun.version}, {begun.done:,} of {counted(max(begun.members, begun.done), 'member')} done\n"
        f"  Go on with it: rewards program backfill --program {program} --resume (a worker does, too)\n"
        f"  Or end it: DELETE /v1/programs/backfills/{found.id}"
    )


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
