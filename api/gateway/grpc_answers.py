"""What gRPC clients ask of the whole platform and not of one service: answered from the routing table.

The platform decides what runs: to load and unload is asked here and done by the verbs of the API.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Final

from api.gateway.grpc_status import Code, Refused
from api.gateway.holding import BETWEEN
from api.gateway.protobuf import field, fields, flag, texts
from api.gateway.table import Route, RoutingTable

EXTENSIONS: Final = ("classification", "model_configuration", "model_repository", "statistics")
# The settings as Triton's clients ask for them: the bytes of each value's message.
LOGGING: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "log_file": field(3, ""),
        "log_info": flag(1, True),
        "log_warning": flag(1, True),
        "log_error": flag(1, True),
        "log_verbose_level": b"\x10\x00",
        "log_format": field(3, "default"),
    }
)
TRACING: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "trace_level": field(1, "OFF"),
        "trace_rate": field(1, "0"),
        "trace_count": field(1, "0"),
        "log_frequency": field(1, "0"),
        "trace_file": field(1, ""),
        "trace_mode": field(1, "triton"),
    }
)
MAX_BYTES: Final = 64 * 1024
MOST_SETTINGS, MOST_PARTS = 64, 8  # looked at in a message, and in each of its settings
MOST_ASKED, ASKED_AT_ONCE, ALL_STATS_S = 500, 16, 10.0
LIVE = READY = flag(1, True)
AskService = Callable[[str, bytes], Awaitable[bytes]]


class PlatformAnswers:
    """Answers for all services of a tenant."""

    def __init__(self, table: RoutingTable, version: str) -> None:
        self._table, self._version = table, version
        self._answers: dict[str, Callable[[str, bytes], bytes]] = {
            "ServerMetadata": self._about,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
            "TraceSetting": lambda _, message: _settings(TRACING, message, "there are no traces to set"),
            "LogSettings": lambda _, message: _settings(LOGGING, message, "PORTSIDE_LOG_LEVEL sets what is logged"),
            "SystemSharedMemoryStatus": _nothing,
            "SystemSharedMemoryRegister": _no_shared_memory,
            "SystemSharedMemoryUnregister": _nothing,
            "CudaSharedMemoryStatus": _nothing,
            "CudaSharedMemoryRegister": _no_shared_memory,
            "CudaSharedMemoryUnregister": _nothing,
        }

    @property
    def is_ready(self) -> bool:
        """Whether predictions can be routed."""
        return self._table.is_loaded

    @property
    def methods(self) -> Collection[str]:
        """What `answer` is for."""
        return self._answers.keys()

    def knows(self, method: str) -> bool:
        """Whether `answer` is for this method."""
        return method in self._answers

    def answer(self, method: str, tenant_id: str, message: bytes) -> bytes:
        """The answer to a method. Raises `Refused`, `Malformed`."""
        if len(message) > MAX_BYTES:  # nothing else is read field by field here, while everybody waits
            raise Refused(Code.RESOURCE_EXHAUSTED, f"a message of {method} may have {MAX_BYTES} bytes")
        return self._answers[method](tenant_id, message)

    def is_serving(self, tenant_id: str, service: str) -> bool | None:
        """Whether a service answers predictions; None where there is none of that name."""
        route = self._table.route(tenant_id, service)
        return None if route is None else is_ready(route)

    async def statistics(self, tenant_id: str, ask: AskService) -> bytes:
        """The statistics of every service that answers in time: messages one after the other are their union."""
        names = [route.service.name for route in self._table.routes_of(tenant_id) if is_ready(route)]
        if len(names) > MOST_ASKED:
            raise Refused(Code.INVALID_ARGUMENT, f"there are {len(names)} services; ask for one at a time, by name")
        at_once, until = asyncio.Semaphore(ASKED_AT_ONCE), asyncio.get_running_loop().time() + ALL_STATS_S

        async def asked(name: str) -> bytes:
            try:
                async with asyncio.timeout_at(until), at_once:
                    return await ask(name, field(1, name))
            except (Refused, TimeoutError):
                return b""  # it is not there any more, or not yet

        return b"".join(await asyncio.gather(*map(asked, names)))

    def any_ready(self, tenant_id: str) -> str:
        """A service whose model server can be asked what all of them know. Raises `Refused`."""
        for route in self._table.routes_of(tenant_id):
            if is_ready(route):
                return route.service.name
        raise Refused(Code.UNAVAILABLE, "no service is ready, and model servers tell the descriptors; deploy one")

    def _about(self, tenant_id: str, message: bytes) -> bytes:
        return field(1, "portside") + field(2, self._version) + b"".join(field(3, each) for each in EXTENSIONS)

    def _index(self, tenant_id: str, message: bytes) -> bytes:
        only_ready = dict(fields(message)).get(2) == b"\x01"
        routes = [route for route in self._table.routes_of(tenant_id) if is_ready(route) or not only_ready]
        return b"".join(field(1, _indexed(route)) for route in routes)

    def _load(self, tenant_id: str, message: bytes) -> bytes:
        name = _model(message)
        route = self._table.route(tenant_id, name)
        if route is None:
            how = "no service is called so; POST /api/v1/services deploys one"
            raise Refused(Code.NOT_FOUND, f"failed to load '{name[:60]}', {how}")
        status = route.service.status
        if is_ready(route):
            return field(1, name) + flag(2, True)
        how = f"POST /api/v1/services/{name}:resume brings it back" if status in ("paused", "pausing") else "wait"
        raise Refused(Code.FAILED_PRECONDITION, f"failed to load '{name}', the service is {status}; {how}")

    def _unload(self, tenant_id: str, message: bytes) -> bytes:
        name = _model(message)
        if self._table.route(tenant_id, name) is None:
            raise Refused(Code.NOT_FOUND, f"failed to unload '{name[:60]}', no service is called so")
        how = f"services are not unloaded here; POST /api/v1/services/{name}:pause takes its processes away"
        raise Refused(Code.FAILED_PRECONDITION, f"failed to unload '{name}', {how}")


def is_ready(route: Route) -> bool:
    """Whether a service answers predictions."""
    return bool(route.backends) and route.service.status in BETWEEN


def _indexed(route: Route) -> bytes:
    service = route.service
    state, reason = ("READY", "") if is_ready(route) else ("UNAVAILABLE", f"the service is {service.status}")
    told = field(1, service.name) + field(2, service.version or "") + field(3, state)
    return told + field(4, reason) if reason else told


def _model(message: bytes) -> str:
    """The name in a request about loading; KServe has it at another place than Triton."""
    found = texts(message, (1, 2))
    return found[2] or found[1]


def _settings(settings: Mapping[str, bytes], message: bytes, why: str) -> bytes:
    for number, entry in islice(fields(message), MOST_SETTINGS):
        wished = dict(islice(fields(entry), MOST_PARTS)) if number == 1 else {}
        name = wished.get(1, b"").decode("utf-8", "replace")
        if number == 1 and wished.get(2, b"") not in (b"", settings.get(name)):
            raise Refused(Code.INVALID_ARGUMENT, f"'{name[:60]}' cannot be changed here; {why}")
    return b"".join(field(1, field(1, name) + field(2, value)) for name, value in settings.items())


def _nothing(tenant_id: str, message: bytes) -> bytes:
    """No region is registered; to take back what is not there is nothing, either."""
    return b""


def _no_shared_memory(tenant_id: str, message: bytes) -> bytes:
    raise Refused(Code.UNIMPLEMENTED, "shared memory is not served; send the tensors in the request")
