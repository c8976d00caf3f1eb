"""Tensors as the bytes of the binary tensor extension: little-endian, row by row, without gaps.

Nothing that a stranger's lengths claim is believed before it is compared with the bytes that really came.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from serving.bfloat16 import narrowed, widened
from serving.datatypes import DTYPES
from serving.problems import Problem
from serving.signature import Datatype

Buffer = bytes | memoryview
_LENGTH = struct.Struct("<I")
_BF16_BYTES = 2


def item_bytes(datatype: Datatype) -> int:
    """The size of one value; of a text, that of its length."""
    if datatype == "BYTES":
        return _LENGTH.size
    return _BF16_BYTES if datatype == "BF16" else DTYPES[datatype].itemsize


def array_of(what: str, datatype: Datatype, shape: Sequence[int], raw: Buffer) -> NDArray[np.generic]:
    """The numbers of these bytes, as a view of them where their place in memory allows it. Raises `Problem` 400."""
    size = item_bytes(datatype)
    expected = math.prod(shape) * size
    if len(raw) != expected:
        detail = f"{what} has {len(raw)} bytes; {datatype} of the shape {list(shape)} is {_short(expected)} bytes"
        raise _mistake(detail)
    if datatype == "BOOL":
        flags = np.frombuffer(raw, np.uint8)
        if flags.size and int(flags.max()) > 1:
            at = int(np.flatnonzero(flags > 1)[0])
            raise _mistake(f"{what} has the byte {flags[at]} at {at}; a BOOL is a byte that is 0 or 1")
        return flags.view(np.bool_).reshape(shape)
    if datatype == "BF16":
        return widened(np.frombuffer(raw, np.dtype("<u2"))).reshape(shape)
    found: NDArray[np.generic] = np.frombuffer(raw, DTYPES[datatype].newbyteorder("<")).reshape(shape)
    # An engine reads whole words: a tensor that begins in the middle of one, behind a JSON header, is moved once.
    return found if found.flags.aligned and found.dtype.isnative else found.astype(DTYPES[datatype])


def texts_of(what: str, count: int, raw: Buffer) -> list[object]:
    """The texts of a BYTES tensor, each behind its length. Raises `Problem` 400."""
    given = len(raw)
    if count * _LENGTH.size > given:
        detail = f"{what} has {given} bytes; {_short(count)} texts have at least {_short(count * _LENGTH.size)}"
        raise _mistake(detail, "each text stands behind its length in bytes, 4 bytes little-endian")
    data, at = bytes(raw), 0
    texts: list[object] = []
    for index in range(count):
        begin = at + _LENGTH.size
        if begin > given:
            raise _mistake(f"{what} ends before the length of text {index} of {count}")
        at = begin + _LENGTH.unpack_from(data, at)[0]
        if at > given:
            detail = f"{what} says that text {index} has {at - begin} bytes; {given - begin} are left"
            raise _mistake(detail)
        texts.append(text_of(what, index, data[begin:at]))
    if at != given:
        raise _mistake(f"{what} has {given - at} bytes behind its {count} texts")
    return texts


def text_of(what: str, index: int, data: bytes) -> str:
    """One text of a BYTES tensor. Raises `Problem` 400."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        detail = f"{what} has a value at {index} that is not UTF-8 text (its byte {error.start})"
        raise _mistake(detail, "this model's BYTES are texts") from error


def raw_of(datatype: Datatype, array: NDArray[np.generic]) -> Buffer:
    """The bytes of a tensor; a view of the array where they lie in memory as they travel."""
    if datatype == "BYTES":
        return b"".join(_lengthened(cast("Iterable[str]", array.reshape(-1).tolist())))
    if datatype == "BF16":
        return narrowed(array).astype(np.dtype("<u2")).tobytes()
    flat = np.ascontiguousarray(array, DTYPES[datatype].newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data if flat.size else b""


def _lengthened(texts: Iterable[str]) -> Iterable[bytes]:
    for text in texts:
        data = text.encode("utf-8", "replace")
        yield _LENGTH.pack(len(data))
        yield data


def _short(number: int) -> str:
    return str(number) if number < 10**20 else "more than 10^20"


def _mistake(detail: str, hint: str = "") -> Problem:
    return Problem(400, "invalid_input", detail, hint=hint)
