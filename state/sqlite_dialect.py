"""SQLite by aiosqlite with one exchange for each statement.

A connection lives in a thread of its own. SQLAlchemy's adapter asks it four times for a statement (a cursor, its
execution, its rows, its end) and twice for the end of a transaction; each exchange wakes two threads, which costs more
than most statements. Here a statement is one exchange, and what is rolled back already is not rolled back again.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_connection
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
    SQLiteDialect_aiosqlite,
)
from sqlalchemy.util import EMPTY_DICT

DRIVER = "portside"


def by_this_driver(url: str) -> str:
    """The URL for `create_async_engine` of a database named as `sqlite:///FILE`."""
    registry.register(f"sqlite.{DRIVER}", __name__, Dialect.__name__)
    return url.replace("sqlite:", f"sqlite+{DRIVER}:", 1)


@dataclass(slots=True)
class Done:
    """What a statement left: the facts of its cursor (PEP 249), which is closed; those of none before the first."""

    description: Sequence[object] | None = None
    rowcount: int = -1
    lastrowid: int = 0
    arraysize: int = 1


class WholeStatement(AsyncAdapt_aiosqlite_cursor):
    """A cursor that exists in the connection's thread only while its statement runs; it hands all rows over."""

    __slots__ = ()

    def __init__(self, adapt_connection: AsyncAdapt_dbapi_connection) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection
        self._rows = deque()
        self._cursor = cast(Any, Done())
        self._soft_closed_memoized = EMPTY_DICT

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        await self._done("execute", operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        await self._done("executemany", operation, seq_of_parameters)

    async def _done(self, method: str, *given: Any) -> None:
        connection: Any = self._connection
        async with self._adapt_connection._execute_mutex:
            done, rows = await connection._execute(_run, connection._conn, method, *given)
        self._cursor, self._rows = done, rows

    async def _async_soft_close(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Forget the rows."""
        self._rows.clear()


class Connection(AsyncAdapt_aiosqlite_connection):
    """A connection whose statements are one exchange each."""

    __slots__ = ()
    _cursor_cls = WholeStatement

    def rollback(self) -> None:
        """Undo what there is: the pool asks once more for what the session has undone."""
        connection: Any = self._connection
        if connection._connection is not None and connection.in_transaction:
            super().rollback()


class Driver(AsyncAdapt_aiosqlite_dbapi):
    """aiosqlite, with these connections."""

    def connect(self, *arg: object, **kw: object) -> Connection:
        """A connection in a thread of its own, which does not keep the process alive."""
        made = super().connect(*arg, **kw)
        return Connection(self, made._connection)


class Dialect(SQLiteDialect_aiosqlite):
    """SQLAlchemy's SQLite by this driver."""

    driver = DRIVER
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Driver:
        """The driver, over the `sqlite3` that is in place when the first engine is made."""
        found = super().import_dbapi()
        return Driver(found.aiosqlite, found.sqlite)


def _run(connection: Any, method: str, *given: Any) -> tuple[Done, deque[Any]]:
    """One statement from start to end, in the thread of its connection."""
    cursor = getattr(connection, method)(*given)
    try:
        rows = deque(cursor.fetchall()) if cursor.description else deque()
        return Done(cursor.description, cursor.rowcount, cursor.lastrowid, cursor.arraysize), rows
    finally:
        cursor.close()
