"""The text of a file as UTF-8 bytes, piece by piece: decompressed and transcoded, never held as a whole."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa

from serving.data.formats import DatasetInvalid, Format

MIB: Final = 2**20
UTF8_BOM: Final = codecs.BOM_UTF8
# What a stream may unpack to: deflate's most is 1032, and no table comes near it.
MOST_RATIO: Final = 1000
HARMLESS_BYTES: Final = 256 * MIB
_SKIPPED_BYTES: Final = MIB
# What pyarrow and codecs raise at bytes that are not what they should be.
DAMAGED: Final = (pa.ArrowException, OSError, ValueError, EOFError, ArithmeticError, LookupError, TypeError)


class Bytes(Protocol):
    """What is read from."""

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""

    def tell(self) -> int:
        """The place in the file underneath."""


class Unpacked:
    """A file's bytes after decompression, counted against what it was packed into."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._file = pa.OSFile(str(path))
        self._size_bytes = self._file.size()
        self._stream = self._file if compression is None else pa.CompressedInputStream(self._file, compression)
        self._is_packed = compression is not None
        self._count = 0

    @property
    def size_bytes(self) -> int:
        """Of the file as it lies there."""
        return self._size_bytes

    @property
    def read_bytes(self) -> int:
        """How far the file as it lies there has been read."""
        return int(self._file.tell())

    @property
    def is_seekable(self) -> bool:
        """Whether `seek` is for free."""
        return not self._is_packed

    def seek(self, offset: int) -> None:
        """Go to a byte of a file that is not compressed."""
        self._file.seek(offset)

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end. Raises `DatasetInvalid` for a damaged stream, and for a bomb."""
        with damage_told("the compressed file"):
            found: bytes = self._stream.read(size)
        self._count += len(found)
        if self._is_packed and self._count > max(HARMLESS_BYTES, MOST_RATIO * self._size_bytes):
            message = f"the file unpacks to more than {MOST_RATIO} times its size, as no table does"
            raise DatasetInvalid(message, "Upload it uncompressed, or in parts.")
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Text:
    """The same bytes as UTF-8, from a byte of that; `start` is where the text begins, behind a mark of the order."""

    def __init__(self, path: Path, format: Format, offset: int = 0) -> None:
        self._bytes = Unpacked(path, format.compression)
        self._decoder = None if format.encoding == "utf-8" else codecs.getincrementaldecoder(format.encoding)()
        self._is_over = False
        self._ahead = b""
        self.offset = 0
        if offset and self._decoder is None and self._bytes.is_seekable:
            self._bytes.seek(offset)
        elif offset:
            self._skip(offset)
        elif self._decoder is None:
            self._ahead = self._bytes.read(len(UTF8_BOM))
            if self._ahead == UTF8_BOM:
                self._ahead, offset = b"", len(UTF8_BOM)
        self.offset = offset

    @property
    def read_bytes(self) -> int:
        """How far the file as it lies there has been read."""
        return self._bytes.read_bytes

    def read(self, size: int) -> bytes:
        """About so many bytes; none at the end. Raises `DatasetInvalid`."""
        if self._decoder is None:
            found = self._ahead + self._bytes.read(size) if self._ahead else self._bytes.read(size)
            self._ahead = b""
            return found
        while not self._is_over:
            raw = self._bytes.read(size)
            self._is_over = not raw
            with damage_told("the text"):
                text = self._decoder.decode(raw, final=not raw).encode()
            if text:
                return text
        return b""

    def close(self) -> None:
        """Let go of the file."""
        self._bytes.close()

    def _skip(self, offset: int) -> None:
        left = offset
        while left > 0:
            found = self.read(min(_SKIPPED_BYTES, left) if self._decoder is None else _SKIPPED_BYTES)
            if not found:
                raise DatasetInvalid("the file is shorter than when it was read before", "Start the run again.")
            if len(found) > left:
                self._ahead = found[left:]
            left -= len(found)


@contextmanager
def damage_told(what: str) -> Iterator[None]:
    """Whatever is raised for damaged bytes, as `DatasetInvalid`."""
    try:
        yield
    except MemoryError:
        raise
    except DAMAGED as error:
        told = str(error).partition("\n")[0][:200] or type(error).__name__
        raise DatasetInvalid(f"{what} is damaged: {told}", "Make the file again, and compare its size.") from error
