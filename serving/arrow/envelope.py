"""What the messages of an Arrow stream say of their size, read before anything is unpacked.

A compressed buffer begins with the size that it will have, which pyarrow allocates on its word. The layout is that of
Arrow's `Message.fbs`, in FlatBuffers' binary format, and pyarrow verifies each message when it reads it after us.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serving.problems import Problem

MIB: Final = 2**20
LARGEST_UNPACKED_BYTES: Final = 256 * MIB  # of all compressed buffers together
MOST_MESSAGES: Final = 10_000
MOST_DELTAS: Final = 100  # each copies the dictionary that it extends
OLD_COMPRESSION: Final = b"ARROW:experimental_compression"  # how pyarrow 0.17 said so
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2
_BUFFER = struct.Struct("<qq")
_CONTINUATION = -1  # stands before a message's size since Arrow 0.15


@dataclass(frozen=True, slots=True)
class Table:
    """A FlatBuffers table in these bytes."""

    data: memoryview
    at: int

    def field(self, index: int) -> int:
        """Where a field's value lies; 0 where the table leaves it out."""
        vtable = self.at - self._read("<i", self.at)
        if 4 + 2 * index >= self._read("<H", vtable):
            return 0
        offset = self._read("<H", vtable + 4 + 2 * index)
        return self.at + offset if offset else 0

    def table(self, index: int) -> "Table | None":
        """The table that a field refers to."""
        at = self.field(index)
        return Table(self.data, at + self._read("<I", at)) if at else None

    def byte(self, index: int) -> int:
        """A field of one byte, 0 by default."""
        at = self.field(index)
        return self._read("<B", at) if at else 0

    def long(self, index: int) -> int:
        """A field of eight bytes, 0 by default."""
        at = self.field(index)
        return self._read("<q", at) if at else 0

    def vector(self, index: int) -> int:
        """Where the first element of a vector lies; 0 where the table leaves it out."""
        at = self.field(index)
        return at + self._read("<I", at) + 4 if at else 0

    def buffers(self, index: int) -> Iterator[tuple[int, int]]:
        """A vector of `Buffer`: the offset and length of each."""
        at = self.vector(index)
        for place in range(self._read("<I", at - 4) if at else 0):
            yield _BUFFER.unpack_from(self.data, at + place * _BUFFER.size)

    def _read(self, form: str, at: int) -> int:
        if at < 0:
            raise struct.error
        (value,) = struct.unpack_from(form, self.data, at)
        return int(value)


def check_sizes(body: bytes) -> int:
    """How many bytes the compressed buffers of a stream unpack to. Raises `Problem` 413 for too many of these, or of
    messages."""
    unpacked = deltas = number = at = 0
    whole = memoryview(body)
    while (message := message_at(whole, at)) is not None:
        number += 1
        if number > MOST_MESSAGES:
            raise _too_large(f"has more than {MOST_MESSAGES} messages", "write fewer and larger batches")
        batch, is_delta = _batch(message.table)
        deltas += is_delta
        if batch is not None and (batch.field(3) or OLD_COMPRESSION in bytes(message.table.data)):
            unpacked += sum(_unpacked(whole, message.body_at + offset, size) for offset, size in batch.buffers(2))
        at = message.end
        if unpacked > LARGEST_UNPACKED_BYTES:
            raise _too_large(f"unpacks to more than {LARGEST_UNPACKED_BYTES // MIB} MiB", "send fewer rows at a time")
        if deltas > MOST_DELTAS:
            raise _too_large(f"extends dictionaries more than {MOST_DELTAS} times", "write each dictionary whole")
    return unpacked


def end_of_first_batch(body: bytes) -> int | None:
    """Where a stream's second message ends, if that is a batch: the first is its schema. Raises `struct.error`.

    Not of one that may be compressed: each buffer says by itself whether it is.
    """
    whole = memoryview(body)
    schema = message_at(whole, 0)
    second = None if schema is None else message_at(whole, schema.end)
    if second is None or second.table.byte(1) != _RECORD_BATCH:
        return None
    batch, _ = _batch(second.table)
    may_pack = batch is None or batch.field(3) or OLD_COMPRESSION in bytes(second.table.data)
    return None if may_pack else second.end


def malformed(detail: str) -> Problem:
    """The problem of a body that is no Arrow stream."""
    hint = "write it with pyarrow.ipc.new_stream, not as a file (Feather) or Parquet"
    return Problem(400, "malformed_arrow", f"the body is no Arrow IPC stream: {detail}", hint=hint)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream: its metadata, and where its body begins and ends."""

    table: Table
    body_at: int
    end: int


def message_at(whole: memoryview, at: int) -> Message | None:
    """The message that begins here, framed as pyarrow reads it; `None` at the end of the stream.

    Raises `struct.error` where it is cut short.
    """
    if at >= len(whole):
        if at > len(whole):
            raise struct.error("the last message is cut short")
        return None
    (size,) = struct.unpack_from("<i", whole, at)
    at += 4
    if size == _CONTINUATION:
        (size,) = struct.unpack_from("<i", whole, at)
        at += 4
    if size == 0:
        return None
    metadata = whole[at : at + size]
    if size < 0 or len(metadata) < size:
        raise struct.error("a message is cut short")
    table = Table(metadata, *struct.unpack_from("<I", metadata, 0))
    length = table.long(3)
    if length < 0:
        raise struct.error("a message is less than nothing")
    return Message(table, at + size, at + size + length)


def _batch(message: Table) -> tuple[Table | None, bool]:
    """The RecordBatch that a message has, if it has one, and whether it extends a dictionary."""
    kind, header = message.byte(1), message.table(2)
    if header is None or kind not in (_RECORD_BATCH, _DICTIONARY_BATCH):
        return None, False
    return (header, False) if kind == _RECORD_BATCH else (header.table(1), bool(header.byte(2)))


def _unpacked(whole: memoryview, at: int, size: int) -> int:
    if size < 8:
        return 0
    if not 0 <= at <= len(whole) - 8:
        raise struct.error("a buffer lies outside of the stream")
    (told,) = struct.unpack_from("<q", whole, at)
    return max(int(told), 0)


def _too_large(detail: str, hint: str) -> Problem:
    return Problem(413, "too_large", f"the Arrow stream {detail}", hint=hint)
