"""The rows that a batch writes, as composite types: each table's rows travel as one array.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A type whose columns must change gets a successor under another name: the service of before still uses this one.
TYPES = {
    "written_members": (
        "bucket smallint, member_id uuid, kind text, attributes jsonb, locale text, timezone text, state "
        "bytea, seq bigint, last_now timestamptz, merged_into uuid, created_at timestamptz"
    ),
    "written_accounts": (
        "bucket smallint, member_id uuid, currency text, available bigint, pending bigint, held bigint, "
        "debt bigint, issued bigint, redeemed bigint, expired bigint, revoked bigint, sent bigint, "
        "received bigint, last_activity_at timestamptz"
    ),
    "written_new_lots": (
        "bucket smallint, member_id uuid, id uuid, currency text, rule text, opened_at timestamptz, "
        "amount bigint, pending bigint, available bigint, held bigint, redeemed bigint, expired bigint, "
        "revoked bigint, sent bigint, matures_at timestamptz, expires_at timestamptz, due_at timestamptz"
    ),
    "written_changed_lots": (
        "bucket smallint, member_id uuid, id uuid, currency text, rule text, opened_at timestamptz, "
        "amount bigint, pending bigint, available bigint, held bigint, redeemed bigint, expired bigint, "
        "revoked bigint, sent bigint, matures_at timestamptz, expires_at timestamptz, due_at timestamptz"
    ),
    "written_holds": (
        "bucket smallint, member_id uuid, id uuid, currency text, amount bigint, captured bigint, "
        "released bigint, lots text, amounts text, reference text, created_at timestamptz, expires_at "
        "timestamptz"
    ),
    "written_transactions": (
        "bucket smallint, member_id uuid, id uuid, seq bigint, kind text, currency text, amount bigint, "
        "requested bigint, source text, actor text, reason text, reverses uuid, hold_id uuid, event_id "
        "uuid, reference_key uuid, available_after bigint, pending_after bigint, held_after bigint, "
        "debt_after bigint, effective_at timestamptz, recorded_at timestamptz"
    ),
    "written_notes": "bucket smallint, member_id uuid, id uuid, reference text, note text",
    "written_postings": (
        "bucket smallint, member_id uuid, transaction_id uuid, ordinal smallint, debit smallint, credit "
        "smallint, amount bigint, lot_id uuid"
    ),
    "written_reversals": "bucket smallint, member_id uuid, transaction_id uuid, reversed bigint",
    "written_outbox_rows": (
        "bucket smallint, member_id uuid, id uuid, seq bigint, topic text, payload jsonb, recorded_at timestamptz"
    ),
    "written_events": (
        "bucket smallint, member_id uuid, id uuid, client_id text, type text, status text, "
        "program_version int, occurred_at timestamptz, recorded_at timestamptz, properties jsonb, context "
        "jsonb, answer jsonb, trace jsonb, contributions jsonb"
    ),
    "written_answers": "bucket smallint, member_id uuid, id uuid, status smallint, body jsonb",
    "written_dedups": "bucket smallint, member_id uuid, key uuid, fingerprint bytea, entry_id uuid, quarantined bool",
    "written_dues": "bucket smallint, member_id uuid, key uuid, due_at timestamptz, name text, payload jsonb",
    "written_settled": "bucket smallint, member_id uuid, key uuid",
}


def upgrade() -> None:
    for name, columns in TYPES.items():
        op.execute(f"CREATE TYPE {name} AS ({columns})")


def downgrade() -> None:
    for name in TYPES:
        op.execute(f"DROP TYPE {name}")
