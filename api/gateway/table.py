"""The routing table: read from the database when `routing_version` rises, kept when the database is away."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from api.gateway.connection import Header
from api.gateway.outliers import Record
from core.errors import DatabaseBusy
from core.outages import Outage
from state.database import Database
from state.queries.routing import RoutedService, routed_services, routing_version
from state.signals import Signal

log = logging.getLogger(__name__)

POLL_S = 0.1
POLL_WITH_SIGNALS_S = 1.0  # embedded: every change is signalled in this process, the look is only a safety net
DROPPED_S = 1.0  # also where the database is away and cannot say whether a replica that was dropped is there again
HOST = (b"host", b"replica")


@dataclass(slots=True)
class Backend:
    """One replica as a balancer counts it; `own_headers` are what each request to it begins with."""

    id: str
    address: str
    own_headers: tuple[Header, ...] = (HOST,)
    outstanding: int = 0
    dropped_until: float = 0.0
    refusals: int = 0  # connections that could not be opened, since the last answer
    record: Record = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is known of it yet."""
        self.record = Record(self.id)

    @property
    def dropped(self) -> bool:
        """Whether a connection failed a moment ago, and nobody has looked since."""
        return self.dropped_until > 0 and self.dropped_until > time.monotonic()


@dataclass(slots=True)
class Route:
    """One service: its status and its backends."""

    service: RoutedService
    backends: list[Backend] = field(default_factory=list)
    _next: int = 0

    def pick(self) -> Backend | None:
        """The backend with the least outstanding requests, in turn where several have, or nothing.

        One that fails again and again is left out as long as there is another one.
        """
        if len(self.backends) == 1:
            return None if self.backends[0].dropped else self.backends[0]
        usable = [backend for backend in self.backends if not backend.dropped]
        well = [backend for backend in usable if not backend.record.is_out] or usable
        self._next = (self._next + 1) % max(1, len(well))
        return min(well[self._next :] + well[: self._next], key=lambda backend: backend.outstanding, default=None)

    def give_back(self) -> None:
        """Who picked has not asked: the next who picks has this turn. Else every second backend would be passed over by
        those who look whether they can ask at once."""
        self._next -= 1


class RoutingTable:
    """Routes by tenant and service name; reads never wait."""

    def __init__(
        self,
        database: Database,
        *,
        signalled: bool,
        on_change: Callable[[set[str]], None],
        token_of: Callable[[str], str],
    ) -> None:
        """`on_change` is told the addresses that are routed to after each change, `token_of` is asked for the token of
        a replica that is reached over TCP."""
        self._database, self._on_change, self._token_of = database, on_change, token_of
        self._poll_s = POLL_WITH_SIGNALS_S if signalled else POLL_S
        self._version = -1
        self._routes: dict[tuple[str, str], Route] = {}
        self._names: frozenset[str] = frozenset()
        self._ports: dict[int, RoutedService] = {}
        self._looked_at = time.monotonic()
        self._look_now = asyncio.Event()
        self._has_changed = asyncio.Event()
        self._outage = Outage(log, "the routing table stays as it is")
        self._task: asyncio.Task[None] | None = None
        database.subscribe(self._hear)

    @property
    def is_loaded(self) -> bool:
        """Whether the table was read at least once."""
        return self._version >= 0

    @property
    def age_s(self) -> float:
        """Since when the table was not compared with the database."""
        return time.monotonic() - self._looked_at

    @property
    def counts(self) -> tuple[int, int]:
        """How many services it has, and how many of their replicas are used."""
        backends = [backend for route in list(self._routes.values()) for backend in route.backends]
        return len(self._routes), sum(not (backend.dropped or backend.record.is_out) for backend in backends)

    def knows(self, name: str) -> bool:
        """Whether any tenant has a service of that name."""
        return name in self._names

    @property
    def ports(self) -> Collection[int]:
        """The ports that services have for themselves."""
        return self._ports

    def service_at(self, port: int) -> RoutedService | None:
        """The service that has this port, or nothing."""
        return self._ports.get(port)

    def route(self, tenant_id: str, name: str) -> Route | None:
        """The service of that name, or nothing."""
        return self._routes.get((tenant_id, name))

    def routes_of(self, tenant_id: str) -> list[Route]:
        """A tenant's services by their names, without those that are being deleted."""
        mine = [route for (tenant, _), route in self._routes.items() if tenant == tenant_id]
        return sorted(
            (route for route in mine if route.service.status != "deleting"), key=lambda route: route.service.name
        )

    async def changed(self, longest_s: float) -> None:
        """Wait for the next change of the table, or so long."""
        waiting_for = self._has_changed
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await waiting_for.wait()

    def wake(self) -> None:
        """Let all who wait for a change look again."""
        self._has_changed.set()
        self._has_changed = asyncio.Event()  # those who wait have the old one

    async def start(self) -> None:
        """Read the table and keep it fresh until `stop`."""
        await self._refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="routing-table")

    async def stop(self) -> None:
        """End the loop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def drop(self, backend: Backend) -> None:
        """Stop using a backend whose connection failed until the next look at the database, or for a moment."""
        backend.dropped_until = time.monotonic() + DROPPED_S
        self._version = min(self._version, 0)  # the next look reads again even if the version did not rise

    def refused(self, backend: Backend) -> None:
        """Stop using a backend that takes no connection, for a pause that grows.

        The database does not know better: after the death of a node it names the dead until the next node has begun.
        """
        if not backend.dropped:  # else many who came at once count as one
            backend.refusals += 1
            longer = 2 ** min(backend.refusals - 1, 10)
            backend.dropped_until = time.monotonic() + min(DROPPED_S, POLL_S * longer)
            self._version = min(self._version, 0)

    def _hear(self, signals: frozenset[Signal]) -> None:
        if any(signal.kind == "routing" for signal in signals):
            self._look_now.set()

    async def _keep_fresh(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            try:
                await self._refresh()
                self._outage.over()
            except DatabaseBusy as error:
                self._outage.met(error.message)
                await asyncio.sleep(self._poll_s)
            except Exception:
                log.exception("the routing table stays as it is, and is tried again")
                await asyncio.sleep(POLL_WITH_SIGNALS_S)

    async def _refresh(self) -> None:
        began = time.monotonic()
        async with self._database.read() as session:
            version = await routing_version(session)
            if version == self._version:
                self._looked_at = time.monotonic()
                return
            services = await routed_services(session)
        known = {backend.id: backend for route in self._routes.values() for backend in route.backends}
        self._routes = {(service.tenant_id, service.name): self._route(service, known, began) for service in services}
        self._names = frozenset(service.name for service in services)
        self._ports = {service.port: service for service in services if service.port is not None}
        self._version, self._looked_at = version, time.monotonic()
        self.wake()
        self._on_change({backend.address for route in self._routes.values() for backend in route.backends})

    def _route(self, service: RoutedService, known: dict[str, Backend], looked_at: float) -> Route:
        backends = []
        for replica_id, address in service.replicas:
            backend = known.get(replica_id) or Backend(replica_id, address, self._own_headers(replica_id, address))
            # What was read may be older than a connection that broke while it was read.
            if not backend.refusals and backend.dropped_until - DROPPED_S <= looked_at:
                backend.dropped_until = 0.0
            backends.append(backend)
        return Route(service, backends)

    def _own_headers(self, replica_id: str, address: str) -> tuple[Header, ...]:
        if address.startswith("unix:"):
            return (HOST,)
        return HOST, (b"authorization", f"Bearer {self._token_of(replica_id)}".encode())
