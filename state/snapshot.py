"""A consistent copy of a SQLite database while its platform runs, and what a copy says about itself.

SQLite's online backup in one step reads one snapshot; the platform goes on writing (https://sqlite.org/backup.html).
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from core.errors import PlatformError

try:  # the same as state.database: two SQLites in one process must not meet in one file
    from pysqlite3 import dbapi2 as sqlite
except ImportError:
    from sqlite3 import dbapi2 as sqlite

BLOBS_IN_USE = {
    "versions": "SELECT digest FROM versions WHERE status <> 'deleted' AND digest <> ''",
    "predictions": "SELECT body_digest FROM predictions WHERE body_digest IS NOT NULL",
    "files": "SELECT digest FROM files",
    "datasets": "SELECT digest FROM datasets WHERE digest IS NOT NULL "
    "UNION SELECT preview_digest FROM datasets WHERE preview_digest IS NOT NULL",
    "dataset_parts": "SELECT digest FROM dataset_parts",
    "dataset_files": "SELECT digest FROM dataset_files",
    "upload_parts": "SELECT digest FROM upload_parts",
    "run_chunks": "SELECT digest FROM run_chunks UNION SELECT bad_digest FROM run_chunks WHERE bad_digest IS NOT NULL",
    "run_artifacts": "SELECT digest FROM run_artifacts",
}
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


class SnapshotUnreadable(PlatformError):
    """The file is no database of ours, or it is damaged."""

    code, title = "snapshot_unreadable", "The database cannot be read"


def take_snapshot(database: Path, into: Path) -> None:
    """Copy the database file to a new file. Raises `SnapshotUnreadable`."""
    with _opened(database) as source, closing(sqlite.connect(into)) as copy:
        source.backup(copy)
        # A copy in WAL mode would want two files beside it; the platform sets WAL again when it opens it.
        copy.execute("PRAGMA journal_mode=DELETE")


def blobs_in_use(snapshot: Path) -> list[str]:
    """The digests of every blob that a row of the snapshot refers to. Raises `SnapshotUnreadable`."""
    with _opened(snapshot) as connection:
        there = {name for (name,) in connection.execute(TABLES)}  # a snapshot may be of an older schema
        asked = " UNION ".join(query for table, query in BLOBS_IN_USE.items() if table in there)
        return [str(digest) for (digest,) in connection.execute(f"{asked} ORDER BY 1")]


def schema_of(snapshot: Path) -> str:
    """The schema's revision. Raises `SnapshotUnreadable` also where the file's pages do not fit together."""
    with _opened(snapshot) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise SnapshotUnreadable(f"the database {snapshot.name} is damaged: {verdict}")
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(revision)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A connection that may only read."""
    try:
        with closing(sqlite.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            yield connection
    except sqlite.Error as error:
        raise SnapshotUnreadable(f"the database {file} cannot be read: {error}") from error
