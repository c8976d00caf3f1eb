"""The few messages that the gateway reads and writes itself, field by field; what a model is asked passes as it came.

In Protocol Buffers a field is its number and kind, then a varint, 4 or 8 bytes, or a length and so many bytes.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

MOST_FIELDS: Final = 4096  # looked at in one message: a request names its model first
VARINT, LENGTH = 0, 2
SIZES: Final = {1: 8, 5: 4}  # of the other kinds


class Malformed(ValueError):
    """These bytes are no message."""


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers of a message's fields and their bytes; those of a number are its varint. Raises `Malformed`."""
    return ((number, message[begin:end]) for number, begin, end in _spans(message))


def texts(message: bytes, wanted: Collection[int]) -> Mapping[int, str]:
    """The texts of these fields; what is not there is empty. Raises `Malformed`."""
    found = dict.fromkeys(wanted, "")
    for number, begin, end in _spans(message):
        if number in found:
            found[number] = _decoded(message[begin:end])
    return found


def field(number: int, data: bytes | str) -> bytes:
    """A field that has a length: a text, bytes or a message."""
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    return varint(number << 3 | LENGTH) + varint(len(raw)) + raw


def flag(number: int, value: int) -> bytes:
    """A field that is a number or a boolean; 0 is what is not there."""
    return varint(number << 3 | VARINT) + varint(int(value)) if value else b""


def varint(number: int) -> bytes:
    """A number in seven bits a byte, the lowest first, each but the last marked."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text is not UTF-8") from error


def _spans(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Where the first fields begin and end, without their lengths; nothing is copied, as tensors are among them."""
    at, last = 0, len(message)
    for _ in range(MOST_FIELDS):
        if at == last:
            return
        tag, at = _varint(message, at)
        begin, kind = at, tag & 7
        if kind == LENGTH:
            size, begin = _varint(message, at)
            at = begin + size
        elif kind == VARINT:
            _, at = _varint(message, at)
        elif kind in SIZES:
            at += SIZES[kind]
        else:
            raise Malformed(f"a field has the kind {kind}")
        if at > last:
            raise Malformed("a field is longer than its message")
        yield tag >> 3, begin, at


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for byte in message[at : at + 10]:
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise Malformed("a number has no end")
