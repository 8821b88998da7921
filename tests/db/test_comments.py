"""What the database says of its tables and columns is what the code says of them."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from rewards.db.engine import database_url
from rewards.db.tables import metadata

COMMENTS = """
SELECT c.relname || coalesce('.' || a.attname, ''), d.description
FROM pg_description d
JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND a.attnum > 0
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


async def test_the_comments_are_those_of_the_code(migrated_url: str) -> None:
    written = {table.name: table.comment for table in metadata.tables.values()}
    for table in metadata.tables.values():
        written |= {f"{table.name}.{column.name}": column.comment for column in table.columns}
    engine = create_async_engine(database_url(migrated_url))
    async with engine.connect() as connection:
        rows = await connection.execute(text(COMMENTS))
        found = {row[0]: row[1] for row in rows}
    await engine.dispose()
    assert found == {name: comment for name, comment in written.items() if comment is not None}
