"""What the head of a call asks for, and the heads and trailers of its answer (gRPC over HTTP/2: PROTOCOL-HTTP2.md)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from serving.http2.fields import RequestHead
from serving.http2.hpack import Field, encode
from serving.protocols.grpc_status import Code

NO_HEADERS: Final[Mapping[bytes, bytes]] = MappingProxyType({})
CODINGS: Final = frozenset({b"gzip", b"deflate"})
ACCEPTED: Final = b"identity,deflate,gzip"
LONGEST_TEXT: Final = 2000  # of an error: clients take trailers of 8 KiB together
LONGEST_MESSAGE: Final = 6000  # of it, once it is escaped
_CONTENT_TYPE = re.compile(rb"application/grpc(\+proto)?([ \t]*;.*)?", re.IGNORECASE | re.DOTALL)
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNIT_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# What is of the transport and not of the caller.
_OF_THE_CALL: Final = frozenset({b"te", b"content-type", b"content-length", b"content-encoding", b"accept-encoding"})
_PLAIN = re.compile(rb"[^ -$&-~]")  # what a message does not carry as it is: the rest of ASCII, and the percent sign

_TYPE: Final[tuple[Field, ...]] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
HEAD: Final = encode((*_TYPE, (b"grpc-accept-encoding", ACCEPTED)))
OK: Final = encode(((b"grpc-status", b"0"),))


class CallRefused(Exception):
    """A call ends with this status."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def is_grpc(head: RequestHead) -> bool:
    """Whether a request is a call at all."""
    return _CONTENT_TYPE.fullmatch(head.headers.get(b"content-type", b"")) is not None


def timeout_of(head: RequestHead) -> float | None:
    """In how many seconds the answer is of no use any more. Raises `CallRefused`."""
    given = head.headers.get(b"grpc-timeout")
    if given is None:
        return None
    found = _TIMEOUT.fullmatch(given)
    if found is None:
        raise CallRefused(Code.INVALID_ARGUMENT, "the grpc-timeout is a number of up to eight digits and a unit")
    return int(found[1]) * _UNIT_S[found[2]]


def coding_of(head: RequestHead) -> bytes | None:
    """How compressed messages of a call are compressed. Raises `CallRefused`."""
    given = head.headers.get(b"grpc-encoding", b"identity")
    if given == b"identity":
        return None
    if given not in CODINGS:
        shown = given[:80].decode("ascii", "replace")
        raise CallRefused(Code.UNIMPLEMENTED, f"messages in {shown} are not read here; send them plain, or as gzip")
    return given


def metadata_of(head: RequestHead) -> Mapping[bytes, bytes]:
    """What the caller says beside its message, and the transport does not know."""
    headers = head.headers.items()
    return {name: value for name, value in headers if name not in _OF_THE_CALL and not name.startswith(b"grpc-")}


def refusal(code: Code, text: str, *, has_begun: bool = False) -> bytes:
    """The block that ends a call with a status; all there is of an answer, unless it has begun."""
    fields = [*(() if has_begun else _TYPE), (b"grpc-status", b"%d" % code), (b"grpc-message", _escaped(text))]
    if code is Code.UNIMPLEMENTED and not has_begun:
        fields.append((b"grpc-accept-encoding", ACCEPTED))
    return encode(fields)


def no_call(status: int, text: str) -> tuple[bytes, bytes]:
    """The head and the body of an answer to what is no call."""
    body = f"{text}\n".encode()
    fields = ((b":status", b"%d" % status), (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)))
    return encode(fields), body


def _escaped(text: str) -> bytes:
    """A status' message as a header carries it."""
    escaped = _PLAIN.sub(lambda found: b"%%%02X" % found[0][0], text[:LONGEST_TEXT].encode("utf-8", "replace"))
    cut = escaped[:LONGEST_MESSAGE]
    return cut if len(cut) == len(escaped) else re.sub(rb"%[0-9A-F]?\Z", b"", cut)
