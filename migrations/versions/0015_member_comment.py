"""What the database says of the table of members is true again. See docs/decisions/0025.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BEFORE = "One per program and external id. Locked FOR UPDATE by every command."
NOW = "One per program and external id. What the member owns changes only together with this row, which is locked by what writes."


def upgrade() -> None:
    op.create_table_comment("member", NOW, existing_comment=BEFORE)


def downgrade() -> None:
    op.create_table_comment("member", BEFORE, existing_comment=NOW)
