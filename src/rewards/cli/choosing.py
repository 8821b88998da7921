"""Which program a command is about: the one that `--program` names, or the only live one that there is."""

from __future__ import annotations

from typing import Final

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.features.programs.queries import program_keys
from rewards.features.programs.store import UnknownProgram, program_id_of

PROGRAMS_SHOWN_MAX: Final = 20
PROGRAM = click.option(
    "--program",
    metavar="KEY",
    help="The program's key, such as `shop`; needed only for sandboxes and where there are several.",
)


async def chosen_program(connection: AsyncConnection, key: str | None) -> tuple[int, str]:
    """Its id and key. Raises `UnknownProgram`, and `UsageError` with the keys where there are several to choose from."""
    if key is None:
        key = await _only(connection)
    return await program_id_of(connection, key), key


async def _only(connection: AsyncConnection) -> str:
    keys = await program_keys(connection, limit=PROGRAMS_SHOWN_MAX + 1)
    if not keys:
        raise UnknownProgram("there is no program yet; `rewards program publish FILE --create` makes one")
    live = [key for key, kind in keys if kind == "live"]
    if len(live) == 1:
        return live[0]
    if len(keys) > 1:
        more = ", …" if len(keys) > PROGRAMS_SHOWN_MAX else ""
        named = ", ".join(key for key, _ in keys[:PROGRAMS_SHOWN_MAX])
        raise click.UsageError(f"Name one with --program: {named}{more}")
    return keys[0][0]
