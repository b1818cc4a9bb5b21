"""How Alembic reaches the store: over the connection that `tumorscope.server.store.upgrade` hands it."""

from alembic import context

from tumorscope.server.tables import Table

if hasattr(context, "config"):  # absent where anything but Alembic imports this file
    context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
    with context.begin_transaction():
        context.run_migrations()
