"""Transactions on SQLite and PostgreSQL: `read()` and `write()` give sessions of different types.

SQLite has exactly one writing connection behind a lock and a small pool of readers (see PITFALLS in ADR 0003).
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from socket import gaierror
from typing import Any

from sqlalchemy import BigInteger, Connection, event
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from core.errors import DatabaseBusy
from state.signals import Listener, Signal, SignalKind

try:  # a bundled SQLite without the WAL-reset bug, where a wheel exists
    from pysqlite3 import dbapi2 as sqlite
except ImportError:
    from sqlite3 import dbapi2 as sqlite

log = logging.getLogger(__name__)

# PostgreSQL's codes for "not now": connections, resources, a server that stops or starts; what lost to another
# transaction (serialization, deadlock, lock timeout). Elsewhere its driver has one class for them and for bugs.
NOT_NOW = ("08", "53", "57P", "40001", "40P01", "55P03")


class db_now(FunctionElement[int]):  # noqa: N801  (reads as the SQL function it is)
    """The database's clock in microseconds; on PostgreSQL the wall clock, not the transaction's start."""

    type = BigInteger()
    inherit_cache = True


@compiles(db_now, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(db_now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    # julianday keeps milliseconds and exists in every SQLite; unixepoch('subsec') needs 3.42.
    return "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"


class ReadSession(AsyncSession):
    """A transaction that may only look."""


class WriteSession(AsyncSession):
    """A transaction that changes rows; what it `tell`s is heard after its commit, and only then."""

    def tell(self, kind: SignalKind, name: str = "", id: str = "") -> None:
        """Remember a signal for the listeners (see `state.signals.Signal`)."""
        self.signals.add(Signal(kind, name, id))

    @property
    def signals(self) -> set[Signal]:
        """The signals told so far in this transaction."""
        found: set[Signal] = self.info.setdefault("signals", set())
        return found


Session = ReadSession | WriteSession


@contextmanager
def database_errors() -> Iterator[None]:
    """Map what a driver raises when the database is away or busy to `DatabaseBusy`; bugs pass unchanged."""
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, InterfaceError, PoolTimeout, ConnectionError, TimeoutError, gaierror) as error:
        raise DatabaseBusy(f"the database did not answer: {type(error).__name__}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseBusy("the connection to the database was lost") from error
        if str(getattr(error.orig, "sqlstate", None) or "").startswith(NOT_NOW):
            raise DatabaseBusy(f"the database cannot do it now: {error.orig}") from error
        raise


class Database:
    """One database as the rest of the platform sees it."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self._reader, self._writer = reader, writer
        self._writer_lock = asyncio.Lock() if writer.dialect.name == "sqlite" else None
        self._listeners: list[Listener] = []

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._writer.dialect.name

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with the signals of each committed transaction, on the event loop."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """A read transaction. Raises `DatabaseBusy`."""
        with database_errors():
            async with ReadSession(self._reader, expire_on_commit=False, autoflush=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """A write transaction that commits at the end of the block and rolls back on an exception.

        Raises `DatabaseBusy`; IntegrityError passes for those who expect it.
        """
        signals: frozenset[Signal] = frozenset()
        with database_errors():
            async with self._one_writer(), WriteSession(self._writer, expire_on_commit=False) as session:
                async with session.begin():
                    yield session
                signals = frozenset(session.signals)
        self._publish(signals)

    async def run_sync(self, work: Callable[[Connection], None]) -> None:
        """Run a blocking function (a migration) on the writing connection, in one transaction."""
        with database_errors():
            async with self._one_writer(), self._writer.begin() as connection:
                await connection.run_sync(work)

    @asynccontextmanager
    async def _one_writer(self) -> AsyncIterator[None]:
        if self._writer_lock is None:
            yield
            return
        async with self._writer_lock:
            yield

    def _publish(self, signals: frozenset[Signal]) -> None:
        if signals:
            for listener in self._listeners:
                listener(signals)

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        if self._writer is not self._reader:
            await self._writer.dispose()


def sqlite_version() -> tuple[int, ...]:
    """The version of the SQLite that databases are opened with."""
    found: tuple[int, int, int] = sqlite.sqlite_version_info
    return found


def open_database(url: str, *, pool_size: int = 10) -> Database:
    """The database behind `sqlite:///FILE` or `postgresql://…`."""
    if url.startswith("sqlite:"):
        return _open_sqlite(url.replace("sqlite:", "sqlite+aiosqlite:", 1))
    if url.startswith(("postgresql:", "postgres:")):
        engine = create_async_engine(
            "postgresql+asyncpg:" + url.split(":", 1)[1], pool_size=pool_size, pool_pre_ping=True, pool_timeout=5
        )
        return Database(engine, engine)
    raise ValueError(f"the database URL must start with sqlite: or postgresql:, not {url.split(':', 1)[0]}:")


def _open_sqlite(url: str) -> Database:
    # aiosqlite and SQLAlchemy import `sqlite3` by name when the first engine is made: both must find this one.
    sys.modules["sqlite3"] = sys.modules["sqlite3.dbapi2"] = sqlite
    if sqlite.sqlite_version_info < (3, 51, 3):
        log.warning("SQLite %s has the WAL-reset bug; one exclusive connection is used", sqlite.sqlite_version)
        engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=30)
        _on_connect(engine, writes=True)
        return Database(engine, engine)
    writer = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=30)
    reader = create_async_engine(url, pool_size=4, max_overflow=0, pool_timeout=30)
    _on_connect(writer, writes=True)
    _on_connect(reader, writes=False)
    return Database(reader, writer)


def _on_connect(engine: AsyncEngine, *, writes: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        cursor = connection.cursor()
        # synchronous=FULL because a 202 is a promise: the commit is on the disk before the answer.
        pragmas = ["journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"]
        for pragma in [*pragmas, *([] if writes else ["query_only=ON"])]:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
