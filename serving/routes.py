"""What answers one path of a model server: a handler per method, and the half of it that comes before the engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.messages import Request, Response
from serving.problems import Problem
from serving.protocols import grpc_status
from serving.protocols.oip_admin import MOST_BYTES
from serving.reading import Read
from serving.targets import DEFAULT

if TYPE_CHECKING:
    from serving.grpc_methods import Method

Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one path: a handler per method. `is_open` needs no token, `is_work` of a part may leave the loop.

    `is_counted` work is a prediction, whose failure belongs into the statistics of the part. `part_of` tells the part
    where only the body names it. `read` is the first half of what POST does, up to the engine.
    `relays` says that it takes Arrow streams.
    """

    handlers: Mapping[bytes, Handler]
    is_open: bool = False
    is_work: bool = False
    is_counted: bool = True
    part: str = DEFAULT
    part_of: Callable[[bytes], str] | None = None
    read: Read | None = None
    relays: bool = False


def get(handler: Handler, *, is_open: bool = False) -> Route:
    """What answers a GET."""
    return Route({b"GET": handler}, is_open=is_open)


def told(method: "Method", request: Request) -> Response:
    """The answer of a method of gRPC. Raises `Problem`."""
    if not method.is_work and len(request.body) > MOST_BYTES:  # the loop reads these
        raise Problem(413, "too_large", f"the message is larger than the {MOST_BYTES} bytes allowed here")
    return Response(200, method.answer(request.body), grpc_status.PROTOBUF)


def read_of(method: "Method") -> Read | None:
    """The first half of a method of gRPC, if it has two."""
    read = method.read
    return None if read is None else lambda request: read(request.body)
