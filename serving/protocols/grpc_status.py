"""The status codes of gRPC, and which of them a problem is; also how an error travels in the bridge over HTTP/1.1."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from serving.messages import Request, Response
from serving.problems import Problem
from serving.protocols.oip_rest import error_text

PROTOBUF: Final = "application/x-protobuf"
STATUS: Final = "grpc-status"
# What is told without a token.
OPEN: Final = frozenset(
    {
        b"/inference.GRPCInferenceService/ServerLive",
        b"/inference.GRPCInferenceService/ServerReady",
        b"/grpc.health.v1.Health/Check",
    }
)
PREFIXES: Final = (b"/inference.GRPCInferenceService/", b"/grpc.health.", b"/grpc.reflection.")


class Code(IntEnum):
    """The codes that we answer, by their numbers in gRPC's protocol."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


CODES: Final[Mapping[int, Code]] = MappingProxyType(
    {
        401: Code.UNAUTHENTICATED,
        403: Code.PERMISSION_DENIED,
        404: Code.NOT_FOUND,
        405: Code.UNIMPLEMENTED,
        408: Code.DEADLINE_EXCEEDED,
        409: Code.FAILED_PRECONDITION,
        412: Code.FAILED_PRECONDITION,
        413: Code.RESOURCE_EXHAUSTED,
        429: Code.RESOURCE_EXHAUSTED,
        500: Code.INTERNAL,
        501: Code.UNIMPLEMENTED,
        502: Code.UNAVAILABLE,
        503: Code.UNAVAILABLE,
        504: Code.DEADLINE_EXCEEDED,
        507: Code.UNAVAILABLE,
    }
)


def is_grpc(target: bytes) -> bool:
    """Whether a path is that of a gRPC method."""
    return target.startswith(PREFIXES)


def code_of(problem: Problem) -> Code:
    """A problem's code; every other 4xx is a mistake in the message."""
    if problem.code == "memory_limit_exceeded":
        return Code.RESOURCE_EXHAUSTED
    return CODES.get(problem.status, Code.INVALID_ARGUMENT)


def refused(problem: Problem) -> Response:
    """The problem as the bridge tells it: its text, and the code beside it."""
    headers = {**problem.headers, STATUS: str(int(code_of(problem)))}
    return Response(problem.status, error_text(problem).encode(), "text/plain; charset=utf-8", headers)


def status_of(response: Response) -> tuple[Code, str]:
    """The code and text of a response of the bridge."""
    if response.status == 200:
        return Code.OK, ""
    return Code(int(response.headers.get(STATUS, Code.INTERNAL))), response.body.decode("utf-8", "replace")


def bridged(method: str, message: bytes, headers: Mapping[bytes, bytes], deadline: float | None = None) -> Request:
    """The request of the bridge for one message; `method` begins with a slash."""
    return Request(b"POST", method.encode("utf-8", "replace"), headers, message, deadline)
