"""Bytes to upload that can be read from the beginning more than once: a file by its path, or a seekable handle."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

PIECE_BYTES = 256 * 1024

Watch: TypeAlias = Callable[[int], None]
ModelFile: TypeAlias = str | os.PathLike[str] | BinaryIO


class Source(Protocol):
    """What is uploaded. Reading raises `OSError`."""

    @property
    def name(self) -> str:
        """The file's name, without its folder; empty where it has none."""

    @property
    def size_bytes(self) -> int:
        """How many bytes `pieces` gives."""

    def digest(self) -> str:
        """`sha256:` and the hex digest, as the platform names artifacts."""

    def pieces(self) -> Iterator[bytes]:
        """All bytes from the beginning, however often it is called; never many of them in memory."""


class FileSource:
    """A file. `watch` is told the size of each piece once it was taken, and takes back what is sent again."""

    def __init__(self, path: Path, watch: Watch = lambda size: None) -> None:
        self._path, self._watch = path, watch
        self._taken = 0

    @property
    def name(self) -> str:
        """The file's name."""
        return self._path.name

    @property
    def size_bytes(self) -> int:
        """Its size now."""
        return self._path.stat().st_size

    def digest(self) -> str:
        """Of what lies there now."""
        return digest_of(self._path)

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes."""
        self._watch(-self._taken)
        self._taken = 0
        with self._path.open("rb") as handle:
            while piece := handle.read(PIECE_BYTES):
                yield piece
                self._taken += len(piece)
                self._watch(len(piece))


class HandleSource:
    """An open file, or bytes in an `io.BytesIO`, from where it stands now."""

    def __init__(self, handle: BinaryIO) -> None:
        """Raises `ValueError` where it cannot be read twice."""
        if not handle.seekable():
            raise ValueError("an upload may have to be sent again: give a path, or a file that can seek")
        self._handle = handle
        self._start = handle.tell()

    @property
    def name(self) -> str:
        """The name it was opened by."""
        opened_as = getattr(self._handle, "name", "")
        return Path(opened_as).name if isinstance(opened_as, str) else ""

    @property
    def size_bytes(self) -> int:
        """From the start to the end."""
        return self._handle.seek(0, os.SEEK_END) - self._start

    def digest(self) -> str:
        """Of all of it."""
        found = hashlib.sha256()
        for piece in self.pieces():
            found.update(piece)
        return f"sha256:{found.hexdigest()}"

    def pieces(self) -> Iterator[bytes]:
        """Its bytes."""
        self._handle.seek(self._start)
        while piece := self._handle.read(PIECE_BYTES):
            yield piece


def source_of(file: ModelFile) -> Source:
    """Whatever a caller names as a file. Raises `ValueError` for a handle that cannot be read twice."""
    if isinstance(file, str | os.PathLike):
        return FileSource(Path(file))
    return HandleSource(file)


def digest_of(file: Path) -> str:
    """`sha256:` and the file's digest, as the platform names artifacts."""
    with file.open("rb") as handle:
        return f"sha256:{hashlib.file_digest(handle, 'sha256').hexdigest()}"
