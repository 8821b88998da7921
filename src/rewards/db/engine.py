"""The connection pool: how the service reaches PostgreSQL, and the limits every session works under."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from sqlalchemy import URL, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from rewards.db.driver import DRIVER_CONNECTION, Record

DRIVER: Final = "postgresql+asyncpg"
NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})

POINT_LOOKUPS: Final[Mapping[str, str]] = MappingProxyType(
    {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
)
"""For sessions that only ever reach rows by key, a few hundred at a time: one plan for good, always through the index.

Left to itself the planner plans the same statement again and again, and reads small tables whole.
"""

# Once a session. Does nothing where the role is missing, is ours already, or may not be taken: `/readyz` tells.
TAKE_ROLE: Final = """
    SELECT set_config('role', rolname, false)
    FROM pg_roles
    WHERE rolname = $1 AND rolname <> session_user AND pg_has_role(session_user, oid, 'MEMBER')
"""


def database_url(text: str) -> URL:
    """The URL as the driver wants it: `postgres://` and `postgresql://` are taken, `sslmode` becomes `ssl`."""
    url = make_url(text)
    if url.drivername not in {"postgres", "postgresql", DRIVER}:
        raise ValueError(f"the database must be PostgreSQL, not {url.drivername}")
    url = url.set(drivername=DRIVER)
    if "sslmode" in url.query:
        url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
    return url.difference_update_query(["application_name"])


def make_engine(
    url: str,
    *,
    application_name: str,
    role: str | None = "rewards_app",
    pool_size: int = 8,
    pool_wait_seconds: float = 5,
    connect_timeout_seconds: float = 5,
    statement_timeout_seconds: float = 10,
    lock_timeout_seconds: float = 3,
    idle_in_transaction_timeout_seconds: float = 15,
    server_settings: Mapping[str, str] = NO_SETTINGS,
) -> AsyncEngine:
    """A pool whose sessions act as `role`, speak UTC, and give up in time. `role=None` stays the URL's user.

    JSON columns are encoded and decoded by msgspec; selected without a type they arrive as text.
    """
    engine = create_async_engine(
        database_url(url),
        isolation_level="AUTOCOMMIT",  # `transact` begins and commits; SQLAlchemy doing it costs more than a statement
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_wait_seconds,
        pool_use_lifo=True,  # idle connections stay idle, busy ones keep their caches warm
        hide_parameters=True,  # errors are logged, and parameters hold what members did
        json_serializer=_json_text,
        json_deserializer=msgspec.json.decode,
        connect_args={
            "timeout": connect_timeout_seconds,
            "record_class": Record,
            # The server's own limit comes first; this one is for a server that answers no more.
            "command_timeout": statement_timeout_seconds + 5,
            "server_settings": {
                "application_name": application_name,
                "timezone": "UTC",
                "statement_timeout": _milliseconds(statement_timeout_seconds),
                "lock_timeout": _milliseconds(lock_timeout_seconds),
                "idle_in_transaction_session_timeout": _milliseconds(idle_in_transaction_timeout_seconds),
                "jit": "off",  # short statements: compiling them costs more than it saves
                **server_settings,
            },
        },
    )

    @event.listens_for(engine.sync_engine, "connect")
    def keep_driver(connection: Any, entry: ConnectionPoolEntry) -> None:
        entry.info[DRIVER_CONNECTION] = connection.driver_connection

    if role is not None:

        @event.listens_for(engine.sync_engine, "connect")
        def take_role(connection: Any, _: ConnectionPoolEntry) -> None:
            connection.run_async(lambda driver: driver.fetchval(TAKE_ROLE, role))

    return engine


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
