"""The two drivers as `state.direct` uses them: begin, fetch, run, commit; nothing of SQLAlchemy in between."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from state.compiled import Query

try:  # the one that databases are opened with
    from pysqlite3 import dbapi2 as sqlite
except ImportError:
    from sqlite3 import dbapi2 as sqlite

Values = Mapping[str, object]

# Each statement here finds its rows by an index, whatever its parameters: planned once per connection instead of at
# each execution, which would take longer than the execution, and longer still in large tables. A plan that was made
# when a table was small must not stay with reading all of it.
BEGIN = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"


class Driver(Protocol):
    """One connection, for the length of one transaction."""

    dialect: str

    async def begin(self) -> None:
        """Begin a transaction that writes."""
        ...

    async def fetch(self, query: Query, values: Values) -> Sequence[Sequence[object]]:
        """The rows that the statement answers."""
        ...

    async def run(self, query: Query, rows: Sequence[Values]) -> None:
        """Run the statement once for each of these, in one exchange with the database."""
        ...

    async def commit(self) -> None:
        """Make it last."""
        ...

    async def rollback(self) -> None:
        """Undo it, if the connection is still there."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        ...

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction has begun and not ended."""
        ...


class AsyncpgDriver:
    """PostgreSQL."""

    dialect = "postgresql"

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def begin(self) -> None:
        """Begin a transaction that writes."""
        await self._connection.execute(BEGIN)

    async def fetch(self, query: Query, values: Values) -> Sequence[Sequence[object]]:
        """The rows that the statement answers."""
        found: list[Any] = await self._connection.fetch(query.text, *query.values(values))
        return found

    async def run(self, query: Query, rows: Sequence[Values]) -> None:
        """Run the statement for each of these; the driver sends them all before it reads an answer."""
        await self._connection.executemany(query.text, [query.values(row) for row in rows])

    async def commit(self) -> None:
        """Make it last."""
        await self._connection.execute("COMMIT")

    async def rollback(self) -> None:
        """Undo it, if the connection is still there."""
        if not self._connection.is_closed():
            await self._connection.execute("ROLLBACK")

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._connection.is_closed())

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return bool(self._connection.is_in_transaction())


class SqliteDriver:
    """SQLite in the thread of its connection: each call is one exchange with it."""

    dialect = "sqlite"

    def __init__(self, connection: object) -> None:
        self._connection: Any = connection  # aiosqlite must not be imported before its `sqlite3` is chosen

    async def begin(self) -> None:
        """Begin a transaction that writes."""
        await self._connection.execute("BEGIN IMMEDIATE")

    async def fetch(self, query: Query, values: Values) -> Sequence[Sequence[object]]:
        """The rows that the statement answers."""
        found: list[Any] = await self._connection.execute_fetchall(query.text, query.values(values))
        return found

    async def run(self, query: Query, rows: Sequence[Values]) -> None:
        """Run the statement for each of these."""
        await self._connection.executemany(query.text, [query.values(row) for row in rows])

    async def commit(self) -> None:
        """Make it last."""
        await self._connection.commit()

    async def rollback(self) -> None:
        """Undo it."""
        await self._connection.rollback()

    @property
    def is_closed(self) -> bool:
        """Never: it is a file of ours."""
        return False

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return bool(self._connection.in_transaction)


def driver_of(connection: object, dialect: str) -> Driver:
    """The driver's own connection behind one of SQLAlchemy's."""
    return AsyncpgDriver(connection) if dialect == "postgresql" else SqliteDriver(connection)


@contextmanager
def driver_errors() -> Iterator[None]:
    """Raise what the drivers raise as SQLAlchemy would, so that one place says what it means."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise IntegrityError("a direct statement", None, error) from error
    except (
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.ConnectionFailureError,
        # The driver's own words for a connection that the server has cut: "connection is closed".
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise DBAPIError("a direct statement", None, error, connection_invalidated=True) from error
    except asyncpg.PostgresError as error:
        raise DBAPIError("a direct statement", None, error) from error
    except sqlite.IntegrityError as error:
        raise IntegrityError("a direct statement", None, error) from error
    except sqlite.OperationalError as error:
        raise OperationalError("a direct statement", None, error) from error
