"""What is only ever read whole is kept as written: `json` instead of `jsonb` for events and answers.

Taking the five documents of an event apart took PostgreSQL half as long again as storing them, and a quarter more room.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

RECORDS = {"event": ("properties", "context", "answer", "trace", "contributions"), "answer": ("body",)}
TYPES = {
    "written_events_2": (
        "bucket smallint, member_id uuid, id uuid, client_id text, type text, status text, "
        "program_version int, occurred_at timestamptz, recorded_at timestamptz, properties json, context "
        "json, answer json, trace json, contributions json"
    ),
    "written_answers_2": "bucket smallint, member_id uuid, id uuid, status smallint, body json",
}


def _alter(to: str) -> None:
    for table, columns in RECORDS.items():
        changes = ", ".join(f"ALTER COLUMN {column} TYPE {to} USING {column}::{to}" for column in columns)
        op.execute(f"ALTER TABLE {table} {changes}")


def upgrade() -> None:
    _alter("json")
    for name, columns in TYPES.items():
        op.execute(f"CREATE TYPE {name} AS ({columns})")


def downgrade() -> None:
    for name in TYPES:
        op.execute(f"DROP TYPE {name}")
    _alter("jsonb")
