"""A world per test; the migrations run once per session, every test gets a copy of their file."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.workers.node.world import World, make_database, open_world


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema, the default tenant and one service."""
    file = tmp_path_factory.mktemp("database") / "portside.db"
    asyncio.run(make_database(file))
    return file


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
