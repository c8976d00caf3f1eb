"""The port where the gateway answers gRPC, beside HTTP's; it closes with that one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from api.auth import is_loopback
from api.gateway.open import open_grpc
from api.gateway.split import Gateway
from cli.address import reachable
from cli.failure import CommandFailed
from cli.ports import listener_of
from cli.signals import say
from core.settings import Settings

Start = Callable[[str, int], Awaitable[int]]


async def open_grpc_port(
    settings: Settings,
    gateway: Gateway,
    stop: asyncio.Event,
    stack: AsyncExitStack,
    *,
    after: int | None = None,
    is_leaving: Callable[[], bool] = lambda: False,
) -> str | None:
    """Answer gRPC until `stop`; the address, or nothing where none is wanted. `stack` waits for what is still running.

    Where the settings name no port, it is the one `after` this, or else a free one. Raises `CommandFailed`.
    """
    wanted = settings.grpc_port
    if wanted == "off" or (wanted is None and after is None):
        return None
    host = settings.grpc_host or settings.host
    server = open_grpc(gateway, admits_tokenless=is_loopback(host), is_leaving=is_leaving)
    if wanted is not None or after is None:
        port = await _listen(server.start, host, wanted or 0)
    else:
        port = await _listen_near(server.start, host, after + 1 if settings.port else 0)

    async def end() -> None:
        await stop.wait()
        await server.stop(settings.drain_s)

    ending = asyncio.create_task(end(), name="grpc")

    async def ended() -> None:
        stop.set()
        await ending

    stack.push_async_callback(ended)
    return f"{reachable(host)}:{port}"


async def _listen(start: Start, host: str, port: int) -> int:
    try:
        return await start(host, port)
    except OSError as error:
        message = f"Port {port} of {host} cannot be listened on for gRPC{_holder(port)}: set PORTSIDE_GRPC_PORT."
        raise CommandFailed(message) from error


async def _listen_near(start: Start, host: str, port: int) -> int:
    try:
        return await start(host, port)
    except OSError:
        found = await _listen(start, host, 0)
        say(f"Port {port} is in use{_holder(port)}: gRPC is answered at {found}; PORTSIDE_GRPC_PORT chooses another.")
        return found


def _holder(port: int) -> str:
    holder = listener_of(port)
    return f" by {holder}" if holder else ""
