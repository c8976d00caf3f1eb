"""A routing table over SQLite, for the gateway in front of real sockets."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.gateway.table import RoutingTable
from core.secrets import Vault
from state.database import Database, open_database
from state.migrate import migrate


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    await migrate(database, Vault(os.urandom(32)))
    yield database
    await database.close()


@pytest.fixture
async def table(database: Database) -> AsyncIterator[RoutingTable]:
    table = RoutingTable(database, signalled=True, on_change=lambda addresses: None, token_of=lambda id: f"token-{id}")
    await table.start()
    yield table
    await table.stop()
