"""The embedded platform: API, gateway, worker, caretakers and node on one event loop, over SQLite and a folder."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from starlette.types import ASGIApp, Scope

from api.app import build_app
from api.dependencies import Context, compose
from api.gateway.connection import ConnectionPool
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from core.secrets import Vault, load_key, read_key
from core.settings import Settings
from state.database import open_database
from state.migrate import migrate
from storage.cache import ArtifactCache
from storage.open import open_store
from workers.boot import build
from workers.node.supervisor import Node
from workers.registry import HANDLERS
from workers.resources import Resources
from workers.targets.node import NodeTarget

CACHE_BYTES = 20 * 1024**3
CONNECTIONS_MAX_IDLE = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Embedded:
    """The composed platform: what the HTTP server serves, and the API's context."""

    app: ASGIApp
    context: Context


def open_vault(settings: Settings) -> Vault:
    """The vault with the key from the settings, or from the file that the first start makes."""
    if settings.secret_key is not None:
        return Vault(read_key(settings.secret_key))
    return Vault(load_key(settings.data / "secret.key"))


async def start_embedded(settings: Settings, version: str, stack: AsyncExitStack) -> Embedded:
    """Start every part, in the order in which they need each other; `stack` ends them in the reverse order.

    The caller holds the data folder's lock, which proves that the last holder is dead.
    """
    vault = open_vault(settings)
    database = open_database(settings.database)
    stack.push_async_callback(database.close)
    await migrate(database, vault)
    store = open_store(settings.artifacts)
    stack.push_async_callback(store.close)
    await store.sweep_partial(timedelta(0))
    cache = ArtifactCache(store, Path(settings.data) / "cache", max_bytes=CACHE_BYTES)
    stack.push_async_callback(cache.close)

    target = NodeTarget(database, settings)
    pool = ConnectionPool(CONNECTIONS_MAX_IDLE)
    stack.callback(pool.close)
    table = RoutingTable(database, signalled=True, on_change=pool.forget)

    def read_logs(replica_id: str, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        return target.logs(replica_id, follow=follow, tail_bytes=tail_bytes)

    context = dataclasses.replace(
        compose(settings, database, store, vault), read_logs=read_logs, is_routing_ready=lambda: table.is_loaded
    )
    node = Node(settings, database, cache, vault)
    resources = Resources(settings, database, store, cache, target, vault)
    host = await build(resources, handlers=HANDLERS, alone=True)
    await node.start()
    stack.push_async_callback(node.stop, settings.drain_s)
    await host.start()
    stack.push_async_callback(host.stop, settings.drain_s)
    database.subscribe(
        lambda signals: [host.nudge(signal.name, signal.id) for signal in signals if signal.kind == "work"] and None
    )
    await table.start()
    stack.push_async_callback(table.stop)
    await context.start()
    stack.push_async_callback(context.close)

    def tenant_of(scope: Scope) -> str:
        return context.authenticator.authenticate(scope["headers"]).tenant_id

    gateway = Gateway(build_app(context), table, pool, tenant_of, settings.max_predict_bytes, version)
    return Embedded(gateway, context)
