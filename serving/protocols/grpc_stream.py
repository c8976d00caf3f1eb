"""The messages of a stream, made around the bytes of an answer that is ready: `ModelStreamInferResponse`.

Its first field is an error's text, its second the answer, of which an error has but the third, the request's id.
"""

from serving.protocols.oip_head import id_asked

_ERROR, _ANSWER, _ID = b"\x0a", b"\x12", b"\x1a"  # fields of the wire type for what has a length


def answered(message: bytes) -> bytes:
    """The answer of one request."""
    return _field(_ANSWER, message)


def failed(text: str, request: bytes) -> bytes:
    """What was wrong with one request; whose, its id tells, as Triton's does. Quick at any size of it."""
    name = id_asked(request)
    told = _field(_ERROR, text.encode("utf-8", "replace"))
    return told + _field(_ANSWER, _field(_ID, name)) if name else told


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    """A length in seven bits a byte, the lowest first, each but the last marked."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
