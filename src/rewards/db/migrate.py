"""Brings a database to the newest schema: Alembic's migrations, the service's role, and the partitions ahead."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.partitions import GRANTS, ensure_partitions
from rewards.db.transact import transaction

MIGRATIONS: Final = Path(__file__).resolve().parents[3] / "migrations"
_LOCK: Final = 0x5245_5741
"""One migration at a time: a transaction-level advisory lock, since several processes may start together."""

_ROLES: Final = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rewards_app') THEN
        BEGIN
            CREATE ROLE rewards_app NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'rewards_app', 'SET') THEN
        GRANT rewards_app TO CURRENT_USER;
    END IF;
END $$
"""
"""An owner that may not make roles can be given this one."""


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def head_revision() -> str | None:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def _upgrade(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def migrate(owner: AsyncEngine, *, now: datetime | None = None) -> str | None:
    """Migrates as the owner of the schema, in one transaction. Returns the revision reached. Safe to run from many processes.

    Raises as `transact` does where the database cannot be reached.
    """
    async with transaction(owner) as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.execute(text(_ROLES))
        await connection.run_sync(_upgrade)
        await ensure_partitions(connection, now or datetime.now(UTC))
        for grant in GRANTS:
            await connection.execute(text(grant))
        return await connection.run_sync(current_revision)
