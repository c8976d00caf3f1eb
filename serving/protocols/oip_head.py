"""What an infer message tells before it is parsed: which version it asks for, what it is called, and whether it has too
many fields.

Fields lie one behind the other (https://protobuf.dev/programming-guides/encoding/). The loop wants to know the version
before a thread parses all of it, and an empty tensor, of two bytes, becomes an object of a hundred.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

_VERSION, _ID, _FIRST_TENSOR = 2, 3, 5  # fields of ModelInferRequest; every library writes those of low numbers first
_VARINT, _FIXED64, _LENGTH, _BEGIN, _END, _FIXED32 = range(6)  # kinds of fields
_MOST_BEFORE_TENSORS = 1_000  # three names and the parameters
MOST_FIELDS: Final = 100_000  # two for each input of the widest table, and more than enough


def version_asked(message: bytes) -> str:
    """The `model_version` of a `ModelInferRequest`; empty where it has none before its tensors, or cannot be read."""
    return _before_tensors(message, _VERSION).decode("utf-8", "replace")


def id_asked(message: bytes) -> bytes:
    """Its `id`, which is text; empty likewise."""
    found = _before_tensors(message, _ID)
    try:
        found.decode()
    except UnicodeDecodeError:
        return b""
    return found


def _before_tensors(message: bytes, wanted: int) -> bytes:
    found = b""
    for number, kind, begin, end in islice(_fields(message), _MOST_BEFORE_TENSORS):
        if number >= _FIRST_TENSOR:
            break
        if number == wanted and kind == _LENGTH:
            found = message[begin:end]  # the last one counts, as for any library
    return found


def is_crowded(message: bytes) -> bool:
    """Whether there are more than `MOST_FIELDS`."""
    return next(islice(_fields(message), MOST_FIELDS, None), None) is not None


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The number and kind of each field, and where its value begins and ends, until something is not right.

    The fields of a group count as those of the message.
    """
    at, size = 0, len(message)
    try:
        while at < size:
            tag, begin = _varint(message, at)
            kind = tag & 7
            if kind == _LENGTH:
                length, begin = _varint(message, begin)
                at = begin + length
            elif kind == _VARINT:
                at = _varint(message, begin)[1]
            elif kind in (_FIXED64, _FIXED32):
                at = begin + (8 if kind == _FIXED64 else 4)
            elif kind in (_BEGIN, _END):
                at = begin
            else:
                return
            if at > size:
                return
            yield tag >> 3, kind, begin, at
    except IndexError:
        return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends. Raises `IndexError` beyond the end, or for one without."""
    number = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise IndexError
