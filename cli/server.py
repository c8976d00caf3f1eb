"""uvicorn, taught to leave signals to us and to serve a socket that is already bound."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class Server(uvicorn.Server):
    """A server that one event loop shares with the rest of the platform."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: uvicorn would raise the signal again at its end, and our own clean-up would never run."""
        yield


def http_server(app: ASGIApp, drain_s: float) -> Server:
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
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(drain_s)),
    )
    return Server(config)


class AddressUnusable(Exception):
    """The address cannot be listened on; the message is the one sentence for the user."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound now so that a busy port is known before anything else starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or str(error)
        raise AddressUnusable(f"{host}:{port} cannot be listened on ({why})") from error
    listener.setblocking(False)
    return listener


async def serve_until(server: Server, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let running requests finish within the server's grace."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiting.cancel()
    await serving
