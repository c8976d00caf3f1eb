"""A routing table over SQLite, for the gateway in front of real sockets."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.gateway.table import RoutingTable
from state.database import Database, open_database


@pytest.fixture
async def database(tmp_path: Path, migrated: Path) -> AsyncIterator[Database]:
    shutil.copy(migrated, tmp_path / "test.db")
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    yield database
    await database.close()


@pytest.fixture
async def table(database: Database) -> AsyncIterator[RoutingTable]:
    table = RoutingTable(database, signalled=True, on_change=lambda addresses: None, token_of=lambda id: f"token-{id}")
    await table.start()
    yield table
    await table.stop()
