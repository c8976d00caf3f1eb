"""The embedded platform: API, gateway, worker, caretakers and node on one event loop, over SQLite and a folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

from api.dependencies import ReadLogs
from cli.backends import Backends, open_backends
from cli.front import Front, start_front
from core.settings import Settings
from state.migrate import migrate
from workers.boot import build
from workers.node.supervisor import Node
from workers.registry import handlers
from workers.targets.node import NodeTarget


async def start_embedded(settings: Settings, version: str, stop: asyncio.Event, stack: AsyncExitStack) -> Front:
    """Start every part, in the order in which they need each other; `stack` ends them in the reverse order.

    The caller holds the data folder's lock, which proves that the last holder is dead. What follows a log ends at
    `stop`. Raises `CommandFailed` for settings that cannot be, and what the parts raise.
    """
    backends = open_backends(settings, stack)
    await migrate(backends.database, backends.vault)
    await backends.store.sweep_partial(timedelta(0))
    target = NodeTarget(backends.database, settings)
    await _start_work(settings, backends, target, stack)
    read_logs = _log_reader(target, stop)
    return await start_front(settings, backends, stack, read_logs=read_logs, signalled=True, version=version)


async def _start_work(settings: Settings, backends: Backends, target: NodeTarget, stack: AsyncExitStack) -> None:
    """The worker, after the node that it gives wishes to; it is the first to stop of the two."""
    database, store, cache, vault = backends.database, backends.store, backends.cache, backends.vault
    host = await build(settings, database, store, cache, target, vault, handlers=handlers(), alone=True)
    node = Node(settings, database, cache, vault)
    await node.start()
    stack.push_async_callback(node.stop, settings.drain_s)
    await host.start()
    stack.push_async_callback(host.stop, settings.drain_s)


def _log_reader(target: NodeTarget, stop: asyncio.Event) -> ReadLogs:
    """Reads replicas' logs, and lets go of who follows one when the platform stops: nobody waits for that."""

    async def read(replica_id: str, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        pieces = target.logs(replica_id, follow=follow, tail_bytes=tail_bytes)
        ending = asyncio.create_task(stop.wait())
        try:
            while True:
                piece = asyncio.ensure_future(anext(pieces, None))
                await asyncio.wait({piece, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not piece.done():
                    piece.cancel()
                    await asyncio.gather(piece, return_exceptions=True)
                    return
                if (found := piece.result()) is None:
                    return
                yield found
        finally:
            ending.cancel()

    return read
