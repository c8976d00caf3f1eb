"""The listeners on services' own ports: as many as the routing table has, each over the same gateway.

A port that cannot be opened is said in its service and tried again; nothing else suffers from it.
"""

import asyncio
import logging
import resource
from collections.abc import Callable

from api.cors import CrossOrigin
from api.gateway.short import ShortWay
from api.gateway.split import Gateway
from api.gateway.surface import ServiceSurface
from cli.address import listen
from cli.server import Server, http_server
from core.settings import Settings

log = logging.getLogger(__name__)

AGAIN_S = 1.0  # a port that is busy may be free by then


def most_listeners() -> int:
    """A quarter of the descriptors that this process may have: connections, the database and files need the others."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return descriptors // 4


class ServicePorts:
    """Listens where services have their ports, until `stop`."""

    def __init__(
        self,
        gateway: Gateway,
        settings: Settings,
        faults: dict[int, str],
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        """`faults` is kept up to date: why this process does not listen at a port, in a sentence."""
        self._gateway, self._settings, self._faults, self._is_leaving = gateway, settings, faults, is_leaving
        self._most = most_listeners()
        self._open: dict[int, Server] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open what the table has now, and follow it."""
        self._compare()
        self._task = asyncio.create_task(self._follow(), name="service-ports")

    async def stop(self) -> None:
        """Close every listener; requests finish within the grace."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for server in self._open.values():
            server.should_exit = True
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._gateway.table.changed(AGAIN_S)
            self._compare()

    def _compare(self) -> None:
        wanted = self._gateway.table.ports
        for port in [port for port in self._open if port not in wanted]:
            self._open.pop(port).should_exit = True
        for port in [port for port in self._faults if port not in wanted]:
            del self._faults[port]
        for port in wanted:
            if port not in self._open:
                self._listen(port)

    def _listen(self, port: int) -> None:
        where = f"port {port} of {self._settings.host}"
        if len(self._open) >= self._most:
            many = f"services have more ports than the {self._most} that a process may listen at"
            self._fail(port, f"{where} is not opened: {many} (a quarter of `ulimit -n`)")
            return
        try:
            listener = listen(self._settings.host, port)
        except OSError as error:
            self._fail(port, f"{where} cannot be opened ({error.strerror}); it is tried again every second")
            return
        self._faults.pop(port, None)
        surface, settings = ServiceSurface(self._gateway, port), self._settings
        app = CrossOrigin(surface, settings.cors_origins) if settings.cors_origins else surface
        short = ShortWay(self._gateway, self._is_leaving, port)
        server = http_server(app, settings.drain_s, settings.trusted_proxies, short)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name=f"service-port-{port}")
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        self._open[port] = server

    def _fail(self, port: int, fault: str) -> None:
        if self._faults.get(port) != fault:
            log.warning("%s", fault)
        self._faults[port] = fault
