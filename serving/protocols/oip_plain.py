"""Infer messages read and written by hand: those that have nothing but tensors, all raw, as most have.

A client describes its tensors in the same bytes again and again, so what they say is remembered. Whatever is unusual
(parameters, wanted outputs, typed contents, an unknown field, a text that is none) is left to protobuf.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.protocols.raw import Buffer
from serving.protocols.tensors import Given, Tensor

MOST_TENSORS: Final = 64
MOST_DIMENSIONS: Final = 64
MOST_REMEMBERED: Final = 256
_LONGEST = 256  # bytes of a description that is remembered
_SMALL_BYTES = 4096  # of a tensor that is copied, so that it lies where an engine can read it
_NAME, _VERSION, _ID, _INPUT, _RAW = 0x0A, 0x12, 0x1A, 0x2A, 0x3A  # fields of ModelInferRequest that have a length
_TENSOR_NAME, _DATATYPE, _SHAPE = 0x0A, 0x12, 0x1A  # of a tensor's description
_OUTPUT, _RAW_OUTPUT = b"\x2a", b"\x32"  # fields of ModelInferResponse
_FINAL = b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08\x01"  # its parameter that says so, true

Described = tuple[str, str, tuple[int, ...]]


@dataclass(slots=True)  # not frozen: see `messages`
class PlainRequest:
    """What such a message says; `id` as its bytes."""

    model_name: str
    model_version: str
    id: bytes
    given: list[Given]


class PlainMessages:
    """Reads and writes such messages. Thread-safe."""

    def __init__(self) -> None:
        self._described: dict[bytes, Described] = {}
        self._outputs: dict[Described, bytes] = {}

    def read(self, message: bytes) -> PlainRequest | None:
        """What a message says; None where it is not plain, or not right."""
        try:
            return self._read(message)
        except (IndexError, ValueError):  # of which a text that is none is one
            return None

    def write(self, model: bytes, request_id: bytes, tensors: Sequence[Tensor], *, is_final: bool = False) -> bytes:
        """The answer; `model` are its fields that name the model."""
        parts: list[Buffer] = [model]
        if request_id:
            parts += (b"\x1a", varint(len(request_id)), request_id)
        if is_final:
            parts.append(_FINAL)
        raws: list[Buffer] = []
        for tensor in tensors:
            raw = tensor.raw()
            parts.append(self._output((tensor.name, tensor.datatype, tensor.array.shape)))
            raws += (_RAW_OUTPUT, varint(len(raw)), raw)
        return b"".join(parts + raws)

    def _read(self, message: bytes) -> PlainRequest | None:
        name = version = request_id = b""
        described: list[Described] = []
        raws: list[Buffer] = []
        at, size = 0, len(message)
        while at < size:
            tag, length = message[at], message[at + 1]
            at += 2
            if length >= 0x80:
                length, at = _varint(message, at - 1)
            end = at + length
            if end > size:
                return None
            if tag == _RAW:
                raws.append(message[at:end] if length <= _SMALL_BYTES else memoryview(message)[at:end])
            elif tag == _INPUT:
                described.append(self._tensor(message[at:end]))
            elif tag == _NAME:
                name = message[at:end]
            elif tag == _VERSION:
                version = message[at:end]
            elif tag == _ID:
                request_id = message[at:end]
            else:
                return None
            if len(raws) > MOST_TENSORS or len(described) > MOST_TENSORS:
                return None
            at = end
        if len(raws) != len(described) or not raws:
            return None
        request_id.decode()  # raises where it is no text
        given = [Given(*each, raw) for each, raw in zip(described, raws, strict=True)]
        return PlainRequest(name.decode(), version.decode(), request_id, given)

    def _tensor(self, data: bytes) -> Described:
        found = self._described.get(data)
        if found is None:
            found = _described(data)
            if len(data) <= _LONGEST:
                if len(self._described) >= MOST_REMEMBERED:
                    self._described.clear()
                self._described[data] = found
        return found

    def _output(self, described: Described) -> bytes:
        found = self._outputs.get(described)
        if found is None:
            name, datatype, shape = described
            sizes = b"".join(map(varint, shape))
            fields = b"".join(
                _tagged(tag, each) for tag, each in ((b"\x0a", name.encode()), (b"\x12", datatype.encode()))
            )
            found = _tagged(_OUTPUT, fields + (_tagged(b"\x1a", sizes) if shape else b""))
            if len(self._outputs) >= MOST_REMEMBERED:
                self._outputs.clear()
            self._outputs[described] = found
        return found


def model_fields(name: str, version: str) -> bytes:
    """The fields of an answer that name the model."""
    return _tagged(b"\x0a", name.encode()) + _tagged(b"\x12", version.encode())


def varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _tagged(tag: bytes, data: bytes) -> bytes:
    """A field, which is left out where it is empty."""
    return tag + varint(len(data)) + data if data else b""


def _described(data: bytes) -> Described:
    """What a tensor's description says. Raises `ValueError` or `IndexError` for what is unusual."""
    name = datatype = b""
    shape: list[int] = []
    at, size = 0, len(data)
    while at < size:
        tag = data[at]
        length, at = _varint(data, at + 1)
        end = at + length
        if end > size:
            raise ValueError
        if tag == _TENSOR_NAME:
            name = data[at:end]
        elif tag == _DATATYPE:
            datatype = data[at:end]
        elif tag == _SHAPE:
            while at < end:
                number, at = _varint(data, at)
                shape.append(number)
            if at != end or len(shape) > MOST_DIMENSIONS:
                raise ValueError
        else:
            raise ValueError
        at = end
    return name.decode(), datatype.decode(), tuple(shape)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number that is not negative and has no more bits than it needs to be one, and where it ends."""
    number = 0
    for shift in range(0, 63, 7):
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError
