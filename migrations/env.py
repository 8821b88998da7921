"""Alembic's entry: runs on the connection that `rewards.db.migrate` hands over, in one transaction."""

from alembic import context

from rewards.db.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Run `rewards migrate`; it opens the connection and takes the lock.")

context.configure(
    connection=connection,
    target_metadata=metadata,
    transaction_per_migration=False,
    include_object=lambda _item, _name, kind, reflected, other: not (kind == "table" and reflected and other is None),
)
with context.begin_transaction():
    context.run_migrations()
