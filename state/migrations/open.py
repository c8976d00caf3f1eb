"""The door to Alembic: most starts make the newest schema or find it, and loading Alembic takes a tenth of a start."""

from sqlalchemy import Connection


def upgrade(connection: Connection, revision: str) -> None:
    """Apply migrations up to the revision: a number, `head`, or `+1` for the next one."""
    from state.migrations.scripts import upgrade as apply

    apply(connection, revision)
