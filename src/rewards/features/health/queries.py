"""What the database must be like before traffic may come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

_REVISIONS: Final = text("SELECT version_num FROM alembic_version")
_REVISIONS_KNOWN: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_CHANGEABLE: Final = text(
    """
    SELECT name
    FROM unnest(:tables) AS name
    WHERE to_regclass(quote_ident(name)) IS NOT NULL
      AND (has_table_privilege(to_regclass(quote_ident(name)), 'UPDATE')
           OR has_table_privilege(to_regclass(quote_ident(name)), 'DELETE')
           OR has_any_column_privilege(to_regclass(quote_ident(name)), 'UPDATE'))
    ORDER BY name
    """
).bindparams(bindparam("tables", type_=ARRAY(Text)))

_ANY_SECRET: Final = text("SELECT secret FROM program LIMIT 1")

_NEXT_MONTHS: Final = text(
    """
    SELECT to_char(day, 'YYYY-MM')
    FROM unnest(ARRAY[now(), now() + interval '2 days']) AS day
    WHERE to_regclass('event') IS NOT NULL AND to_regclass(to_char(day AT TIME ZONE 'UTC', '"event_"YYYY_MM')) IS NULL
    """
)


async def months_without_partition(connection: AsyncConnection) -> list[str]:
    """This month, or the one that begins within two days, if there is nowhere to write its history."""
    return sorted(set((await connection.execute(_NEXT_MONTHS)).scalars()))


async def migrated_to(connection: AsyncConnection) -> set[str]:
    """The revisions that the schema is at; none when it was never migrated."""
    if not (await connection.execute(_REVISIONS_KNOWN)).scalar_one():
        return set()
    return set((await connection.execute(_REVISIONS)).scalars())


async def any_secret(connection: AsyncConnection) -> bytes | None:
    """The sealed member key of some program, if there is any."""
    wrapped = (await connection.execute(_ANY_SECRET)).scalar_one_or_none()
    return None if wrapped is None else bytes(wrapped)


async def changeable(connection: AsyncConnection, tables: Sequence[str]) -> list[str]:
    """Those of the tables whose rows the current role may update or delete."""
    return list((await connection.execute(_CHANGEABLE, {"tables": list(tables)})).scalars())
