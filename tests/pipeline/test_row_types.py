"""The rows that slices write, and the composite types in the database that carry them, say the same; and their order."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from rewards.db.engine import database_url
from rewards.pipeline.write_batch import Rows
from rewards.service import WRITES

ATTRIBUTES = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS kind
FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
WHERE t.typname = :name AND a.attnum > 0
ORDER BY a.attnum
"""
SHORT = {"timestamp with time zone": "timestamptz", "integer": "int", "boolean": "bool"}


@pytest.mark.parametrize("rows", WRITES, ids=lambda rows: rows.name)
async def test_a_slice_writes_what_its_type_holds(migrated_url: str, rows: Rows) -> None:
    engine = create_async_engine(database_url(migrated_url))
    async with engine.connect() as connection:
        found = (await connection.execute(text(ATTRIBUTES), {"name": rows.row_type})).all()
    await engine.dispose()
    assert tuple((name, SHORT.get(kind, kind)) for name, kind in found) == rows.columns


def test_what_others_may_want_too_is_locked_in_one_order() -> None:
    """Whoever locks a short budget beforehand waits for new members and keys after it, as everybody does."""
    assert [rows.name for rows in WRITES if rows.exact] == ["claims", "new_members", "dedups"]
