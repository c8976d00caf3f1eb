"""A valid ONNX model of any size as a stream: a table of floats from which it gathers one row. Nothing is kept.

Written by hand from the field numbers of onnx.proto, so that a gigabyte never stands in memory or on our disk.
"""

import array
import uuid
from collections.abc import Iterator

BLOCK_BYTES = 1024 * 1024
COLUMNS = 1024
FLOAT, INT64 = 1, 7  # TensorProto.DataType


def model_size(size_bytes: int) -> int:
    """The length of the whole file around a table of `size_bytes`."""
    return len(_head(size_bytes, "0" * 32)) + size_bytes + len(_tail())


def model_pieces(size_bytes: int) -> Iterator[bytes]:
    """The file, new at every call: its producer's name differs. `size_bytes` is a multiple of BLOCK_BYTES."""
    yield _head(size_bytes, uuid.uuid4().hex)
    block = array.array("f", (number / 1000 for number in range(BLOCK_BYTES // 4))).tobytes()
    for _ in range(size_bytes // BLOCK_BYTES):
        yield block
    yield _tail()


def _head(size_bytes: int, producer: str) -> bytes:
    tensor = _number(1, size_bytes // 4 // COLUMNS) + _number(1, COLUMNS) + _number(2, FLOAT) + _bytes(8, b"table")
    raw = _tag(9, 2) + _varint(size_bytes)
    node = _bytes(1, b"table") + _bytes(1, b"row") + _bytes(2, b"found") + _bytes(4, b"Gather")
    graph = _bytes(1, node) + _bytes(2, b"lookup") + _tag(5, 2) + _varint(len(tensor) + len(raw) + size_bytes)
    graph += tensor + raw
    model = _number(1, 8) + _bytes(2, producer.encode()) + _bytes(8, _number(2, 17))
    return model + _tag(7, 2) + _varint(len(graph) + size_bytes + len(_tail())) + graph


def _tail() -> bytes:
    """What follows the table within the graph: its input and its output."""
    return _bytes(11, _value(b"row", INT64, 1)) + _bytes(12, _value(b"found", FLOAT, 1, COLUMNS))


def _value(name: bytes, datatype: int, *shape: int) -> bytes:
    dimensions = b"".join(_bytes(1, _number(1, size)) for size in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, datatype) + _bytes(2, dimensions)))


def _bytes(field: int, content: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _tag(field, 0) + _varint(value)


def _tag(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
