"""The embedded platform: API, gateway, worker, caretakers and node on one event loop, over SQLite and a folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

from api.dependencies import ReadLogs
from cli.backends import Backends, open_backends
from cli.front import Front, start_front
from cli.metrics import serve_metrics
from core.settings import Settings
from state.migrate import migrate
from state.migrations.newest import newest_schema
from workers.boot import build, owner_name
from workers.node.logs import until
from workers.node.node import Node
from workers.registry import handlers
from workers.targets.node import NodeTarget


async def start_embedded(
    settings: Settings, version: str, stop: asyncio.Event, stack: AsyncExitStack, owner: str | None = None
) -> Front:
    """Start every part, in the order in which they need each other; `stack` ends them in the reverse order.

    The caller holds the data folder's lock, which proves that the last holder is dead. What follows a log ends at
    `stop`. Raises `CommandFailed` for settings that cannot be, and what the parts raise.
    """
    backends = open_backends(settings, stack)
    await migrate(backends.database, backends.vault)
    backends.metrics.about("embedded", version, newest_schema())
    await backends.store.sweep_partial(timedelta(0))
    target = NodeTarget(backends.database, settings)
    await _start_work(settings, backends, target, stack, owner or owner_name())
    read_logs = _log_reader(target, stop)
    await serve_metrics(backends.metrics, settings, stack)
    return await start_front(settings, backends, stack, read_logs=read_logs, signalled=True, version=version)


async def _start_work(
    settings: Settings, backends: Backends, target: NodeTarget, stack: AsyncExitStack, owner: str
) -> None:
    """The worker, after the node that it gives wishes to; it is the first to stop of the two."""
    database, store, cache, vault = backends.database, backends.store, backends.cache, backends.vault
    registry = backends.metrics.registry
    host = await build(
        settings, database, store, cache, target, vault, handlers=handlers(), alone=True, registry=registry, owner=owner
    )
    node = Node(settings, database, store, cache, vault, owner=owner, registry=registry)
    await node.start()
    stack.push_async_callback(node.stop, settings.drain_s)
    await host.start()
    stack.push_async_callback(host.stop, settings.drain_s)


def _log_reader(target: NodeTarget, stop: asyncio.Event) -> ReadLogs:
    """Reads replicas' logs, and lets go of who follows one when the platform stops: nobody waits for that."""

    async def read(replica_id: str, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        pieces = target.logs(replica_id, follow=follow, tail_bytes=tail_bytes)
        async for piece in until(pieces, stop.wait()):
            yield piece

    return read
