"""What comes with every event is sampled lightly, in the months that are there and in those that are made later."""

from datetime import UTC, datetime

from sqlalchemy import text
from tests.service import create_database, service_settings

from rewards.db.partitions import STATISTICS_TARGET, ensure_partitions
from rewards.db.tables.base import PARTITIONED
from rewards.db.transact import transact
from rewards.service import database

LARGE = {*PARTITIONED, "member", "account", "lot", "dedup", "due", "leaderboard_score", "member_news"}
TARGETS = """
SELECT relname, array_agg(DISTINCT attstattarget) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
GROUP BY relname
"""


async def test_large_tables_and_all_their_months_are_sampled_lightly(database_url: str, redis_url: str) -> None:
    owner = database(
        service_settings(await create_database(database_url, "statistics_tests"), redis_url),
        application_name="tests",
        role=None,
    )
    try:
        made = await transact(owner, lambda connection: ensure_partitions(connection, datetime(2031, 5, 1, tzinfo=UTC)))
        async with owner.connect() as connection:
            rows = await connection.execute(text(TARGETS))
            lightly = {name for name, targets in rows if targets == [STATISTICS_TARGET]}
    finally:
        await owner.dispose()
    assert made
    assert lightly > LARGE | set(made), "the months that the migration found are there too"
