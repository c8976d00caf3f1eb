"""What a snapshot says about itself: which blobs a backup must bring along, whatever schema it is of."""

from pathlib import Path

import pytest
from alembic import command

from state.blobs import touch_blob
from state.database import open_database
from state.migrate import DEFAULT_TENANT, config, migrate
from state.operations import Who
from state.queries import files
from state.snapshot import blobs_in_use, schema_of, take_snapshot
from tests.state.rows import VAULT

DIGEST = f"sha256:{'a' * 64}"


async def test_the_bytes_of_a_file_are_in_use(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'own.db'}")
    await migrate(database, VAULT)
    async with database.write() as session:
        await touch_blob(session, DIGEST, 3)
        new = files.NewFile(DIGEST, 3, "a.txt", "text/plain", {})
        await files.add(session, Who(DEFAULT_TENANT, "local", "admin"), new)
    await database.close()
    take_snapshot(tmp_path / "own.db", tmp_path / "copy.db")
    assert blobs_in_use(tmp_path / "copy.db") == [DIGEST]


@pytest.mark.parametrize("revision", ["0001", "0003"])
async def test_a_snapshot_of_an_older_schema_is_read_too(tmp_path: Path, revision: str) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'old.db'}")
    await database.run_sync(lambda connection: command.upgrade(config(connection), revision))
    await database.close()
    assert (schema_of(tmp_path / "old.db"), blobs_in_use(tmp_path / "old.db")) == (revision, [])
