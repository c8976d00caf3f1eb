"""What a database that cannot do it now raises: `DatabaseBusy`, which everybody outlives."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.errors import DatabaseBusy, DatabaseFull
from deploy.stack.postgres import PostgresServer
from state.database import open_database
from tests.state.conftest import Backend

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'told by a test' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param("57P03", DatabaseBusy, id="starting up"),
        pytest.param("53300", DatabaseBusy, id="too many connections"),
        pytest.param("53100", DatabaseFull, id="disk full"),
        pytest.param("40P01", DatabaseBusy, id="deadlock"),
        pytest.param("22012", DBAPIError, id="division by zero"),
    ],
)
async def test_postgresql_that_cannot_do_it_now_is_busy_and_a_bug_is_a_bug(
    postgresql: PostgresServer, tmp_path: Path, code: str, error: type[Exception]
) -> None:
    database = await Backend(tmp_path, server=postgresql).open(migrated=False)
    with pytest.raises(error):
        async with database.write() as session:
            await session.execute(text(RAISE.format(code)))
    await database.close()


async def test_a_full_disk_refuses_what_is_written_and_keeps_what_was(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    async with database.write() as session:
        await session.execute(text("CREATE TABLE notes (words text)"))
        await session.execute(text("INSERT INTO notes VALUES ('kept')"))
        # SQLite's own limit fails as a full disk does: at the page that would be added.
        await session.execute(text("PRAGMA max_page_count = 20"))
    with pytest.raises(DatabaseFull) as full:
        async with database.write() as session:
            await session.execute(text("INSERT INTO notes VALUES (zeroblob(1000000))"))
    assert full.value.status == 507
    async with database.read() as session:
        assert list(await session.scalars(text("SELECT words FROM notes"))) == ["kept"]
    async with database.write() as session:
        await session.execute(text("INSERT INTO notes VALUES ('more')"))
    await database.close()
