"""A world per test; the migrations run once per session, every test gets a copy of their file."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.stack.postgres import PostgresServer
from tests.workers.node.world import World, make_database, open_world

TEMPLATE = "template_of_tests"
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema, the default tenant and one service."""
    file = tmp_path_factory.mktemp("database") / "portside.db"
    asyncio.run(make_database(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server with a migrated database to copy."""
    server = PostgresServer.start(tmp_path_factory.mktemp("postgres"), durable=False)
    try:
        asyncio.run(make_database(server.create_database(TEMPLATE)))
        yield server
    finally:
        server.stop()


@pytest.fixture
def shared_database(postgres: PostgresServer) -> str:
    """The URL of a database that several nodes may open."""
    return postgres.create_database(f"test_{next(NUMBERS)}", template=TEMPLATE)


@pytest.fixture
def data(migrated_file: Path, tmp_path: Path) -> Path:
    """A data folder with a migrated database."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(migrated_file, folder / "portside.db")
    return folder


@pytest.fixture
async def world(data: Path) -> AsyncIterator[World]:
    """An installation with one service and no node yet."""
    async with open_world(data) as world:
        yield world
