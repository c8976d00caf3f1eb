"""The same tests on both databases: SQLite in a file, PostgreSQL started from its package by the session."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.stack.postgres import PostgresServer
from state.database import Database, open_database
from state.migrate import migrate
from tests.state.rows import VAULT

NUMBERS = itertools.count()


TEMPLATE = "portside_template"


async def fill(url: str) -> None:
    """Migrate a new database and let go of it."""
    database = open_database(url)
    await migrate(database, VAULT)
    await database.close()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server with a migrated database to copy; it ends with the session."""
    # What is tested here is what transactions see, not what a power cut leaves.
    server = PostgresServer.start(tmp_path_factory.mktemp("postgres"), durable=False)
    try:
        asyncio.run(fill(server.create_database(TEMPLATE)))
        yield server
    finally:
        server.stop()


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
    server: PostgresServer | None = None
    made: list[str] = field(default_factory=list)

    async def open(self, *, migrated: bool) -> Database:
        """A database of its own for one test."""
        return open_database(await asyncio.to_thread(self.make, migrated=migrated))

    def make(self, *, migrated: bool) -> str:
        """The URL of a new one."""
        if self.server is None:
            file = self.folder / "test.db"
            if migrated and self.template is not None:
                shutil.copyfile(self.template, file)
            return f"sqlite:///{file}"
        self.made.append(f"test_{next(NUMBERS)}")
        return self.server.create_database(self.made[-1], template=TEMPLATE if migrated else None)

    def forget(self) -> None:
        """Drop what was made: hundreds of databases are gigabytes, and others' commits wait until they are written."""
        for name in self.made:
            assert self.server is not None
            self.server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def backend_of(request: pytest.FixtureRequest, folder: Path) -> Backend:
    """The one that a parameter names."""
    if request.param == "sqlite":
        return Backend(folder, template=request.getfixturevalue("sqlite_template"))
    return Backend(folder, server=request.getfixturevalue("postgresql"))


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each test runs on both."""
    backend = backend_of(request, tmp_path)
    yield backend
    backend.forget()


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
