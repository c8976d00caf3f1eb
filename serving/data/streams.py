"""The text of a file as UTF-8 bytes, piece by piece: decompressed and transcoded, never held as a whole."""

import codecs
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

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


class Unpacked:
    """A file's bytes after decompression, counted against what it was packed into."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._file = pa.OSFile(str(path))
        self._size_bytes: int = self._file.size()
        self._stream = self._file if compression is None else pa.CompressedInputStream(self._file, compression)
        self.is_packed = compression is not None
        self._count = 0

    @property
    def size_bytes(self) -> int:
        """Of the file as it lies there."""
        return self._size_bytes

    @property
    def read_bytes(self) -> int:
        """How far the file as it lies there has been read."""
        return int(self._file.tell())

    def seek(self, offset: int) -> None:
        """Go to a byte of a file that is not packed."""
        self._file.seek(offset)

    def read(self, size: int) -> memoryview:
        """Up to so many bytes; less at the end. Raises `DatasetInvalid` for a damaged stream, and for a bomb."""
        with damage_told("the compressed file"):
            # In memory of Arrow's pool, which is used again: new pages would cost more than the reading.
            found = memoryview(self._stream.read_buffer(size))
        self._count += len(found)
        if self.is_packed and self._count > max(HARMLESS_BYTES, MOST_RATIO * self._size_bytes):
            message = f"the file unpacks to more than {MOST_RATIO} times its size, as no table does"
            raise DatasetInvalid(message, "Upload it uncompressed, or in parts.")
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Text:
    """The same bytes as UTF-8, from a byte of that; `offset` is where the reading begins, behind a byte order mark."""

    def __init__(
        self, path: Path, format: Format, offset: int = 0, passed: Callable[[int], None] = lambda read_bytes: None
    ) -> None:
        """`passed` is told how far the file has been read while what stands before the offset is passed over, which
        takes long where it has to be unpacked."""
        self._bytes = Unpacked(path, format.compression)
        self._decoder = None if format.encoding == "utf-8" else codecs.getincrementaldecoder(format.encoding)()
        self._is_rereadable = self._decoder is None and not self._bytes.is_packed
        self._is_read = False
        self._ahead = memoryview(b"")
        self.offset = offset
        if offset and self._is_rereadable:
            self._bytes.seek(offset)
        elif offset:
            self._skip(offset, passed)
        elif self._decoder is None:
            self._ahead = self._bytes.read(len(UTF8_BOM))
            if bytes(self._ahead) == UTF8_BOM:
                self._ahead, self.offset = memoryview(b""), len(UTF8_BOM)

    @property
    def read_bytes(self) -> int:
        """How far the file as it lies there has been read."""
        return self._bytes.read_bytes

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self._is_read and not self._ahead

    def read(self, size: int) -> memoryview:
        """About so many bytes, at least what was put back. Raises `DatasetInvalid`."""
        ahead, self._ahead = self._ahead, memoryview(b"")
        if self._is_read or len(ahead) >= size:
            return ahead
        raw = self._bytes.read(size - len(ahead))
        # Short of what was asked for is the end: then nobody needs to ask again.
        self._is_read = len(raw) < size - len(ahead)
        if self._decoder is not None:
            with damage_told("the text"):
                raw = memoryview(self._decoder.decode(raw, final=self._is_read).encode())
        return memoryview(b"".join((ahead, raw))) if ahead else raw

    def unread(self, rest: memoryview) -> None:
        """Put back the end of what was read last."""
        if not rest:
            return
        if self._is_rereadable and not self._ahead:
            self._bytes.seek(self._bytes.read_bytes - len(rest))
            self._is_read = False
        else:
            self._ahead = memoryview(b"".join((rest, self._ahead)))

    def close(self) -> None:
        """Let go of the file."""
        self._bytes.close()

    def _skip(self, offset: int, passed: Callable[[int], None]) -> None:
        left = offset
        while left > 0:
            passed(self.read_bytes)
            found = self.read(min(_SKIPPED_BYTES, left))
            if not found and self._is_read:
                raise DatasetInvalid("the file is shorter than when it was read before", "Start the run again.")
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
        if "decrypt" in told.lower():  # some columns of a Parquet file, whose footer can be read
            hint = "Write it without encryption: there are no keys here."
            raise DatasetInvalid(f"{what} is encrypted: {told}", hint) from error
        raise DatasetInvalid(f"{what} is damaged: {told}", "Make the file again, and compare its size.") from error
