"""`rewards leaderboards`: build boards again from PostgreSQL, and prove that Valkey holds what PostgreSQL says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.cli.choosing import PROGRAM, chosen_program
from rewards.cli.printing import counted, progress_bar, table_console
from rewards.cli.reaching import Unreachable, why
from rewards.cli.root import run
from rewards.db.engine import make_engine
from rewards.db.transact import reading
from rewards.domain.errors import RewardsError
from rewards.domain.ids import BUCKETS
from rewards.domain.program.problems import meant
from rewards.features.leaderboards.boards import Kept, board_id, writing
from rewards.features.leaderboards.ranking import Fenced, Incomplete, Ranking, Score
from rewards.features.leaderboards.rebuilding import Difference, compare, rebuild, strangers
from rewards.pipeline.programs import Programs
from rewards.service import compiled
from rewards.settings import Settings
from rewards.valkey import VALKEY_ERRORS, Valkey, make_valkey

STATEMENT_TIMEOUT_SECONDS: Final = 600
VALKEY_TIMEOUT_SECONDS: Final = 30.0
TRY_AGAIN_SECONDS: Final = 0.2
TRIES_MAX: Final = 300
SHOWN_MAX: Final = 50
RIGHTED: Final = "`rewards leaderboards rebuild` rights it."
NO_BOARDS: Final = "The program has no leaderboards."


class UnknownBoard(RewardsError):
    """The published version has no leaderboard of that key."""

    code = "not-found"


class BoardBusy(RewardsError):
    """Another process has been writing the board all the time."""

    code = "database-busy"


@click.group()
def leaderboards() -> None:
    """Build leaderboards again from PostgreSQL, or prove what Valkey holds. The service does the first by itself."""


BOARD = click.option("--board", metavar="KEY", help="Only this one; without it, all of the program.")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the boards of a program are."""

    engine: AsyncEngine
    valkey: Valkey
    boards: Sequence[Kept]


@leaderboards.command(name="rebuild")
@PROGRAM
@BOARD
def rebuild_boards(program: str | None, board: str | None) -> None:
    """Write boards anew and put each in its place when it is whole; until then the old one is read. Safe at any time."""

    async def work(settings: Settings) -> None:
        async with _place(settings, program, board) as place:
            for each in place.boards:
                with _progress("entries") as progress:
                    task = progress.add_task(each.id.key, total=BUCKETS, count=0)

                    def told(buckets: int, entries: int, progress: Progress = progress, task: Any = task) -> None:
                        progress.update(task, completed=buckets, count=entries)

                    entries = await _rebuild(place, each, told)
                click.echo(f"{each.id.key}: {counted(entries, 'entry', 'entries')}")

            if not place.boards:
                click.echo(NO_BOARDS)

    run(work)


@leaderboards.command()
@PROGRAM
@BOARD
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
@click.pass_context
def verify(ctx: click.Context, program: str | None, board: str | None, *, as_json: bool) -> None:
    """Compare every entry with its score. Changes nothing, and may run while the service does.

    What has changed and is not on its board yet is no difference. Exit code 0 when all agree, 1 when something differs.
    """

    async def work(settings: Settings) -> dict[str, tuple[int, list[Difference]]]:
        async with _place(settings, program, board) as place:
            return {each.id.key: await _verify(place, each) for each in place.boards}

    found = run(work)
    if as_json:
        click.echo(json.dumps({key: _json(*each) for key, each in found.items()}, indent=2))
    else:
        _print(found)
    ctx.exit(1 if any(differences for _, differences in found.values()) else 0)


async def _rebuild(place: Place, board: Kept, told: Any) -> int:
    """Waits its turn: the projector has the board for moments only."""
    for _ in range(TRIES_MAX):
        try:
            async with writing(place.engine, board.id) as mine:
                if mine is not None:
                    return await rebuild(*mine, place.valkey, board, told=told)
        except (Fenced, Incomplete):  # Valkey has lost what was built, or somebody went on without our right
            pass
        await asyncio.sleep(TRY_AGAIN_SECONDS)
    raise BoardBusy(f"`{board.id.key}` is being written all the time; try again")


async def _verify(place: Place, board: Kept) -> tuple[int, list[Difference]]:
    ranking = Ranking(place.valkey)
    members, differences = 0, list[Difference]()
    with _progress("members") as progress:
        task = progress.add_task(board.id.key, total=BUCKETS + 1, count=0)
        async with reading(place.engine) as connection:
            for bucket in range(BUCKETS):
                found = await compare(connection, ranking, board, bucket)
                members += found.members
                differences += found.differences
                progress.update(task, advance=1, count=members)
            differences += await strangers(connection, ranking, board)
            progress.update(task, advance=1)
    return members, differences


@asynccontextmanager
async def _place(settings: Settings, program: str | None, board: str | None) -> AsyncIterator[Place]:
    engine = make_engine(
        settings.database_url.get_secret_value(),
        application_name="rewards leaderboards",
        role=settings.database_role,
        pool_size=2,
        statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
    )
    valkey = make_valkey(
        settings.redis_url.get_secret_value(), timeout_seconds=VALKEY_TIMEOUT_SECONDS, cluster=settings.redis_cluster
    )
    try:
        async with reading(engine) as connection:
            program_id, key = await chosen_program(connection, program)
        secret_key = settings.secret_key.get_secret_value()
        published = await Programs(engine, secret_key=secret_key, compiler=compiled).get(program_id)
        boards = published.program.boards.by_key if published.program.boards is not None else {}
        if board is not None and board not in boards:
            raise UnknownBoard(f"`{key}` has no leaderboard `{board}`{meant(board, boards)}")
        chosen = [boards[board]] if board is not None else boards.values()
        yield Place(engine, valkey, [Kept(board_id(published, each), each) for each in chosen])
    except VALKEY_ERRORS as error:
        raise Unreachable(f"REWARDS_REDIS_URL: Valkey cannot be used: {why(error)}") from error
    finally:
        await valkey.aclose()
        await engine.dispose()


def _progress(what: str) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("buckets, {task.fields[count]:,} " + what),
        TimeElapsedColumn(),
    )
    return progress_bar(*columns)


def _print(found: dict[str, tuple[int, list[Difference]]]) -> None:
    if not found:
        click.echo(NO_BOARDS)
    for key, (members, differences) in found.items():
        if not differences:
            click.echo(f"{key}: {counted(members, 'entry agrees', 'entries agree')}.")
            continue
        table = Table(Column("member", no_wrap=True), "period", "part", "in Valkey", "in PostgreSQL", box=None)
        for each in differences[:SHOWN_MAX]:
            row = (str(each.member), each.of.period, each.of.part, _written(each.found), _written(each.expected))
            table.add_row(*row)
        table_console().print(table)
        differ = f"{len(differences):,} of {counted(members, 'entry', 'entries')}"
        click.echo(f"{key}: {differ} {'differs' if len(differences) == 1 else 'differ'}; {RIGHTED}")


def _json(members: int, differences: list[Difference]) -> dict[str, Any]:
    rows = [
        {
            "member": str(each.member),
            "period": each.of.period,
            "part": each.of.part,
            "found": each.found.score if each.found is not None else None,
            "expected": each.expected.score if each.expected is not None else None,
        }
        for each in differences
    ]
    return {"members": members, "differences": rows}


def _written(score: Score | None) -> str:
    return "—" if score is None else f"{score.score:.17g} since {score.achieved_at.isoformat()}"
