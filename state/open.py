"""Which driver a connection has: a platform on SQLite never loads PostgreSQL's."""

from contextlib import AbstractContextManager

from state.drivers import Driver, SqliteDriver, sqlite_errors


def driver_of(connection: object, dialect: str) -> Driver:
    """The driver's own connection behind one of SQLAlchemy's."""
    if dialect != "postgresql":
        return SqliteDriver(connection)
    from state.asyncpg_driver import AsyncpgDriver

    return AsyncpgDriver(connection)


def driver_errors(dialect: str) -> AbstractContextManager[None]:
    """Raise what the driver raises as SQLAlchemy would, so that one place says what it means."""
    if dialect != "postgresql":
        return sqlite_errors()
    from state.asyncpg_driver import asyncpg_errors

    return asyncpg_errors()
