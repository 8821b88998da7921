"""The only begin, commit and retry. Whoever changes rows passes its work here; nobody else commits.

Nothing inside a transaction leaves the database: no HTTP, no Valkey, no waiting for others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, ClassVar, Final, TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from rewards.db.driver import execute, fetch, roll_back
from rewards.domain.errors import RewardsError

T = TypeVar("T")

RETRIES_MAX: Final = 3
BACKOFF_SECONDS: Final = 0.02
RETRY_AFTER_SECONDS: Final = 1

SERIALIZATION_FAILURE: Final = "40001"
DEADLOCK_DETECTED: Final = "40P01"
LOCK_NOT_AVAILABLE: Final = "55P03"
QUERY_CANCELED: Final = "57014"
BEGIN: Final = "BEGIN"
SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

READ_ONLY: Final = "25006"  # the server became a standby
CONFLICTS: Final = frozenset({SERIALIZATION_FAILURE, DEADLOCK_DETECTED})
SLOW: Final = frozenset({LOCK_NOT_AVAILABLE, QUERY_CANCELED})
# Connection exceptions, insufficient resources, operator intervention, system errors.
UNAVAILABLE_CLASSES: Final = frozenset({"08", "53", "57", "58", "F0", "XX"})
SESSION_ENDED: Final = ("08", "57P", "25P04")
# At COMMIT these say for certain that nothing was committed: data, constraint and conflict errors.
ROLLED_BACK_CLASSES: Final = frozenset({"22", "23", "40"})

_UNKNOWN: Final = "The connection ended during the commit; the change may have been made."


class StorageError(RewardsError):
    """The database could not do it now. Try again after `retry_after_seconds`."""

    code: ClassVar[str] = "database-unavailable"
    retry_after_seconds: ClassVar[int] = RETRY_AFTER_SECONDS


class DatabaseBusy(StorageError):
    """Too much contention: conflicts persisted through the retries, or a lock or statement took too long.

    Nothing was changed.
    """

    code = "database-busy"


class DatabaseUnavailable(StorageError):
    """The database cannot be reached, or ended the connection before COMMIT was sent. Nothing was changed."""

    code = "database-unavailable"


class UnknownCommit(StorageError):
    """The connection died during COMMIT: it may or may not have happened.

    Run the same command again: its dedup row decides. Never retried here.
    """

    code = "unknown-commit"


class _Conflict(Exception):
    """A serialization failure or a deadlock: rolled back, worth another try."""


class _Lost(Exception):
    """A connection that the pool held was dead, before COMMIT: rolled back, worth one more try on a fresh one."""


def sqlstate(error: DBAPIError) -> str | None:
    """The five-character SQLSTATE, or None when the server never answered."""
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_data_error(error: DBAPIError) -> bool:
    """Whether the values themselves were refused (SQLSTATE class 22 or 23): trying again would fail again."""
    return (sqlstate(error) or "")[:2] in {"22", "23"}


def lacks_partition(error: DBAPIError) -> bool:
    """Whether there is no partition to write to: nothing is wrong with the values, and soon there may be one."""
    violates_check = isinstance(error.orig, asyncpg.CheckViolationError)
    return violates_check and getattr(error.orig, "constraint_name", None) is None


async def transact(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work` in one READ COMMITTED transaction and commit it; `work` may run several times.

    Conflicts are retried three times. Raises DatabaseBusy, DatabaseUnavailable or UnknownCommit; data errors
    (`is_data_error`) and whatever `work` raises come out as they are, after a rollback.
    """
    return await _retried(engine, work, _committed)


async def transact_at_once(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work` outside of a transaction: it reads, and then changes rows by one `committing_statement`, its last.

    It holds no lock while it reads and decides, so that statement must check that what was read is still true.
    Retries and raises as `transact`.
    """
    return await _retried(engine, work, _connected_by_statement)


async def committing_statement(connection: AsyncConnection, sql: str, *arguments: Any) -> None:
    """One statement that is a transaction of its own: durable when this returns. Only for `transact_at_once`.

    Raises `UnknownCommit` when the session ends meanwhile. What else the server reports has rolled it back.
    """
    try:
        await fetch(connection, sql, *arguments)
    except DBAPIError as error:
        if error.connection_invalidated or (sqlstate(error) or "").startswith(SESSION_ENDED):
            raise UnknownCommit(_UNKNOWN) from error
        raise
    except (ConnectionError, TimeoutError) as error:
        raise UnknownCommit(_UNKNOWN) from error


async def _retried(
    engine: AsyncEngine,
    work: Callable[[AsyncConnection], Awaitable[T]],
    connected: Callable[[AsyncEngine], AbstractAsyncContextManager[AsyncConnection]],
) -> T:
    lost_before = False
    conflicts = 0
    while True:
        try:
            async with connected(engine) as connection:
                return await work(connection)  # committed when the block is left, before the value goes out
        except _Conflict as conflict:
            conflicts += 1
            if conflicts > RETRIES_MAX:
                raise DatabaseBusy("The database is busy with conflicting changes; nothing was changed.") from conflict
            await asyncio.sleep(BACKOFF_SECONDS * 2**conflicts * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        except _Lost as lost:
            if lost_before:
                raise DatabaseUnavailable("The database ended the connection; nothing was changed.") from lost
            lost_before = True


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction without retries: committed when the block ends well, else rolled back. Raises as `transact`."""
    try:
        async with _committed(engine) as connection:
            yield connection
    except _Conflict as conflict:
        raise DatabaseBusy("The database is busy with conflicting changes; nothing was changed.") from conflict
    except _Lost as lost:
        raise DatabaseUnavailable("The database ended the connection; nothing was changed.") from lost


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection for single SELECTs: each statement sees its own snapshot, and nothing is to be changed."""
    async with _connected(engine) as connection:
        with _translated_outside():
            yield connection


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A read-only REPEATABLE READ transaction: all statements see the same moment, and none may write."""
    async with _connected(engine) as connection:
        with _translated_outside():
            async with _begun(connection, SNAPSHOT):
                yield connection
                await roll_back(connection)


@asynccontextmanager
async def _committed(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with _connected(engine) as connection:
        with _translated():
            async with _begun(connection, BEGIN):
                yield connection
        try:
            await execute(connection, "COMMIT")
        except DBAPIError as error:
            state = sqlstate(error) or ""
            if state in CONFLICTS:
                raise _Conflict from error
            if state[:2] in ROLLED_BACK_CLASSES:
                raise
            raise UnknownCommit(_UNKNOWN) from error
        except (ConnectionError, TimeoutError) as error:
            raise UnknownCommit(_UNKNOWN) from error


@asynccontextmanager
async def _connected_by_statement(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with _connected(engine) as connection:
        with _translated():
            yield connection


@asynccontextmanager
async def _begun(connection: AsyncConnection, begin: str) -> AsyncIterator[None]:
    """Begins; whatever the block raises rolls back."""
    try:
        await execute(connection, begin)
        yield
    except Exception:
        await roll_back(connection)
        raise


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Check out a connection. What goes wrong before there is one is unavailability."""
    try:
        connection = await engine.connect()
    except PoolTimeout as error:
        raise DatabaseBusy("All database connections are in use.") from error
    except (OSError, DBAPIError) as error:
        raise DatabaseUnavailable("The database cannot be reached.") from error
    try:
        yield connection
    except Exception:
        raise
    except BaseException:
        await connection.invalidate()  # interrupted in the middle of a statement, perhaps: nobody else is to have it
        raise
    finally:
        await connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        state = sqlstate(error) or ""
        if state in CONFLICTS:
            raise _Conflict from error
        if state in SLOW:
            raise DatabaseBusy("The database took too long; nothing was changed.") from error
        if lacks_partition(error):
            raise DatabaseUnavailable(
                "This month has no partition yet: a worker or `rewards migrate` makes it."
            ) from error
        if error.connection_invalidated or state == READ_ONLY or state[:2] in UNAVAILABLE_CLASSES:
            raise _Lost from error
        raise
    except (ConnectionError, TimeoutError) as error:  # the driver's own, never mapped by SQLAlchemy
        raise _Lost from error


@contextmanager
def _translated_outside() -> Iterator[None]:
    try:
        with _translated():
            yield
    except _Conflict as conflict:
        raise DatabaseBusy("The database is busy with conflicting changes.") from conflict
    except _Lost as lost:
        raise DatabaseUnavailable("The database ended the connection.") from lost
