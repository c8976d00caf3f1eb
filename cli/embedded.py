"""The embedded platform: API, gateway, worker, caretakers and node on one event loop, over SQLite and a folder."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from api.app import build_app
from api.dependencies import Context, ReadLogs, compose
from api.gateway.connection import ConnectionPool
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from cli.failure import CommandFailed, Exit
from core.secrets import Vault, load_key, read_key
from core.settings import Settings
from state.database import Database, open_database
from state.migrate import migrate
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from storage.open import open_store
from workers.boot import build
from workers.node.supervisor import Node
from workers.registry import handlers
from workers.targets.node import NodeTarget

CACHE_BYTES = 20 * 1024**3
CONNECTIONS_MAX_IDLE = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Embedded:
    """The composed platform: what the HTTP server serves, and the API's context."""

    app: Gateway
    context: Context


@dataclasses.dataclass(frozen=True, slots=True)
class Backends:
    """Where this platform keeps what it must not forget."""

    database: Database
    store: ArtifactStore
    cache: ArtifactCache
    vault: Vault


async def start_embedded(settings: Settings, version: str, stop: asyncio.Event, stack: AsyncExitStack) -> Embedded:
    """Start every part, in the order in which they need each other; `stack` ends them in the reverse order.

    The caller holds the data folder's lock, which proves that the last holder is dead. What follows a log ends at
    `stop`. Raises `CommandFailed` for settings that cannot be, and what the parts raise.
    """
    backends = await _open_backends(settings, stack)
    target = NodeTarget(backends.database, settings)
    await _start_work(settings, backends, target, stack)
    pool = ConnectionPool(CONNECTIONS_MAX_IDLE)
    stack.callback(pool.close)
    table = RoutingTable(backends.database, signalled=True, on_change=pool.forget)
    await table.start()
    stack.push_async_callback(table.stop)
    context = dataclasses.replace(
        compose(settings, backends.database, backends.store, backends.vault),
        read_logs=_log_reader(target, stop),
        is_routing_ready=lambda: table.is_loaded,
    )
    await context.start()
    stack.push_async_callback(context.close)

    def tenant_of(scope: Mapping[str, Any]) -> str:
        return context.authenticator.authenticate(scope["headers"]).tenant_id

    return Embedded(Gateway(build_app(context), table, pool, tenant_of, settings.max_predict_bytes, version), context)


async def _open_backends(settings: Settings, stack: AsyncExitStack) -> Backends:
    vault = _open_vault(settings)
    try:
        database = open_database(settings.database)
        store = open_store(settings.artifacts)
    except ValueError as error:  # a URL that cannot be: the message names it
        raise CommandFailed(str(error), exit_status=Exit.USAGE) from error
    stack.push_async_callback(database.close)
    stack.push_async_callback(store.close)
    await migrate(database, vault)
    await store.sweep_partial(timedelta(0))
    cache = ArtifactCache(store, settings.data / "cache", max_bytes=CACHE_BYTES)
    stack.push_async_callback(cache.close)
    return Backends(database, store, cache, vault)


def _open_vault(settings: Settings) -> Vault:
    """The vault with the key from the settings, or from the file that the first start makes."""
    where = "PORTSIDE_SECRET_KEY" if settings.secret_key is not None else str(settings.data / "secret.key")
    try:
        if settings.secret_key is not None:
            return Vault(read_key(settings.secret_key))
        return Vault(load_key(settings.data / "secret.key"))
    except ValueError as error:
        raise CommandFailed(f"{where} is no key of 32 bytes in base64 ({error}).", exit_status=Exit.USAGE) from error


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
