"""Which program a command is about: the one that `--program` names, or the only live one that there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.domain.program.problems import nearest
from rewards.features.programs.queries import program_keys
from rewards.features.programs.store import UnknownProgram, program_id_of

PROGRAMS_SHOWN_MAX: Final = 20
PROGRAMS_READ_MAX: Final = 1_000
PROGRAM = click.option(
    "--program",
    metavar="KEY",
    help="The program's key, such as `shop`; needed only for sandboxes and where there are several.",
)


async def chosen_program(connection: AsyncConnection, key: str | None) -> tuple[int, str]:
    """Its id and key. Raises `UnknownProgram`, and `UsageError` with the keys where there are several to choose from."""
    if key is None:
        key = await _only(connection)
    try:
        return await program_id_of(connection, key), key
    except UnknownProgram as unknown:
        keys = [each for each, _ in await program_keys(connection, limit=PROGRAMS_READ_MAX)]
        raise UnknownProgram(f"{unknown.message}{_instead(key, keys)}", key=key) from None


def _instead(key: str, keys: Sequence[str]) -> str:
    near = nearest(key, keys)
    if near is not None:
        return f"; did you mean {near}?"
    return f"; known are {_listed(keys)}" if keys else ", nor any other"


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:PROGRAMS_SHOWN_MAX]) + (", …" if len(keys) > PROGRAMS_SHOWN_MAX else "")


async def _only(connection: AsyncConnection) -> str:
    keys = await program_keys(connection, limit=PROGRAMS_SHOWN_MAX + 1)
    if not keys:
        raise UnknownProgram("there is no program yet; `rewards program publish FILE --create` makes one")
    live = [key for key, kind in keys if kind == "live"]
    if len(live) == 1:
        return live[0]
    if len(keys) > 1:
        raise click.UsageError(f"Name one with --program: {_listed([key for key, _ in keys])}")
    return keys[0][0]
