"""uvicorn, taught to leave signals to us and to serve a socket that is already bound."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn

from api.gateway.split import Gateway
from cli.failure import CommandFailed
from cli.ports import listener_of

KEEP_ALIVE_S = 75
BACKLOG = 2048


class AddressUnusable(CommandFailed):
    """The address cannot be listened on."""


class Server(uvicorn.Server):
    """A server that one event loop shares with the rest of the platform."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: uvicorn would raise the signal again at its end, and our own clean-up would never run."""
        yield


def http_server(app: Gateway, drain_s: float) -> Server:
    """A server for `app` that is not started yet."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="none",  # the loop is already running
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(drain_s)),
    )
    return Server(config)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound now so that a busy port is known before anything else starts.

    Raises `AddressUnusable`.
    """
    bare = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((bare, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressUnusable(_why_not(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"{host}:{port} cannot be listened on ({error.strerror or error}): choose another --host or --port."
    holder = listener_of(port)
    by = f" by {holder}" if holder else ""
    return f"Port {port} of {host} is in use{by}: stop that one, choose another with --port, or let --port 0 find one."


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
