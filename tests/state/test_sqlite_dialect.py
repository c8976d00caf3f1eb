"""SQLite by the driver of its own: what its connection's thread is asked, and that nothing else is different."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from state.database import Database, open_database


class Exchanges:
    """The queue of a connection's thread, which counts what is put into it."""

    def __init__(self, queue: Any) -> None:
        self._queue, self.count = queue, 0

    def put_nowait(self, item: object) -> None:
        self.count += 1
        self._queue.put_nowait(item)


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    async with database.write() as session:
        await session.execute(text("CREATE TABLE pairs (a INTEGER PRIMARY KEY, b TEXT)"))
    yield database
    await database.close()


async def test_a_statement_is_one_exchange_and_so_is_the_end_of_its_transaction(file: Database) -> None:
    async with file.read() as session:
        raw: Any = (await (await session.connection()).get_raw_connection()).driver_connection
        raw._tx = exchanges = Exchanges(raw._tx)
        await session.execute(text("SELECT a, b FROM pairs"))
        assert exchanges.count == 1
    assert exchanges.count == 2  # the transaction is undone, once


async def test_rows_counts_and_keys_are_told_as_the_driver_tells_them(file: Database) -> None:
    async with file.write() as session:
        pairs = [{"a": a, "b": str(a)} for a in range(3)]
        made: Any = await session.execute(text("INSERT INTO pairs VALUES (:a, :b)"), pairs)
        assert made.rowcount == 3
        one: Any = await session.execute(text("INSERT INTO pairs (b) VALUES ('x')"))
        assert (one.rowcount, one.lastrowid) == (1, 3)
        changed = await session.execute(text("UPDATE pairs SET b = 'y' WHERE a > 0 RETURNING a"))
        assert sorted(changed.scalars()) == [1, 2, 3]
        found = await session.execute(text("SELECT a AS first, b FROM pairs ORDER BY a"))
        assert (list(found.keys()), found.fetchmany(2)) == (["first", "b"], [(0, "0"), (1, "y")])
        assert (found.fetchone(), found.fetchall(), found.fetchone()) == ((2, "y"), [(3, "y")], None)


async def test_a_statement_that_fails_says_why_and_the_connection_goes_on(file: Database) -> None:
    async with file.write() as session:
        await session.execute(text("INSERT INTO pairs VALUES (1, 'x')"))
        with pytest.raises(IntegrityError, match="UNIQUE"):
            async with session.part():
                await session.execute(text("INSERT INTO pairs VALUES (1, 'y')"))
    async with file.read() as session:
        assert await session.scalar(text("SELECT b FROM pairs")) == "x"
