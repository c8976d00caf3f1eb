"""A gRPC port of a model server, and clients of it that speak frames."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from serving.application import ModelServer
from serving.grpc_server import GrpcService
from serving.http2.connection import Connection
from serving.score import Scorer
from serving.signature import InputField
from serving.tuning import Tuning
from tests.serving.http2.wire import DEADLINE_S, FrameWire, connect
from tests.serving.models import IDENTITY, echo_scorer

MAX_BYTES = 8 * 2**20
ROOM_BYTES = 10 * 2**20
Start = Callable[..., Awaitable["Port"]]


@dataclass(frozen=True, slots=True)
class Port:
    """A port that is listened on, its open connections, and their clients."""

    application: ModelServer
    number: int
    connections: set[Connection]
    wires: list[FrameWire]

    async def connect(self) -> FrameWire:
        """A connection that has said hello."""
        self.wires.append(await connect(self.number))
        return self.wires[-1]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something."""
        async with asyncio.timeout(DEADLINE_S):
            while not is_so():
                await asyncio.sleep(0.005)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Open the port of a model; by default of one that answers what it is asked."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    listeners: list[asyncio.Server] = []
    ports: list[Port] = []

    async def started(scorer: Scorer | None = None, call_s: float = 0.0) -> Port:
        application = ModelServer(IDENTITY, None, 2, Tuning(max_in_flight_bytes=ROOM_BYTES))
        application.serve(scorer or echo_scorer(InputField("x", "FP32", (-1, -1))), call_s)
        service, connections = GrpcService(application, MAX_BYTES, reads_metadata=True), set[Connection]()
        listener = await loop.create_server(lambda: Connection(service, connections, application.room), "127.0.0.1", 0)
        listeners.append(listener)
        ports.append(Port(application, listener.sockets[0].getsockname()[1], connections, []))
        return ports[-1]

    yield started
    for listener in listeners:
        listener.close()
    for port in ports:
        closing = [connection.closed for connection in port.connections]
        for connection in tuple(port.connections):
            connection.abort()
        await asyncio.gather(*closing, *(wire.close() for wire in port.wires))
        await port.until(lambda port=port: not port.application.room.taken_bytes)  # type: ignore[misc]  # of this turn
    assert errors == []


@pytest.fixture
async def port(start: Start) -> Port:
    return await start()


@pytest.fixture
async def wire(port: Port) -> FrameWire:
    return await port.connect()
