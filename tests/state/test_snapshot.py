"""What a snapshot says about itself: which blobs a backup must bring along, whatever schema it is of."""

import shutil
from pathlib import Path

import pytest
from alembic import command

from state.blobs import touch_blob
from state.cataloguing import Description, NewVersion, add_version, create_model
from state.database import open_database
from state.migrate import DEFAULT_TENANT
from state.migrations.scripts import config
from state.operations import Who
from state.queries import files
from state.queries.checkup import stored_versions
from state.snapshot import blobs_in_use, schema_of, take_snapshot

DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def own(tmp_path: Path, sqlite_template: Path) -> str:
    """The URL of a database of the newest schema."""
    shutil.copyfile(sqlite_template, tmp_path / "own.db")
    return f"sqlite:///{tmp_path / 'own.db'}"


async def test_the_bytes_of_a_file_are_in_use(own: str, tmp_path: Path) -> None:
    database = open_database(own)
    async with database.write() as session:
        await touch_blob(session, DIGEST, 3)
        new = files.NewFile(DIGEST, 3, "a.txt", "text/plain", {})
        await files.add(session, Who(DEFAULT_TENANT, "local", "admin"), new)
    await database.close()
    take_snapshot(tmp_path / "own.db", tmp_path / "copy.db")
    assert blobs_in_use(tmp_path / "copy.db") == [DIGEST]


async def test_a_version_that_is_yet_to_be_fetched_has_no_bytes_to_look_for(own: str, tmp_path: Path) -> None:
    who = Who(DEFAULT_TENANT, "local", "admin")
    database = open_database(own)
    async with database.write() as session:
        model = await create_model(session, who, "iris", Description())
        await add_version(session, who, model, NewVersion(source_uri="https://models.example/iris.onnx"))
        await add_version(session, who, model, NewVersion(DIGEST, 3, "onnx"))
    async with database.read() as session:
        assert await stored_versions(session, 10) == [DIGEST]
    await database.close()
    take_snapshot(tmp_path / "own.db", tmp_path / "copy.db")
    assert blobs_in_use(tmp_path / "copy.db") == [DIGEST]


@pytest.mark.parametrize("revision", ["0001", "0003"])
async def test_a_snapshot_of_an_older_schema_is_read_too(tmp_path: Path, revision: str) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'old.db'}")
    await database.run_sync(lambda connection: command.upgrade(config(connection), revision))
    await database.close()
    assert (schema_of(tmp_path / "old.db"), blobs_in_use(tmp_path / "old.db")) == (revision, [])
