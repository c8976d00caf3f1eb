"""uvicorn, taught to leave signals to us and to serve a socket that is already bound."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn

from api.cors import CrossOrigin
from api.farewell import Farewell, stopping
from api.gateway.short import ShortWay
from api.gateway.split import Gateway
from api.gateway.surface import ServiceSurface
from cli.connection import ClientConnection
from cli.leaving import Leaving
from cli.predicting import PredictingConnection

KEEP_ALIVE_S = 75
FAREWELL_S = 1.0  # for telling clients that they are not answered any more


class Server(uvicorn.Server):
    """A server that one event loop shares with the rest of the platform."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: uvicorn would raise the signal again at its end, and our own clean-up would never run."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests finish within the grace, and refuse what is still on the short way then: uvicorn does not know
        of it."""
        await super().shutdown(sockets)
        for connection in tuple(self.server_state.connections):
            if isinstance(connection, PredictingConnection):
                connection.say_farewell(stopping())
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=FAREWELL_S)


def http_server(
    app: Gateway | CrossOrigin | Leaving | ServiceSurface,
    drain_s: float,
    trusted_proxies: Sequence[str],
    short: ShortWay | None = None,
) -> Server:
    """A server for `app` that is not started yet; what may go the `short` way does not come to `app`."""
    connection = ClientConnection if short is None else partial(PredictingConnection, short)
    config = uvicorn.Config(
        Farewell(app),
        http=cast("type[asyncio.Protocol]", connection),
        ws="none" if short is None else "websockets-sansio",
        loop="none",  # the loop is already running
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(drain_s)),
    )
    return Server(config)


async def serve_until(
    server: Server, listener: socket.socket, stop: asyncio.Event, let_go: Callable[[], Awaitable[None]]
) -> None:
    """Serve until `stop` is set, then `let_go` of those who only wait, and let requests finish within the grace."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiting.cancel()
    await let_go()
    await serving
