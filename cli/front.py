"""The front of a platform: the API and the gateway before it, over backends that are open."""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

from api.app import build_app
from api.cors import CrossOrigin
from api.dependencies import Check, Context, ReadLogs, compose
from api.gateway.connection import ConnectionPool
from api.gateway.holding import Holding
from api.gateway.metrics import GatewayMetrics
from api.gateway.short import ShortWay
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from api.gateway.turns import Turns
from cli.backends import Backends
from cli.service_ports import ServicePorts
from core.settings import Settings
from state.sampling import Sampler

CONNECTIONS_MAX_IDLE = 64
NO_CHECKS: Mapping[str, Check] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, slots=True)
class Front:
    """What the HTTP server serves, the gateway in it, the way round it for small predictions, and the API's context."""

    app: Gateway | CrossOrigin
    short: ShortWay
    context: Context
    gateway: Gateway


async def start_front(
    settings: Settings,
    backends: Backends,
    stack: AsyncExitStack,
    *,
    read_logs: ReadLogs,
    signalled: bool,
    version: str,
    checks: Mapping[str, Check] = NO_CHECKS,
    is_leaving: Callable[[], bool] = lambda: False,
) -> Front:
    """Load the routing table and the tokens; `stack` ends what this starts.

    `signalled` says that whoever changes routes is this very process.
    """
    pool = ConnectionPool(CONNECTIONS_MAX_IDLE)
    stack.callback(pool.close)
    table = await _routing(backends, pool, stack, signalled=signalled)
    faults: dict[int, str] = {}
    context = dataclasses.replace(
        compose(settings, backends.database, backends.store, backends.vault),
        read_logs=read_logs,
        is_routing_ready=lambda: table.is_loaded,
        registry=backends.metrics.registry,
        refresh_metrics=backends.metrics.refresh,
        checks=checks,
        is_leaving=is_leaving,
        port_fault=faults.get,
    )
    await context.start()
    stack.push_async_callback(context.close)

    def tenant_of(scope: Mapping[str, Any]) -> str:
        return context.authenticator.authenticate(scope["headers"]).tenant_id

    backends.metrics.watch_lanes(backends.database)
    holding = Holding(table, settings.hold_s, turns=Turns(settings.service_concurrency))
    gateway = Gateway(build_app(context), holding, pool, tenant_of, settings.max_predict_bytes, version)
    GatewayMetrics(context.registry).attach(gateway.tallies, table, pool)
    _sample(gateway, backends, settings, stack)
    await _open_ports(gateway, settings, faults, is_leaving, stack)
    app = CrossOrigin(gateway, settings.cors_origins) if settings.cors_origins else gateway
    return Front(app, ShortWay(gateway, is_leaving), context, gateway)


async def _routing(backends: Backends, pool: ConnectionPool, stack: AsyncExitStack, *, signalled: bool) -> RoutingTable:
    """Where predictions go, kept up to date until `stack` ends it."""
    token_of = backends.vault.replica_token
    table = RoutingTable(backends.database, signalled=signalled, on_change=pool.forget, token_of=token_of)
    await table.start()
    stack.push_async_callback(table.stop)
    return table


def _sample(gateway: Gateway, backends: Backends, settings: Settings, stack: AsyncExitStack) -> None:
    """Write what the gateway counts, every few seconds and once more at the end."""
    sampler = Sampler(backends.database, gateway.traffic.take, settings.sample_s)
    sampler.start()
    stack.push_async_callback(sampler.finish)


async def _open_ports(
    gateway: Gateway,
    settings: Settings,
    faults: dict[int, str],
    is_leaving: Callable[[], bool],
    stack: AsyncExitStack,
) -> None:
    """Listen on services' own ports as well, until `stack` ends it."""
    service_ports = ServicePorts(gateway, settings, faults, is_leaving)
    await service_ports.start()
    stack.push_async_callback(service_ports.stop)
