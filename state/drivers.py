"""A driver as `state.direct` uses it: begin, fetch, run, commit; nothing of SQLAlchemy in between. SQLite's is here,
PostgreSQL's in `state.asyncpg_driver`, and `state.open` chooses."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy.exc import IntegrityError, OperationalError

from state.compiled import Query

try:  # the one that databases are opened with
    from pysqlite3 import dbapi2 as sqlite
except ImportError:
    from sqlite3 import dbapi2 as sqlite

Values = Mapping[str, object]


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


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """Raise what the driver raises as SQLAlchemy would."""
    try:
        yield
    except sqlite.IntegrityError as error:
        raise IntegrityError("a direct statement", None, error) from error
    except sqlite.OperationalError as error:
        raise OperationalError("a direct statement", None, error) from error
