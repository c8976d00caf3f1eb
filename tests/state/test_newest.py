"""A new SQLite database is made in one step, and is what the migrations would have made of it."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from core.failpoints import FailpointReached, arm
from state.database import open_database
from state.migrate import migrate
from state.migrations.newest import FILE, is_empty, lay_out, newest_schema
from state.migrations.scripts import config, script_of, upgrade
from tests.state.rows import VAULT


async def made_by(step: Callable[[Connection], None], folder: Path) -> str:
    """The script of a new database after this step."""
    found: list[str] = []

    def make(connection: Connection) -> None:
        step(connection)
        found.append(script_of(connection))

    database = open_database(f"sqlite:///{folder / f'{step.__name__}.db'}")
    await database.run_sync(make)
    await database.close()
    return found[0]


def by_migrations(connection: Connection) -> None:
    upgrade(connection, "head")


async def test_one_step_makes_what_all_migrations_make(tmp_path: Path) -> None:
    migrated = await made_by(by_migrations, tmp_path)
    assert FILE.read_text("utf-8") == migrated, "a migration was changed or added: `make docs` writes newest.sql anew"
    assert await made_by(lay_out, tmp_path) == migrated


def test_the_newest_schema_is_the_head_of_the_migrations() -> None:
    assert newest_schema() == ScriptDirectory.from_config(config()).get_current_head()


async def test_a_first_step_that_was_interrupted_leaves_nothing(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'new.db'}")
    found: list[bool] = []
    arm("migration_step=raise@1")
    try:
        with pytest.raises(FailpointReached):
            await migrate(database, VAULT)
    finally:
        arm(None)
    await database.run_sync(lambda connection: found.append(is_empty(connection)))
    await migrate(database, VAULT)
    await database.close()
    assert found == [True]


async def test_a_start_on_sqlite_loads_neither_alembic_nor_the_driver_of_postgresql(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from state.database import open_database\n"
        "from state.migrate import migrate\n"
        "from tests.state.rows import VAULT\n"
        "async def twice():\n"
        "    database = open_database(sys.argv[1])\n"
        "    await migrate(database, VAULT)\n"
        "    await migrate(database, VAULT)\n"
        "    await database.close()\n"
        "asyncio.run(twice())\n"
        "print(*{'alembic', 'asyncpg'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'new.db'}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert (process.returncode, said.split()) == (0, [])
