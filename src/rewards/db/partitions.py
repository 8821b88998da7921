"""Monthly partitions of the history tables, made ahead of time.

A partition holds the ids of one UTC month; ids carry wall time, so routing a row or a read needs no lookup.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from rewards.db.tables.base import INSERT_ONLY, PARTITIONED
from rewards.domain.ids import id_floor

MONTHS_AHEAD: Final = 3
APP_ROLE: Final = "rewards_app"
STATISTICS_TARGET: Final = 10
"""Of every column: a tenth of PostgreSQL's default, and so a tenth of the rows are sampled. See docs/decisions/0026."""


def month_start(moment: datetime, months: int = 0) -> datetime:
    """The first instant (UTC) of the month of `moment`, moved by `months`."""
    index = moment.year * 12 + moment.month - 1 + months
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def partition_name(table: str, start: datetime) -> str:
    return f"{table}_{start:%Y_%m}"


def _key(table: str) -> str:
    return "transaction_id" if table == "posting" else "id"


async def ensure_partitions(connection: AsyncConnection, now: datetime, *, months_behind: int = 1) -> list[str]:
    """Creates what is missing from `months_behind` before `now` to `MONTHS_AHEAD` after it. Returns the names made."""
    rows = await connection.execute(text("SELECT relname FROM pg_class WHERE relispartition"))
    existing = set(rows.scalars())
    made = []
    for offset in range(-months_behind, MONTHS_AHEAD + 1):
        start, end = month_start(now, offset), month_start(now, offset + 1)
        for table in PARTITIONED:
            name = partition_name(table, start)
            if name in existing:
                continue
            await connection.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} "
                    f"FOR VALUES FROM ('{id_floor(start)}') TO ('{id_floor(end)}')"
                )
            )
            # Rows are reached through the parent, whose privileges count; the partition itself stays closed to the service.
            await _sample_lightly(connection, name)
            made.append(name)
    return made


async def _sample_lightly(connection: AsyncConnection, partition: str) -> None:
    """A new partition does not take this over from its parent."""
    columns = await connection.execute(
        text(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped"
        ),
        {"name": partition},
    )
    targets = ", ".join(f'ALTER COLUMN "{column}" SET STATISTICS {STATISTICS_TARGET}' for column in columns.scalars())
    await connection.execute(text(f"ALTER TABLE {partition} {targets}"))


GRANTS: Final = (
    f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APP_ROLE}",
    f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {APP_ROLE}",
    *(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {APP_ROLE}" for table in INSERT_ONLY),
)
