"""Runs a model server: listens, loads the model beside, answers, and drains when it is told to end."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import uvloop

from serving.access_log import LoggedApplication
from serving.application import ModelServer
from serving.connection import Connection
from serving.engines.base import InvalidModel
from serving.heads import bearer
from serving.inspect import encode_refusal
from serving.messages import Application, ResponseEncoder
from serving.native.library import NotThere
from serving.native.way import LARGEST_BYTES, QuickWay, open_way
from serving.open import open_grpc_server
from serving.parts.loading import LoadedParts
from serving.payloads import BoundedFile, SampledApplication, log_lines
from serving.process import take_socket
from serving.score import Identity
from serving.tuning import UNTUNED, Tuning

if TYPE_CHECKING:
    from serving.grpc_server import GrpcServer

REQUEST_S, IDLE_S, SWEEP_S = 30.0, 600.0, 5.0


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens: a unix socket, a bound TCP socket, else a TCP port (0: any free one); TCP may ask for a
    token. gRPC has a port of its own on the same host."""

    host: str
    port: int
    socket_path: Path | None = None
    listen_fd: int | None = None
    token: str | None = None
    max_body_bytes: int = 64 * 1024 * 1024
    grace_s: float = 10.0
    threads: int = 1
    grpc_port: int | None = None


def run_server(
    listen: Listen, identity: Identity, load: Callable[[], LoadedParts], out: BinaryIO, tuning: Tuning = UNTUNED
) -> int:
    """Serve until SIGTERM or SIGINT; the address is written to `out` once it listens. Returns the exit status."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Run(listen, identity, out, tuning).serve(load))


class _Run:
    """One run of a server. Raises `OSError` where a file that was asked for cannot be written."""

    def __init__(self, listen: Listen, identity: Identity, out: BinaryIO, tuning: Tuning) -> None:
        self._listen, self._out, self._identity, self._tuning = listen, out, identity, tuning
        token = None if listen.socket_path else listen.token
        self._quick, self._without = self._open_way(token)
        self._server = ModelServer(identity, token, listen.threads, tuning, listen.max_body_bytes, self._quick)
        self._application = self._watched()
        self._connections: set[Connection] = set()
        self._stopped = asyncio.Event()
        self._grpc: GrpcServer | None = None

    def _open_way(self, token: str | None) -> tuple[QuickWay | None, str]:
        """The compiled way, or why there is none: who writes requests down, or refuses small ones, must see all."""
        is_watched = self._tuning.access_log or self._tuning.sample_rate > 0
        if is_watched or self._listen.max_body_bytes < LARGEST_BYTES:
            return None, ""
        try:
            return open_way(bearer(token) or b""), ""
        except NotThere as reason:
            return None, f"small requests are answered by Python: {reason}\n"

    async def serve(self, load: Callable[[], LoadedParts]) -> int:
        loop = asyncio.get_running_loop()
        self._take_signals(loop)
        listener = await self._open(loop)
        sweeper = asyncio.create_task(self._sweep())
        loading = asyncio.create_task(self._start(load))
        stopping = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and loading.result():
            return loading.result()
        await stopping
        listener.close()
        await self._drain()
        sweeper.cancel()
        if self._listen.socket_path:
            with suppress(FileNotFoundError):
                self._listen.socket_path.unlink()
        return 0

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractServer:
        encoder, room, application = ResponseEncoder(), self._server.room, self._application
        quick = self._quick.answer if self._quick is not None else None

        def connection() -> Connection:
            return Connection(application, encoder, self._listen.max_body_bytes, self._connections, room, quick)

        if self._listen.socket_path:
            server = await loop.create_unix_server(connection, str(self._listen.socket_path), backlog=1024)
            self._say(f"unix:{self._listen.socket_path}")
            return server
        if self._listen.listen_fd is not None:
            server = await loop.create_server(connection, sock=take_socket(self._listen.listen_fd), backlog=1024)
        else:
            # Not SO_REUSEPORT: two servers on one port would share its requests without anybody noticing.
            server = await loop.create_server(connection, self._listen.host, self._listen.port, backlog=1024)
        host, port = server.sockets[0].getsockname()[:2]
        shown = f"[{host}]" if server.sockets[0].family == socket.AF_INET6 else host
        self._say(f"http://{shown}:{port}")
        return server

    def _watched(self) -> Application:
        """The application, and around it what was asked for to be written down. Raises OSError."""
        tuning, application = self._tuning, cast("Application", self._server)
        if tuning.sample_rate > 0:
            path = tuning.sample_file
            keep = log_lines(sys.stderr) if path is None else BoundedFile(path).write
            application = SampledApplication(application, tuning.sample_rate, keep)
        return LoggedApplication(application, sys.stderr) if tuning.access_log else application

    def _say(self, address: str) -> None:
        with suppress(OSError):  # as of `forgive_full_log`, where it is the same file
            self._out.write(f"{address}\n".encode())

    async def _start(self, load: Callable[[], LoadedParts]) -> int:
        """Load, and open the gRPC port beside it; the exit status if one fails, else 0."""
        if self._listen.grpc_port is None:
            return await self._load(load)
        opened, loaded = await asyncio.gather(self._open_grpc(self._listen.grpc_port), self._load(load))
        return opened or loaded

    async def _open_grpc(self, port: int) -> int:
        listen = self._listen
        # Metadata takes time at every call: they are for the token, and for the request id where it is written down.
        reads = listen.token is not None or self._application is not self._server
        room = self._server.room
        server = await open_grpc_server(self._application, listen.max_body_bytes, room, reads_metadata=reads)
        try:
            found = await server.start(self._listen.host, port)
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        self._grpc = server
        self._say(f"grpc://{self._listen.host}:{found}")
        return 0

    async def _load(self, load: Callable[[], LoadedParts]) -> int:
        """Load beside the loop, which answers health checks meanwhile; the exit status if that fails, else 0."""
        begun = time.monotonic()
        try:
            loaded = await asyncio.to_thread(load)
        except InvalidModel as error:
            sys.stderr.write(f"the model cannot be served: {error.message}. {error.hint}\n")
            sys.stderr.write(encode_refusal(error).decode())  # for who reads it by program
            return 65
        except OSError as error:  # not our listener's: the disk that parts are unpacked to may be full
            sys.stderr.write(f"the model cannot be read: {error}\n")
            return 1
        # An engine with its own runtime (a JVM) may have put its signal handlers over ours.
        self._take_signals(asyncio.get_running_loop())
        self._server.serve(loaded.default.scorer, loaded.default.call_s, loaded.by_key)
        took_s, runs_on = time.monotonic() - begun, loaded.default.scorer.execution_provider
        sys.stderr.write(f"{self._identity.name} is ready after {took_s:.2f} s, on {runs_on}\n{self._without}")
        return 0

    async def _drain(self) -> None:
        """Let what has begun finish within the grace time."""
        self._server.stop()
        for connection in tuple(self._connections):
            connection.drain()
        deadline = asyncio.get_running_loop().time() + self._listen.grace_s
        if self._grpc is not None:
            await self._grpc.stop(self._listen.grace_s)
        for connection in tuple(self._connections):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await connection.closed

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for connection in tuple(self._connections):
                connection.expire(loop.time(), REQUEST_S, IDLE_S)
