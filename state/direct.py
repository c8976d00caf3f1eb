"""Write transactions that talk to the driver itself: for claiming and recording work, which happens all the time.

Rows are read with explicit locks, changed in memory, and written in a few statements at the end, however many they
are. SQLAlchemy's asyncio session costs ten times what the driver does, for each statement.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Protocol, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm.attributes import set_committed_value

from core.failpoints import failpoint
from state.compiled import (
    Query,
    among,
    check_columns,
    compiled,
    encoded,
    inserting,
    listed,
    row_of,
    updating,
    values_of,
)
from state.database import Database, WriteSession, db_now
from state.drivers import Driver
from state.open import driver_errors, driver_of
from state.signals import Signal, SignalKind
from state.tables import Base

Row = TypeVar("Row", bound=Base)


class AtEnd(Protocol):
    """What is done once, before all is written."""

    async def __call__(self, session: "DirectSession") -> None:
        """Do it."""
        ...


Last = TypeVar("Last", bound=AtEnd)


class DirectSession:
    """One such transaction. What it `tell`s is heard after its commit, and only then."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._now: int | None = None
        self._changed: dict[tuple[type[Base], str], dict[str, object]] = {}
        self._new: dict[type[Base], list[Base]] = {}
        self._at_end: dict[type[AtEnd], AtEnd] = {}
        self.signals: set[Signal] = set()

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._driver.dialect

    @property
    def now(self) -> int:
        """The database's clock when rows were last read here, in microseconds."""
        assert self._now is not None, "the clock comes with the first rows that are read"
        return self._now

    def tell(self, kind: SignalKind, name: str = "", id: str = "") -> None:
        """Remember a signal for the listeners (see `state.signals.Signal`)."""
        self.signals.add(Signal(kind, name, id))

    async def rows(self, table: type[Row], query: Query, **values: object) -> list[Row]:
        """Rows of the table by a query of `every_column`, detached: change them by `change`."""
        found = await self._driver.fetch(query, values)
        if found:
            self._now = int(str(found[0][-1]))
        return [row_of(table, values, self.dialect) for values in found]

    async def fetch(self, query: Query, **values: object) -> Sequence[Sequence[object]]:
        """What any query answers."""
        return await self._driver.fetch(query, values)

    async def lock(self, table: type[Row], ids: Sequence[str], *, waits: bool = True) -> dict[str, Row]:
        """The rows that exist, by id, held against other writers until this transaction ends.

        In the order of their ids: two that lock the same rows cannot wait for each other. Without `waits`, what
        another one holds is left out.
        """
        query = locking(table, self.dialect, waits)
        found = await self.rows(table, query, ids=listed(ids, self.dialect))
        return {str(row.__dict__["id"]): row for row in found}

    def change(self, row: Base, values: Mapping[str, object]) -> None:
        """Set columns of a row that this transaction holds. Raises AttributeError for what is no column."""
        check_columns(type(row), values.keys())
        for name, value in values.items():
            set_committed_value(row, name, value)
        self._changed.setdefault((type(row), str(row.__dict__["id"])), {}).update(values)

    def add(self, row: Base) -> None:
        """Insert a new row at the end."""
        self._new.setdefault(type(row), []).append(row)

    def append(self, row: Base) -> None:
        """The same: all is written at the end."""
        self.add(row)

    async def flush(self) -> None:
        """Nothing: all is written at the end (a session of SQLAlchemy is asked for this, too)."""

    def at_end(self, work: type[Last]) -> Last:
        """Do a work of this type before all is written: one, however often it is asked for."""
        found = self._at_end.setdefault(work, work())
        assert isinstance(found, work)
        return found

    async def run(self, query: Query, **values: object) -> None:
        """Run a statement now."""
        await self._driver.run(query, [values])

    async def write(self) -> None:
        """Write what was changed and added."""
        for work in self._at_end.values():
            await work(self)
        groups: dict[tuple[type[Base], tuple[str, ...]], list[Mapping[str, object]]] = {}
        for (table, id), values in self._changed.items():
            group = groups.setdefault((table, tuple(values)), [])
            group.append({"row_id": id, **encoded(table, values)})
        for (table, names), rows in groups.items():
            await self._driver.run(updating(table, names, self.dialect), rows)
        for table, new in self._new.items():
            await self._driver.run(inserting(table, self.dialect), [values_of(row) for row in new])


Writer = WriteSession | DirectSession


@asynccontextmanager
async def direct_write(database: Database) -> AsyncIterator[DirectSession]:
    """A write transaction that commits at the end of the block and rolls back on an exception.

    Raises `DatabaseBusy`; IntegrityError passes for those who expect it.
    """
    async with database.writing_connection() as connection:
        with driver_errors(database.dialect):
            pooled = await connection.get_raw_connection()
            driver = driver_of(pooled.driver_connection, database.dialect)
            session, is_committed = DirectSession(driver), False
            try:
                await driver.begin()
                yield session
                await session.write()
                await driver.commit()
                is_committed = True
            finally:
                if not is_committed:
                    await driver.rollback()
                if driver.is_closed or driver.is_in_transaction:  # of no use to the next one
                    await connection.invalidate()
    failpoint("commit_before_signal")
    database.publish(frozenset(session.signals))


def every_column(table: type[Row]) -> Select[tuple[object, ...]]:
    """A select of whole rows for `DirectSession.rows`: all columns of the table, and the clock."""
    return select(*table.__table__.columns, db_now())


@cache
def locking(table: type[Base], dialect: str, waits: bool) -> Query:
    """The query that locks rows by id."""
    id = table.__table__.c.id
    query = every_column(table).where(among(id, "ids", dialect)).order_by(id)
    return compiled(query.with_for_update(skip_locked=not waits, key_share=True), dialect)
