"""A zip archive as an uploader made it: whatever could hurt is refused before one of its entries is read.

Nothing is unpacked under a name of the archive's; an entry goes into a file that the caller names, its size counted.
"""

import hashlib
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from serving.engines.base import InvalidModel
from serving.problems import shorten

MIB: Final = 1024 * 1024
MOST_ENTRIES: Final = 1000
LARGEST_DIRECTORY_BYTES: Final = MIB  # a thousand entries have a tenth of it
LARGEST_ENTRY_BYTES: Final = 2**31 - 1  # what one ONNX file may have
# Deflate's most is 1032; the PMML of a forest, which repeats itself more than any other model, has 30.
MOST_RATIO: Final = 200
HARMLESS_BYTES: Final = 16 * MIB  # a file that unpacks to this much is no bomb, however small it was
PIECE_BYTES: Final = MIB

_LOCAL_HEADER: Final = b"PK\x03\x04"
_LOCAL_HEADER_BYTES: Final = 30
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_LOCATOR: Final = b"PK\x06\x07"  # of zip64, before the end: APPNOTE.TXT 4.3.14 and 4.3.15
_LOCATOR_BYTES: Final = 20
_RECORD64: Final = b"PK\x06\x06"
_RECORD64_BYTES: Final = 56
_LONGEST_COMMENT: Final = 65535
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000  # an entry, strongly, the directory itself: APPNOTE.TXT 4.4.4
# What the standard library raises at an archive that somebody cut, damaged or made by hand.
_DAMAGED: Final = (BadZipFile, EOFError, NotImplementedError, OverflowError, ValueError, struct.error, zlib.error)
_PACK_AGAIN: Final = "Make the archive again, for example with `zip -r models.zip portside.json models`."


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may have, and what is said where it has more."""

    entries: int = MOST_ENTRIES
    directory_bytes: int = LARGEST_DIRECTORY_BYTES
    entry_bytes: int = LARGEST_ENTRY_BYTES
    ratio: int = MOST_RATIO
    what: str = "a model in an archive"
    fewer: str = "Pack portside.json and the model files only."


OF_MODELS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive and where its bytes lie in it: as they are, or deflated (RFC 1951) without a header."""

    name: str
    size_bytes: int
    offset_bytes: int
    packed_bytes: int
    is_deflated: bool


class Archive:
    """An archive whose directory was checked."""

    def __init__(self, file: BinaryIO, zipped: ZipFile, limits: Limits) -> None:
        self._file, self._zipped, self._limits = file, zipped, limits
        self._found = {info.filename: info for info in zipped.infolist() if not info.is_dir()}

    @property
    def names(self) -> Sequence[str]:
        """Its files, as the directory lists them."""
        return tuple(self._found)

    def entry(self, name: str) -> Entry:
        """A file that is there, if its size is one to unpack. Raises `InvalidModel`."""
        info = self._found[name]
        shown = shorten(name)
        limits = self._limits
        if info.file_size > limits.entry_bytes:
            may = f"{limits.what} may have {_in_words(limits.entry_bytes)}"
            message = f"the file {shown!r} has {info.file_size} bytes; {may}"
            raise InvalidModel("archive_too_large", message, "Make it smaller, or leave it out.")
        if info.file_size > max(HARMLESS_BYTES, limits.ratio * info.compress_size):
            message = f"the file {shown!r} unpacks to more than {limits.ratio} times its size, as hardly anything does"
            raise InvalidModel("archive_too_large", message, "Store it without compression: zip -0.")
        offset = self._offset(info)
        return Entry(name, info.file_size, offset, info.compress_size, info.compress_type == ZIP_DEFLATED)

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """The content of a small file; `None` where it has more than `most_bytes`. Raises `InvalidModel`."""
        if self._found[name].file_size > most_bytes:
            return None
        return b"".join(self.pieces(self.entry(name)))

    def unpack(self, entry: Entry, target: Path) -> str:
        """Write the entry's bytes into a new file; their digest, `sha256:…`. Raises `InvalidModel` and `OSError`."""
        digest = hashlib.sha256()
        with target.open("xb") as file:
            for piece in self.pieces(entry):
                digest.update(piece)
                file.write(piece)
        return f"sha256:{digest.hexdigest()}"

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """Its bytes, exactly as many as the directory says and of the checksum that it says."""
        count = 0
        try:
            with self._zipped.open(self._found[entry.name]) as source:
                while piece := source.read(PIECE_BYTES):
                    count += len(piece)
                    yield piece
        except _DAMAGED as error:
            raise _damaged(f"the file {shorten(entry.name)!r} cannot be unpacked: {error}") from error
        if count != entry.size_bytes:
            raise _damaged(f"the file {shorten(entry.name)!r} has {count} bytes, not {entry.size_bytes}")

    def _offset(self, info: ZipInfo) -> int:
        """Where the data of an entry begins: behind its local header, whose length only that itself tells."""
        file_bytes = self._file.seek(0, 2)
        header = b""
        # Negative where bytes before the directory are lost: the reader moves all entries by as many.
        if 0 <= info.header_offset < file_bytes:
            self._file.seek(info.header_offset)
            header = self._file.read(_LOCAL_HEADER_BYTES)
        if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(_LOCAL_HEADER):
            raise _damaged(f"the file {shorten(info.filename)!r} is not where the directory has it")
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
        offset: int = info.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        if offset + info.compress_size > file_bytes:
            raise _damaged(f"the file {shorten(info.filename)!r} is cut short")
        return offset


@contextmanager
def opened(path: Path, limits: Limits = OF_MODELS) -> Iterator[Archive]:
    """The archive at a path, checked. Raises `InvalidModel` for one that is damaged or could hurt."""
    with path.open("rb") as file:
        _check_directory(file, limits)
        try:
            zipped = ZipFile(file)
        except _DAMAGED as error:
            raise _damaged(f"its directory cannot be read: {error}") from error
        with zipped:
            _check_entries(zipped.infolist(), limits)
            yield Archive(file, zipped, limits)


def _check_directory(file: BinaryIO, limits: Limits) -> None:
    """Refuse a directory that is too large to be read at all; the reader keeps all of it in memory."""
    size_bytes = file.seek(0, 2)
    file.seek(max(0, size_bytes - _END_BYTES - _LONGEST_COMMENT))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise _damaged("its directory, which stands at the end, is missing")
    _check_claims(limits, *struct.unpack("<HI", tail[at + 10 : at + 16]))
    _check_zip64(file, max(0, size_bytes - len(tail)) + at, limits)


def _check_zip64(file: BinaryIO, end: int, limits: Limits) -> None:
    """Likewise for what a zip64 archive says instead: right before its locator, or where that one points to."""
    file.seek(max(0, end - _LOCATOR_BYTES))
    locator = file.read(_LOCATOR_BYTES)
    if end < _LOCATOR_BYTES or not locator.startswith(_LOCATOR):
        return
    (pointed,) = struct.unpack("<Q", locator[8:16])
    for at in (end - _LOCATOR_BYTES - _RECORD64_BYTES, pointed):
        if not 0 <= at < end:
            continue
        file.seek(at)
        record = file.read(_RECORD64_BYTES)
        if record.startswith(_RECORD64) and len(record) == _RECORD64_BYTES:
            _check_claims(limits, *struct.unpack("<QQ", record[32:48]))


def _check_claims(limits: Limits, count: int, directory_bytes: int) -> None:
    if count > limits.entries or directory_bytes > limits.directory_bytes:
        raise too_many(limits)


def _check_entries(infos: Sequence[ZipInfo], limits: Limits) -> None:
    if len(infos) > limits.entries:
        raise too_many(limits)
    seen: set[str] = set()
    for info in infos:
        fault = name_fault(info.orig_filename) or _entry_fault(info)
        if fault is None and info.filename in seen:
            fault = "is in it twice", "Let each file be in the archive once."
        if fault is not None:
            what, hint = fault
            raise InvalidModel("archive_refused", f"the archive's entry {shorten(info.orig_filename)!r} {what}", hint)
        seen.add(info.filename)


def name_fault(name: str) -> tuple[str, str] | None:
    """What is wrong with an entry's name and what to do about it, if something is."""
    relative = "Pack the files with relative paths, with / between folders."
    if name.startswith("/") or "\\" in name or name[1:2] == ":":
        return "has no relative path", relative
    if ".." in name.split("/"):
        return "leads out of the archive", relative
    if not name.isprintable() or not name:
        return "has a name that cannot be shown", "Give the file a name of printable characters."
    return None


def _entry_fault(info: ZipInfo) -> tuple[str, str] | None:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file", "Pack the file itself: zip follows links unless told `-y`."
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted", "Pack the files without a password."
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "is packed by a method that is not read here", "Use the usual one, deflate, or none: zip -0."
    return None


def too_many(limits: Limits) -> InvalidModel:
    """The refusal of an archive with too many entries."""
    return InvalidModel("archive_too_large", f"the archive has more than {limits.entries} entries", limits.fewer)


def _in_words(size_bytes: int) -> str:
    """`2 GiB` for what is nearly that."""
    return f"{round(size_bytes / 2**30)} GiB" if size_bytes >= 2**29 else f"{size_bytes} bytes"


def _damaged(why: str) -> InvalidModel:
    return InvalidModel("archive_damaged", f"the archive is damaged: {why}", _PACK_AGAIN)
