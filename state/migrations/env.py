"""Alembic's entry: runs on the connection that `state.migrate` hands over."""

from alembic import context

from core.failpoints import failpoint
from state.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    on_version_apply=lambda **_: failpoint("migration_step"),
)
with context.begin_transaction():
    context.run_migrations()
