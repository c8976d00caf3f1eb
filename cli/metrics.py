"""All figures of one process in one registry, and where a process without an API shows them.

A figure that must be looked up (a queue, a pool, a disk) is looked up when somebody scrapes, never in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import uvicorn
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from cli.address import bind
from cli.server import Server
from core.disk import room_at
from core.settings import Settings
from state.database import Database
from state.metrics import DatabaseMetrics, LaneMetrics
from storage.metered import StoreMetrics

REFRESH_S: Final = 5.0  # Prometheus gives up after ten; what cannot be looked up by then stays as it was
PAGES: Final = {"/metrics": CONTENT_TYPE_LATEST, "/healthz": "application/json"}
Refresh = Callable[[], Awaitable[None]]


class Metrics:
    """The registry of a process, with what every process has; its parts add theirs."""

    def __init__(self, data: Path, registry: CollectorRegistry | None = None) -> None:
        # Else each counter has one line more, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        self.registry = registry or CollectorRegistry()
        self.store = StoreMetrics(self.registry)
        self.database = DatabaseMetrics(self.registry)
        self._build = Gauge(
            "portside_build_info", "1; what runs here.", ("version", "schema", "role"), registry=self.registry
        )
        self._free = Gauge("portside_disk_free_bytes", "Room left where the data folder is.", registry=self.registry)
        self._size = Gauge("portside_disk_size_bytes", "Room there is in all.", registry=self.registry)
        ProcessCollector(registry=self.registry)
        self._data = data
        self._refreshes: list[Refresh] = [self._look_at_disk]

    def about(self, role: str, version: str, schema: str) -> None:
        """Say what this process is."""
        self._build.labels(version, schema, role).set(1)

    def watch(self, database: Database) -> None:
        """Count this process' transactions on the database, and look at its pools."""
        database.observe(self.database)
        self._refreshes.append(lambda: self.database.refresh(database))

    def watch_lanes(self, database: Database) -> None:
        """Show how much work waits."""
        lanes = LaneMetrics(self.registry)
        self._refreshes.append(lambda: lanes.refresh(database))

    async def refresh(self) -> None:
        """Look everything up, within `REFRESH_S`."""
        looking = [asyncio.ensure_future(refresh()) for refresh in self._refreshes]
        _, late = await asyncio.wait(looking, timeout=REFRESH_S)
        for look in late:
            look.cancel()
        for fault in await asyncio.gather(*looking, return_exceptions=True):
            if isinstance(fault, Exception):
                raise fault

    async def page(self) -> bytes:
        """Everything in Prometheus' text format."""
        await self.refresh()
        # Beside the event loop: thousands of lines take longer than a prediction shall wait.
        return await asyncio.to_thread(generate_latest, self.registry)

    async def _look_at_disk(self) -> None:
        room = await asyncio.to_thread(room_at, self._data)
        self._free.set(room.free)
        self._size.set(room.total)


async def serve_metrics(metrics: Metrics, settings: Settings, stack: AsyncExitStack) -> int | None:
    """Answer `/metrics` and `/healthz` on this loop until `stack` ends, if a setting names a port; answers the port.

    Raises `AddressUnusable`.
    """
    if settings.metrics_port is None:
        return None
    listener = bind(settings.metrics_host, settings.metrics_port)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kind = PAGES.get(scope["path"])
        body = b"not found\n" if kind is None else await metrics.page() if "metrics" in scope["path"] else b"{}\n"
        headers = [(b"content-type", (kind or "text/plain").encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 404 if kind is None else 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app, ws="none", loop="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")

    async def stop() -> None:
        server.should_exit = True
        await serving

    stack.push_async_callback(stop)
    port: int = listener.getsockname()[1]
    return port
