"""The port of gRPC: the one that was named, the one after HTTP's, a free one, or none."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse

from api.gateway.connection import ConnectionPool
from api.gateway.holding import Holding
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from cli.failure import CommandFailed
from cli.grpc_port import open_grpc_port
from core.settings import Settings
from deploy.stack.child import free_port
from state.database import open_database


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """One that nobody asks anything."""
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    table = RoutingTable(database, signalled=True, on_change=lambda addresses: None, token_of=str)
    yield Gateway(PlainTextResponse(""), Holding(table, 0), ConnectionPool(), lambda scope: "", 1000, "0")
    await database.close()


@pytest.fixture
def busy() -> "socket.socket":
    # Not one of those that systems give to connections: somebody could have it as soon as it is let go.
    return socket.create_server(("127.0.0.1", free_port()))


async def opened(settings: Settings, gateway: Gateway, after: int | None = None) -> str | None:
    async with AsyncExitStack() as stack:
        return await open_grpc_port(settings, gateway, asyncio.Event(), stack, after=after)


async def test_it_may_be_off_and_is_where_nobody_names_it_to_a_divided_platform(gateway: Gateway) -> None:
    assert await opened(Settings(grpc_port="off"), gateway, after=1) is None
    assert await opened(Settings(), gateway) is None


async def test_the_port_after_https_is_taken_or_another_one_and_that_is_said(
    gateway: Gateway, busy: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    with busy:
        port = busy.getsockname()[1]
        address = await opened(Settings(port=1), gateway, after=port - 1)
        assert address is not None
        assert address != f"127.0.0.1:{port}"
        assert f"Port {port} is in use" in capsys.readouterr().err
    assert await opened(Settings(port=1), gateway, after=port - 1) == f"127.0.0.1:{port}"


async def test_a_port_that_was_named_and_is_busy_is_refused(gateway: Gateway, busy: socket.socket) -> None:
    with busy:
        port = busy.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"Port {port} .* PORTSIDE_GRPC_PORT"):
            await opened(Settings(grpc_port=port), gateway)


async def test_two_platforms_never_share_a_port(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        address = await open_grpc_port(Settings(grpc_port=0), gateway, asyncio.Event(), stack)
        assert address is not None
        with pytest.raises(CommandFailed):
            await opened(Settings(grpc_port=int(address.rpartition(":")[2])), gateway)
