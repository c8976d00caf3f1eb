"""A gateway at a real port, with the short way in front of it, as the platform has it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from api.gateway.short import ShortWay
from api.gateway.split import Gateway
from api.gateway.surface import ServiceSurface
from cli.predicting import PredictingConnection
from tests.api.gateway.replicas import TURNS

PATIENCE_S = 60.0  # none of these tests is about the machine's haste


@dataclass(slots=True)
class Port:
    """Where a gateway listens; `long` are the paths of the requests that came to it by ASGI."""

    number: int = 0
    long: list[str] = field(default_factory=list)
    connections: AbstractSet[object] = field(default_factory=set)  # of clients that are not closed

    async def say(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """All that is answered until the gateway closes, as it does after `Connection: close`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            async with asyncio.timeout(PATIENCE_S):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def at_a_port(
    gateway: Gateway, is_leaving: Callable[[], bool] = lambda: False, own: int | None = None
) -> AsyncIterator[Port]:
    """Serve until the block ends, `own` as a service's own port; clients' connections are cut then."""
    port, served = Port(), gateway if own is None else ServiceSurface(gateway, own)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        port.long.append(scope["path"])
        await served(scope, receive, send)

    config = Config(app, http=PredictingConnection, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    short, state = ShortWay(gateway, is_leaving, own), ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: PredictingConnection(short, config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    port.connections = state.connections
    port.number = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for connection in tuple(state.connections):
            assert isinstance(connection, PredictingConnection)
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)


def request(path: str, body: bytes = b"{}", *headers: str, last: bool = False) -> bytes:
    """A POST as bytes; after the last one the gateway closes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, *(["Connection: close"] if last else []), "", ""]).encode() + body
