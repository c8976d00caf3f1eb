"""What the fields of a request say, once they are found to be in order (RFC 9113, 8.2 and 8.3)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from serving.http2.faults import ErrorCode, StreamFault
from serving.http2.hpack import Field

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_NEEDED: Final = (b":method", b":scheme", b":path")
_OF_A_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of one request; of a header that comes more than once, the last counts."""

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]
    content_length: int | None = None
    is_oversized: bool = False  # there were more headers than are read


def request_head(fields: Iterable[Field], *, is_oversized: bool) -> RequestHead:
    """The head of a request. Raises `StreamFault`."""
    pseudo: dict[bytes, bytes] = {}
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO:
                raise _malformed(f"the field {name!r} is unknown, or twice, or behind others")
            pseudo[name] = value
        else:
            _check(name, value)
            headers[name] = value
        if _BAD_VALUE.search(value):
            raise _malformed(f"the value of {name!r} is no field value")
    if not is_oversized and not all(map(pseudo.get, _NEEDED)):
        raise _malformed("a request needs a method, a scheme and a path")
    length = headers.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) <= _MOST_DIGITS):
        raise _malformed("the content length is no number")
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    return RequestHead(method, path, headers, None if length is None else int(length), is_oversized)


def check_trailers(fields: Iterable[Field]) -> None:
    """Raises `StreamFault` for what may not stand behind a body."""
    for name, value in fields:
        _check(name, value)
        if _BAD_VALUE.search(value):
            raise _malformed(f"the value of {name!r} is no field value")


def _check(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise _malformed(f"{name!r} is no field name")
    if name in _OF_A_CONNECTION or (name == b"te" and value != b"trailers"):
        raise _malformed(f"the field {name!r} is of HTTP/1.1")


def _malformed(text: str) -> StreamFault:
    return StreamFault(ErrorCode.PROTOCOL_ERROR, text)
