"""Servers under test: in this process on a unix socket, with a model that is a Python function."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from serving.application import ModelServer
from serving.connection import Connection
from serving.loading import Loaded
from serving.messages import ResponseEncoder
from serving.score import Scorer
from serving.tuning import UNTUNED, Tuning
from tests.serving.models import IDENTITY, double_scorer
from tests.serving.wire import DEADLINE_S, Wire, connect

MAX_BODY_BYTES = 100_000
StartServer = Callable[..., Awaitable[Callable[[], Awaitable[Wire]]]]


@pytest.fixture
def connections() -> set[Connection]:
    """The server's ends of the connections that are open."""
    return set()


@pytest.fixture
async def start_server(
    tmp_path_factory: pytest.TempPathFactory, connections: set[Connection]
) -> AsyncIterator[StartServer]:
    """Start a server of a scorer (`None`: still loading) and get a function that connects to it."""
    servers: list[asyncio.Server] = []
    wires: list[Wire] = []

    async def start(
        scorer: Scorer | None = None,
        *,
        call_s: float = 0.0,
        token: str | None = None,
        parts: Mapping[str, Loaded] = MappingProxyType({}),
        tuning: Tuning = UNTUNED,
    ) -> Callable[[], Awaitable[Wire]]:
        told = IDENTITY if scorer is None else scorer.identity
        application = ModelServer(told, token, 1, tuning, MAX_BODY_BYTES)
        if scorer is not None:
            application.serve(scorer, call_s, parts)
        path = tmp_path_factory.mktemp("s") / "s"
        encoder = ResponseEncoder()
        loop = asyncio.get_running_loop()
        servers.append(
            await loop.create_unix_server(
                lambda: Connection(application, encoder, MAX_BODY_BYTES, connections, application.room), str(path)
            )
        )

        async def connected() -> Wire:
            wires.append(await connect(path))
            return wires[-1]

        return connected

    yield start
    for server in servers:
        server.close()
    await asyncio.gather(*(wire.end() for wire in wires))
    async with asyncio.timeout(DEADLINE_S):
        for connection in tuple(connections):
            connection.drain()
            await connection.closed


@pytest.fixture
async def wire(start_server: StartServer) -> Wire:
    """A connection to a server of `double_scorer`."""
    connected = await start_server(double_scorer())
    return await connected()


@pytest.fixture
def examples(repository_root: Path) -> Path:
    return repository_root / "examples"
