"""Transactions on SQLite and PostgreSQL: `read()` and `write()` give sessions of different types.

SQLite has exactly one writing connection behind a lock and a small pool of readers (see PITFALLS in ADR 0003).
"""

import asyncio
import json
import logging
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from socket import gaierror
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, QueuePool, event
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from core.errors import DatabaseBusy, DatabaseFull
from core.failpoints import failpoint
from state.abandoned import end_what_is_abandoned
from state.appending import insert_all
from state.instants import db_now as db_now  # part of what a session is used with
from state.observing import Mode, NotObserved, Observer, PoolFacts, Timing
from state.signals import Listener, Signal, SignalKind
from state.sqlite_dialect import by_this_driver
from state.tables import Base

try:  # a bundled SQLite without the WAL-reset bug, where a wheel exists
    from pysqlite3 import dbapi2 as sqlite
except ImportError:
    from sqlite3 import dbapi2 as sqlite

log = logging.getLogger(__name__)
T = TypeVar("T")

# PostgreSQL's codes for "not now": connections, resources, a server that stops or starts; what lost to another
# transaction (serialization, deadlock, lock timeout); one that only reads, because another server takes over from it;
# what was abandoned for too long (see `state.abandoned`). Elsewhere its driver has one class for them and for bugs.
NOT_NOW = ("08", "53", "57P", "40001", "40P01", "55P03", "25006", "25P03", "57014")
SQLITE_FULL = 13  # https://sqlite.org/rescode.html#full

# A server that is paused or cut off neither answers nor refuses: without limits whoever asks would wait for ever.
CONNECT_S = 5.0
STATEMENT_S = 10.0
READ_JSON = json.JSONDecoder().decode  # `json.loads` asks first what it was given: for a short column, half of its time
TRUSTED_S = 0.5  # a connection that was used so recently is not asked whether it is still there


class ReadSession(AsyncSession):
    """A transaction that may only look."""


class WriteSession(AsyncSession):
    """A transaction that changes rows; what it `tell`s is heard after its commit, and only then."""

    def tell(self, kind: SignalKind, name: str = "", id: str = "") -> None:
        """Remember a signal for the listeners (see `state.signals.Signal`)."""
        self.signals.add(Signal(kind, name, id))

    @property
    def now(self) -> db_now:
        """The database's clock, for values that are written."""
        return db_now()

    def append(self, row: Base) -> None:
        """Insert a row at the end, for tables that this transaction does not read (see `state.appending`)."""
        self._appended.append(row)

    async def write_appended(self) -> None:
        """Insert what was appended so far, and everything else before it."""
        await self.flush()
        if self._appended:
            await insert_all(await self.connection(), self._appended)
            self._appended.clear()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """A part of the transaction that can fail by itself: nothing of it stays then."""
        await self.write_appended()
        try:
            async with self.begin_nested():
                yield
                await self.write_appended()
        finally:
            self._appended.clear()

    @property
    def _appended(self) -> list[Base]:
        found: list[Base] = self.info.setdefault("appended", [])
        return found

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
    except DBAPIError as error:
        if (reason := _not_now(error)) is None:
            raise
        raise reason from error
    except (PoolTimeout, ConnectionError, TimeoutError, gaierror) as error:
        raise DatabaseBusy(f"the database did not answer: {type(error).__name__}") from error


def _not_now(error: DBAPIError) -> DatabaseBusy | None:
    """What a driver's error means, or nothing where it is a bug of ours."""
    sqlstate = str(getattr(error.orig, "sqlstate", None) or "")
    if sqlstate == "53100" or getattr(error.orig, "sqlite_errorcode", None) == SQLITE_FULL:
        return DatabaseFull("the disk under the database is full; free some space, then send it again")
    if isinstance(error, OperationalError | InterfaceError):
        return DatabaseBusy(f"the database did not answer: {type(error).__name__}")
    if error.connection_invalidated:
        return DatabaseBusy("the connection to the database was lost")
    if sqlstate.startswith(NOT_NOW):
        return DatabaseBusy(f"the database cannot do it now: {error.orig}")
    return None


class Database:
    """One database as the rest of the platform sees it."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self._reader, self._writer = reader, writer
        self._writer_lock = asyncio.Lock() if writer.dialect.name == "sqlite" else None
        self._listeners: list[Listener] = []
        self._observer: Observer = NotObserved()

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
        with self._observed("read") as timing, database_errors():
            async with ReadSession(self._reader, expire_on_commit=False, autoflush=False) as session:
                _ = await session.connection()
                timing.connected()
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """A write transaction that commits at the end of the block and rolls back on an exception.

        Raises `DatabaseBusy`; IntegrityError passes for those who expect it.
        """
        signals: frozenset[Signal] = frozenset()
        with self._observed("write") as timing, database_errors():
            async with self._one_writer(), WriteSession(self._writer, expire_on_commit=False) as session:
                async with session.begin():
                    _ = await session.connection()
                    timing.connected()
                    yield session
                    await session.write_appended()
                signals = frozenset(session.signals)
        failpoint("commit_before_signal")
        self.publish(signals)

    @asynccontextmanager
    async def writing_connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one transaction that its user begins and ends, as `state.direct` does.

        Raises `DatabaseBusy`.
        """
        with self._observed("write") as timing, database_errors():
            async with self._one_writer(), self._writer.connect() as connection:
                timing.connected()
                yield connection

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """Run a blocking function (a migration) on the writing connection, in one transaction."""
        with database_errors():
            async with self._one_writer(), self._writer.begin() as connection:
                return await connection.run_sync(work)

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of each transaction that ends."""
        self._observer = observer

    def pools(self) -> Sequence[PoolFacts]:
        """The connection pools as they are now."""
        engines = {"shared": self._writer}
        if self._reader.pool is not self._writer.pool:
            engines = {"reader": self._reader, "writer": self._writer}
        pools = [(name, cast(QueuePool, engine.pool)) for name, engine in engines.items()]
        return [PoolFacts(name, pool.size(), pool.checkedout()) for name, pool in pools]

    @contextmanager
    def _observed(self, mode: Mode) -> Iterator[Timing]:
        timing = Timing()
        try:
            yield timing
            timing.result = "committed"
        except DatabaseBusy:
            timing.result = "unavailable"
            raise
        finally:
            self._observer.transaction_ended(mode, timing)

    @asynccontextmanager
    async def _one_writer(self) -> AsyncIterator[None]:
        if self._writer_lock is None:
            yield
            return
        async with self._writer_lock:
            yield

    def publish(self, signals: frozenset[Signal]) -> None:
        """Tell the listeners: what was committed here, or what another process said (see `state.notices`)."""
        if signals:
            for listener in self._listeners:
                listener(signals)

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        if self._writer.pool is not self._reader.pool:
            await self._writer.dispose()


def sqlite_version() -> tuple[int, ...]:
    """The version of the SQLite that databases are opened with."""
    found: tuple[int, int, int] = sqlite.sqlite_version_info
    return found


def open_database(url: str, *, pool_size: int = 10, statement_s: float | None = STATEMENT_S) -> Database:
    """The database behind `sqlite:///FILE` or `postgresql://…`.

    A PostgreSQL that does not answer a statement within `statement_s` is `DatabaseBusy`; a migration gives it no limit.
    """
    if url.startswith("sqlite:"):
        return _open_sqlite(by_this_driver(url))
    if url.startswith(("postgresql:", "postgres:")):
        connect_s = min(CONNECT_S, statement_s or CONNECT_S)
        engine = create_async_engine(
            "postgresql+asyncpg:" + url.split(":", 1)[1],
            pool_size=pool_size,
            pool_timeout=connect_s,
            pool_use_lifo=True,  # the one that was used last is warm, and need not be asked whether it is still there
            connect_args={"timeout": connect_s, "command_timeout": statement_s},
        )
        _ping_after_a_rest(engine)
        end_what_is_abandoned(engine, statement_s)
        # Each statement sees what is committed when it begins (READ COMMITTED), whether a transaction is around it or
        # not: without one a read saves two exchanges with the server.
        return Database(engine.execution_options(isolation_level="AUTOCOMMIT"), engine)
    raise ValueError(f"the database URL must start with sqlite: or postgresql:, not {url.split(':', 1)[0]}:")


def _ping_after_a_rest(engine: AsyncEngine) -> None:
    """Ask a connection that rested whether it is still there; asking each time (`pool_pre_ping`) costs half a ms."""

    @event.listens_for(engine.sync_engine, "checkin")
    def rests(connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def look(connection: Any, record: Any, proxy: Any) -> None:
        if time.monotonic() - record.info.get("rests_since", math.inf) < TRUSTED_S:
            return
        try:
            connection.ping()
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError("the connection was lost while it rested") from error  # and so were the others


def _open_sqlite(url: str) -> Database:
    # aiosqlite and SQLAlchemy import `sqlite3` by name when the first engine is made: both must find this one.
    sys.modules["sqlite3"] = sys.modules["sqlite3.dbapi2"] = sqlite
    if sqlite.sqlite_version_info < (3, 51, 3):
        log.warning("SQLite %s has the WAL-reset bug; one exclusive connection is used", sqlite.sqlite_version)
        engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=30, json_deserializer=READ_JSON)
        _on_connect(engine, writes=True)
        return Database(engine, engine)
    writer = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=30, json_deserializer=READ_JSON)
    reader = create_async_engine(url, pool_size=4, max_overflow=0, pool_timeout=30, json_deserializer=READ_JSON)
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
