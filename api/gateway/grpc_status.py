"""Which status of gRPC our errors are, and those of a model server, which tells its own in a header."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import grpc

from core.errors import PlatformError

Code = grpc.StatusCode
HEADER: Final = b"grpc-status"
LONGEST_TEXT: Final = 2000  # clients take trailers of 8 KiB together
CODES: Final[Mapping[int, grpc.StatusCode]] = MappingProxyType(
    {
        400: Code.INVALID_ARGUMENT,
        401: Code.UNAUTHENTICATED,
        403: Code.PERMISSION_DENIED,
        404: Code.NOT_FOUND,
        405: Code.UNIMPLEMENTED,
        408: Code.DEADLINE_EXCEEDED,
        409: Code.FAILED_PRECONDITION,
        412: Code.FAILED_PRECONDITION,
        413: Code.RESOURCE_EXHAUSTED,
        422: Code.INVALID_ARGUMENT,
        429: Code.RESOURCE_EXHAUSTED,
        501: Code.UNIMPLEMENTED,
        502: Code.UNAVAILABLE,
        503: Code.UNAVAILABLE,
        504: Code.DEADLINE_EXCEEDED,
        507: Code.UNAVAILABLE,
    }
)
BY_NUMBER: Final[Mapping[bytes, grpc.StatusCode]] = MappingProxyType({b"%d" % code.value[0]: code for code in Code})


class Refused(Exception):
    """A call that ends with a status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text[:LONGEST_TEXT]


def refusal(error: PlatformError) -> Refused:
    """The status of an error of ours."""
    return Refused(CODES.get(error.status, Code.INTERNAL), error.message)


def told(status: int, number: bytes, text: bytes) -> Refused:
    """The status of a model server's answer; one that knows no gRPC yet tells that of HTTP only."""
    code = BY_NUMBER.get(number) or CODES.get(status, Code.INTERNAL)
    return Refused(code, text.decode("utf-8", "replace"))
