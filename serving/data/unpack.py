"""Archives into a folder, member by member: nothing gets a place that the caller did not give it.

What is refused is refused as a whole: a folder that was begun is emptied again.
"""

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.data.formats import DatasetInvalid
from serving.data.streams import MIB, Unpacked
from serving.engines.base import InvalidModel
from serving.parts.archive import Limits, name_fault, opened, too_many
from serving.problems import shorten

LONGEST_PATH_BYTES: Final = 1024
LONGEST_NAME_BYTES: Final = 255  # of a file, on the file systems there are
DEEPEST: Final = 32
LARGEST_HEADERS_BYTES: Final = 4 * MIB  # of one member of a tar; long names and extended headers are kept in memory
MOST_RATIO: Final = 1000
_PIECE_BYTES: Final = MIB
_ENTRY_BYTES: Final = 512  # of a zip's directory, with a long name
_HINT: Final = "Upload a zip, tar, tar.gz or tar.zst."
_COMPRESSIONS: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}


@dataclass(frozen=True, slots=True)
class Unpacking:
    """A file that was unpacked, by its path in the folder."""

    path: str
    size: int
    sha256: str


class Folder:
    """A new folder that fills, up to so many files and bytes."""

    def __init__(self, root: Path, most_files: int, most_bytes: int, tell: Callable[[Unpacking], None]) -> None:
        self.root, self.most_files, self.most_bytes = root, most_files, most_bytes
        self._tell, self._files, self._bytes = tell, 0, 0

    def make(self) -> None:
        """Begin. Raises `FileExistsError` where something is there already."""
        self.root.mkdir(parents=True, exist_ok=True)
        if any(self.root.iterdir()):
            raise FileExistsError(17, "is not empty", str(self.root))

    def empty(self) -> None:
        """Take away what was unpacked."""
        for each in self.root.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()

    def add(self, name: str, pieces: Iterator[bytes]) -> None:
        """Write a file. Raises `InvalidModel`."""
        path = _place(name)
        self._files += 1
        if self._files > self.most_files:
            raise too_many(_limits(self.most_files))
        digest, size = hashlib.sha256(), 0
        target = self.root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise refused(name, "is in it twice, or is a folder, too") from error
        with file:
            for piece in pieces:
                size += len(piece)
                self._bytes += len(piece)
                if self._bytes > self.most_bytes:
                    raise _too_large(self.most_bytes)
                digest.update(piece)
                file.write(piece)
        self._tell(Unpacking(path, size, digest.hexdigest()))


def unpack(path: Path, folder: Folder) -> None:
    """Unpack an archive. Raises `InvalidModel` for one that could hurt, is damaged or too large, `OSError` for want of
    room; then the folder is empty again."""
    folder.make()
    is_whole = False
    try:
        _unpack(path, folder)
        is_whole = True
    finally:
        if not is_whole:
            folder.empty()


def refused(name: str, what: str) -> InvalidModel:
    """The refusal of one member."""
    message = f"the archive's entry {shorten(name.encode('utf-8', 'replace').decode())!r} {what}"
    return InvalidModel("archive_refused", message, "Pack plain files, each once, with relative paths.")


def _unpack(path: Path, folder: Folder) -> None:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _unpack_zip(path, folder)
        return
    compression = _COMPRESSIONS.get(head[:2])
    try:
        with closing(Unpacked(path, compression)) as unpacked:
            _unpack_tar(unpacked, folder)
    except DatasetInvalid as error:
        raise InvalidModel("archive_damaged", error.message, error.hint) from error


def _unpack_zip(path: Path, folder: Folder) -> None:
    with opened(path, _limits(folder.most_files, folder.most_bytes)) as archive:
        entries = [archive.entry(name) for name in archive.names]
        if sum(entry.size_bytes for entry in entries) > folder.most_bytes:
            raise _too_large(folder.most_bytes)
        for entry in entries:
            folder.add(entry.name, archive.pieces(entry))


def _unpack_tar(unpacked: Unpacked, folder: Folder) -> None:
    stream = _Bounded(unpacked)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
            members = 0
            while (member := stream.within(archive.next)) is not None:
                archive.members = []  # it would keep them all
                members += 1
                if members > 2 * folder.most_files:  # with their folders
                    raise too_many(_limits(folder.most_files))
                if member.isdir():
                    _place(member.name)
                elif not member.isreg() or member.issparse():
                    raise refused(member.name, "is a link, a device or sparse, not a plain file")
                else:
                    folder.add(member.name, _tar_pieces(archive, member))
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        what = "is no archive that is unpacked here" if stream.is_at_start else "is damaged"
        raise InvalidModel("archive_damaged", f"the file {what}: {str(error)[:200]}", _HINT) from error


def _tar_pieces(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.extractfile(member)
    assert file is not None
    left = member.size
    while left > 0:
        piece = file.read(min(_PIECE_BYTES, left))
        if not piece:
            raise tarfile.ReadError(f"{member.name[:80]} is cut short")
        left -= len(piece)
        yield piece


class _Bounded:
    """What tarfile reads from; headers, which it holds as a whole, get no more than their share."""

    def __init__(self, unpacked: Unpacked) -> None:
        self._unpacked = unpacked
        self._left: int | None = LARGEST_HEADERS_BYTES  # the first header is read by the opening
        self._count = 0

    @property
    def is_at_start(self) -> bool:
        """Whether nothing but a first header was read."""
        return self._count <= tarfile.RECORDSIZE

    def within(self, read: Callable[[], tarfile.TarInfo | None]) -> tarfile.TarInfo | None:
        """Read a header."""
        self._left = LARGEST_HEADERS_BYTES
        try:
            return read()
        finally:
            self._left = None

    def read(self, size: int) -> bytes:
        """Up to so many bytes. Raises `InvalidModel` where a header has too many."""
        found = bytes(self._unpacked.read(size))
        self._count += len(found)
        if self._left is not None:
            self._left -= len(found)
            if self._left < 0:
                message = f"a header of the archive has more than {LARGEST_HEADERS_BYTES // MIB} MiB"
                raise InvalidModel("archive_refused", message, "Pack the files again.")
        return found


def _place(name: str) -> str:
    """The path of a member in the folder. Raises `InvalidModel` for one that leads elsewhere or is too long."""
    fault = name_fault(name)
    if fault is not None:
        what, hint = fault
        raise InvalidModel("archive_refused", f"{refused(name, what).message}", hint)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    path = "/".join(parts)
    if len(parts) > DEEPEST or len(path.encode()) > LONGEST_PATH_BYTES:
        raise refused(name, f"has a path of more than {LONGEST_PATH_BYTES} bytes or {DEEPEST} folders")
    if any(len(os.fsencode(part)) > LONGEST_NAME_BYTES for part in parts):
        raise refused(name, f"has a name of more than {LONGEST_NAME_BYTES} bytes")
    return path


def _limits(most_files: int, most_bytes: int = 0) -> Limits:
    fewer = f"Upload it in several archives, with {most_files} files each at most."
    return Limits(most_files, _ENTRY_BYTES * most_files + MIB, most_bytes, MOST_RATIO, "a file in an archive", fewer)


def _too_large(most_bytes: int) -> InvalidModel:
    message = f"the archive unpacks to more than {most_bytes} bytes"
    return InvalidModel("archive_too_large", message, "Upload it in several archives.")
