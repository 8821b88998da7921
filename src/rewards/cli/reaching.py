"""Whether the servers that the environment names can be used, told in one line with the variable's name.

A line names the address and never the password.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import sqlstate
from rewards.settings import SettingsError
from rewards.valkey import VALKEY_ERRORS, make_valkey

UNDEFINED_TABLE: Final = "42P01"
INSUFFICIENT_PRIVILEGE: Final = "42501"


class Unreachable(SettingsError):
    """A server that a variable names cannot be used. The message says which, and why."""


async def reach_database(engine: AsyncEngine) -> None:
    """Connects once. Raises `Unreachable`."""
    try:
        async with engine.connect():
            pass
    except (OSError, DBAPIError) as error:
        where = engine.url.render_as_string(hide_password=True).partition("@")[2].partition("?")[0]
        raise Unreachable(
            f"REWARDS_DATABASE_URL: PostgreSQL at {where or 'its socket'} cannot be used: {why(error)}"
        ) from error


async def reach_valkey(url: str, *, timeout_seconds: float) -> None:
    """Asks once. Raises `Unreachable`."""
    valkey = make_valkey(url, timeout_seconds=timeout_seconds, connections_max=1)
    try:
        await valkey.ping()
    except VALKEY_ERRORS as error:
        parts = make_url(url)
        where = f"{parts.host}:{parts.port or 6379}" if parts.host else "its socket"
        raise Unreachable(f"REWARDS_REDIS_URL: Valkey at {where} cannot be used: {why(error)}") from error
    finally:
        await valkey.aclose()


def why(error: BaseException) -> str:
    """The reason as the server or the system gives it, without the library's own words around it."""
    if isinstance(error, DBAPIError):
        return _sentence(str(error.orig)) + _advice(sqlstate(error))
    system = error if isinstance(error, OSError) else error.__cause__ or error.__context__
    if isinstance(system, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(system, TimeoutError):
        return "it does not answer"
    return _sentence((isinstance(system, OSError) and system.strerror) or str(error))


def _advice(state: str | None) -> str:
    if state == UNDEFINED_TABLE:
        return "; run `rewards migrate` first"
    if state == INSUFFICIENT_PRIVILEGE:
        return (
            "; `rewards migrate` needs the owner of the database, who may create roles or has been granted rewards_app"
        )
    return ""


def _sentence(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].rstrip(".") if lines else "no reason was given"
