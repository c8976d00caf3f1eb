"""`portside backup` and `restore` for the embedded platform: one archive, consistent while the platform runs.

The database's snapshot comes first, then the blobs that it refers to: blobs never change, and a new one is not missed
by a snapshot that does not know it.
"""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from cli.failure import CommandFailed, Exit
from cli.folder import DataFolder
from cli.output import Output
from cli.versions import version_of
from core.settings import Settings
from state.migrations.newest import newest_schema
from state.snapshot import blobs_in_use, schema_of, take_snapshot
from storage.digests import ALGORITHM, HEX, Digest
from storage.local import LocalStore

MANIFEST, DATABASE, KEY, TOKEN, ARTIFACTS = "manifest.json", "portside.db", "secret.key", "token", "artifacts"
PIECE_BYTES = 1024 * 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds; it is the first member."""

    portside: str
    schema: str
    made_at: str
    database_sha256: str
    blobs: int


def back_up(settings: Settings, file: Path) -> None:
    """Write the archive, whole or not at all. Raises `CommandFailed`."""
    database = _database_file(settings)
    if not database.exists():
        missing = f"There is no platform in {settings.data}: {database.name} is missing."
        raise CommandFailed(missing, details=["next: name the folder that `portside up` shows, with --data DIR"])
    if file.exists():
        raise CommandFailed(f"{file} exists already; name another file.", exit_status=Exit.CONFLICT)
    began = time.monotonic()
    file.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.absolute().parent) as folder:
        snapshot, unfinished = Path(folder) / DATABASE, Path(folder) / "archive"
        take_snapshot(database, snapshot)
        count = _write_archive(settings, snapshot, unfinished)
        size_mib = unfinished.stat().st_size / MIB
        unfinished.replace(file)
    Output().say(f"{file}: the database and {count} artifacts, {size_mib:.1f} MiB in {time.monotonic() - began:.1f} s")


def restore(settings: Settings, file: Path) -> None:
    """Fill an empty data folder from an archive. Raises `CommandFailed`, and the folder stays empty then."""
    with DataFolder(settings.data) as folder, _opened(file) as archive:
        if (folder.path / DATABASE).exists():
            raise CommandFailed(
                f"{folder.path} holds a platform already: restore into an empty folder with --data DIR.",
                exit_status=Exit.CONFLICT,
            )
        manifest = _manifest(archive, file)
        if manifest.schema > newest_schema():
            raise CommandFailed(f"{file} was made by a newer release ({manifest.portside}): restore it with that one.")
        with tempfile.TemporaryDirectory(prefix=".restoring.", dir=folder.path) as name:
            count = _unpack(archive, Path(name), manifest, file)
            _move_in(Path(name), folder.path)
    said = f"{folder.path}: the database of {manifest.made_at} and {count} artifacts"
    Output().say(f"{said}; next: portside up --data {folder.path}")


def _write_archive(settings: Settings, snapshot: Path, archive: Path) -> int:
    digests = [Digest.parse(digest) for digest in blobs_in_use(snapshot)]
    # Artifacts in S3 are not ours to copy: the archive then holds the database and the key.
    store = LocalStore(_path_of(settings.artifacts)) if settings.artifacts.startswith("file:") else None
    blobs = [(digest, store.path(digest)) for digest in digests] if store else []
    manifest = Manifest(
        version_of("portside"),
        schema_of(snapshot),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        _sha256_of(snapshot),
        len(blobs),
    )
    about = archive.with_name(MANIFEST)
    about.write_text(json.dumps(asdict(manifest), indent=2), "utf-8")
    # 0600: the archive holds the key that opens the secrets.
    with os.fdopen(os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w") as tar:
            tar.add(about, MANIFEST)
            tar.add(snapshot, DATABASE)
            for name in (KEY, TOKEN):
                if (settings.data / name).exists():
                    tar.add(settings.data / name, name)
            for digest, path in blobs:
                _add_blob(tar, digest, path)
        raw.flush()
        os.fsync(raw.fileno())
    return len(blobs)


def _add_blob(tar: tarfile.TarFile, digest: Digest, path: Path) -> None:
    try:
        tar.add(path, _member(digest))
    except FileNotFoundError as error:
        raise CommandFailed(
            f"The artifact {digest} is not in the store: it was deleted while this ran (run it again), or it is lost."
        ) from error


def _member(digest: Digest) -> str:
    return f"{ARTIFACTS}/{ALGORITHM}/{digest.hex[:2]}/{digest.hex}"


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:") as archive:
            yield archive
    except FileNotFoundError as error:
        raise CommandFailed(f"There is no file {file}.", exit_status=Exit.NOT_FOUND) from error
    except (tarfile.TarError, EOFError) as error:
        raise CommandFailed(f"{file} is no backup of portside, or it is cut off ({error}).") from error


def _manifest(archive: tarfile.TarFile, file: Path) -> Manifest:
    first = archive.next()
    if first is None or first.name != MANIFEST or (content := archive.extractfile(first)) is None:
        raise CommandFailed(f"{file} is no backup of portside: it does not begin with {MANIFEST}.")
    try:
        return Manifest(**json.load(content))
    except (ValueError, TypeError) as error:
        raise CommandFailed(f"{file} is no backup of portside: its {MANIFEST} cannot be read.") from error


def _unpack(archive: tarfile.TarFile, into: Path, manifest: Manifest, file: Path) -> int:
    """Unpack every member that we know, checking its digest; answers how many blobs there were."""
    count = 0
    for member in archive:
        if member.name == MANIFEST:
            continue
        blob = _blob_of(member.name)
        if not member.isfile() or (blob is None and member.name not in (DATABASE, KEY, TOKEN)):
            raise CommandFailed(f"{file} has a member that no backup has: {member.name!r}.")
        path = into / member.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = _copy_out(archive, member, path, 0o444 if blob else 0o600)
        wanted = manifest.database_sha256 if member.name == DATABASE else blob.hex if blob else found
        if found != wanted:
            raise CommandFailed(f"{file} is damaged: {member.name} has other bytes than its digest says.")
        count += blob is not None
    if not (into / DATABASE).exists() or count != manifest.blobs:
        raise CommandFailed(f"{file} is not whole: it has {count} of {manifest.blobs} artifacts.")
    return count


def _blob_of(name: str) -> Digest | None:
    """The digest of a member that is a blob; its name is compared, never joined as it is."""
    last = name.rpartition("/")[2]
    return Digest(last) if HEX.match(last) and name == _member(Digest(last)) else None


def _copy_out(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, mode: int) -> str:
    content = archive.extractfile(member)
    assert content is not None
    hasher = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as copy:
        while piece := content.read(PIECE_BYTES):
            hasher.update(piece)
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
    return hasher.hexdigest()


def _move_in(unpacked: Path, data: Path) -> None:
    """The database last: before it is there, nothing starts on half of a backup."""
    for name in (ARTIFACTS, KEY, TOKEN, DATABASE):
        if (unpacked / name).exists():
            shutil.move(unpacked / name, data / name)


def _database_file(settings: Settings) -> Path:
    if not settings.database.startswith("sqlite:///"):
        raise CommandFailed(
            "This platform's database is PostgreSQL: back it up with pg_dump, then copy the artifact store with its "
            "own tools, in this order. See docs/how-to/back-up-and-move.md.",
            exit_status=Exit.USAGE,
        )
    return Path(settings.database.removeprefix("sqlite:///"))


def _path_of(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))


def _sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
