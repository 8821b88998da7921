"""Running it: who did what, imports that resume, and jobs that remember where they were."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, Uuid

from rewards.db.tables.base import document, metadata, moment

audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("program_id", Integer, nullable=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    document("details"),
    moment("recorded_at"),
)
Index("audit_program_idx", audit.c.program_id, audit.c.id)

import_run = Table(
    "import_run",
    metadata,
    Column("program_id", Integer, primary_key=True),
    Column("digest", LargeBinary, primary_key=True, comment="of the file's name for the source and its content"),
    Column("rows_done", BigInteger, nullable=False, server_default="0"),
    Column("rows_failed", BigInteger, nullable=False, server_default="0"),
    moment("started_at"),
    moment("finished_at", nullable=True),
)

job_state = Table(
    "job_state",
    metadata,
    Column("program_id", Integer, primary_key=True),
    Column("job", Text, primary_key=True),
    document("state", nullable=False),
    moment("updated_at"),
)
