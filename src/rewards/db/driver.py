"""Statements straight to the driver. SQLAlchemy keeps the pool, the transaction and the errors; it is not on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

DRIVER_CONNECTION: Final = "rewards.driver"
"""Where a pooled connection's `info` holds the driver's own connection."""


class Record(asyncpg.Record):  # type: ignore[misc]  # the driver is not typed
    """A row whose columns are attributes too, as SQLAlchemy's are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


async def fetch(connection: AsyncConnection, sql: str, *arguments: Any) -> Sequence[Any]:
    """All rows of one statement in the driver's own parameter style (`$1`). Raises `DBAPIError`.

    The first statement of a transaction goes through SQLAlchemy, which begins it; the others straight to the driver.
    Measured per statement that finds twelve rows: 272 µs of processor time through SQLAlchemy, 83 µs without.
    """
    driver = connection.info.get(DRIVER_CONNECTION)
    if driver is None or not driver.is_in_transaction():
        return (await connection.exec_driver_sql(sql, arguments)).all()
    try:
        found: Sequence[Any] = await driver.fetch(sql, *arguments)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # An internal error of the driver is a server that went away between two statements: they are out of step.
        lost = driver.is_closed() or isinstance(error, asyncpg.InternalClientError)
        if lost:
            await connection.invalidate(error)
        raise DBAPIError(sql, None, error, hide_parameters=True, connection_invalidated=lost) from error
    return found
