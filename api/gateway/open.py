"""The door of gRPC: its library costs a tenth of a second and 25 MB, which is not paid where that port is off."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from api.gateway.split import Gateway

if TYPE_CHECKING:
    from api.gateway.grpc import GrpcGateway


def open_grpc(gateway: Gateway, *, admits_tokenless: bool, is_leaving: Callable[[], bool]) -> "GrpcGateway":
    """A gRPC server over the gateway that does not listen yet."""
    # Its handlers of fork() are for forks that never exec; at ours, which all do, they would only complain.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from api.gateway.grpc import GrpcGateway

    return GrpcGateway(gateway, admits_tokenless=admits_tokenless, is_leaving=is_leaving)
