"""Errors as one readable line and an exit code: 1 refused, 2 wrong usage."""

from __future__ import annotations

import errno
from typing import Final

import click
from sqlalchemy.exc import DBAPIError

from rewards.cli.reaching import INSUFFICIENT_PRIVILEGE, UNDEFINED_TABLE, Unreachable, why
from rewards.cli.root import explained
from rewards.db.transact import StorageError, sqlstate
from rewards.domain.errors import RewardsError
from rewards.local import LocalServersError
from rewards.settings import SettingsError

_SAID_BY_ITSELF: Final = frozenset({errno.EADDRINUSE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_WHAT_NEXT: Final = {
    "unknown-version": "; `rewards program versions` lists those that there are",
    "nothing-published": "; `rewards program publish FILE` publishes one",
}
"""For refusals that programs get, too, and that are put right by a command."""


def told(error: Exception) -> click.ClickException | None:
    """What to say of an error that a user can do something about; None for a defect."""
    if isinstance(error, Unreachable):
        return click.ClickException(str(error))
    if isinstance(error, SettingsError):
        return click.UsageError(f"The environment is incomplete or wrong:\n{error}")
    if isinstance(error, StorageError):
        cause = f": {why(error.__cause__)}" if error.__cause__ is not None else ""
        return click.ClickException(f"{error.message.rstrip('.')}{cause} (REWARDS_DATABASE_URL)")
    if isinstance(error, DBAPIError) and sqlstate(error) in {UNDEFINED_TABLE, INSUFFICIENT_PRIVILEGE}:
        return click.ClickException(f"The database refused: {why(error)}")
    if isinstance(error, RewardsError):
        return click.ClickException(explained(error) + _WHAT_NEXT.get(error.code, ""))
    if isinstance(error, LocalServersError):  # its message ends in what the server itself said
        return click.ClickException(str(error))
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _SAID_BY_ITSELF):
        where = f"{error.filename}: " if error.filename is not None else ""
        return click.ClickException(f"{where}{error.strerror}")
    return None
