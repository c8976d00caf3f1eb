"""The short way: small predictions of services that are ready are taken before ASGI, as the connection reads them.

Admission costs no task, no timer and no regular expression. What is not clear at once is not admitted: the long way,
`Gateway` over ASGI, answers it, and with it every refusal.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from api.gateway.connection import NOT_IN_A_TARGET, Header, ReplicaConnection
from api.gateway.forward import BODY_IDLE_S, PASSED_ON, SMALL_BYTES
from api.gateway.heads import DEFAULT_TIMEOUT_S, request_id_of, timeout_s
from api.gateway.metrics import Tallies
from api.gateway.paths import Asked, asked_of
from api.gateway.relay import LEFT, Client, Relay
from api.gateway.split import CLOSED, Gateway
from api.gateway.table import Backend, RoutingTable
from core.errors import PlatformError
from core.logs import log_context
from state.queries.routing import RoutedService

log = logging.getLogger(__name__)

# Their requests need more than to be passed on: other framing, an interim answer, an answer that a page may read.
ELSEWHERE: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"origin", b"trailer"})
SWEEP_S: Final = 0.02  # how late a deadline may be noticed
MOST_KNOWN: Final = 1024  # request targets whose meaning is remembered
LONGEST_KNOWN: Final = 512


class ShortWay:
    """Admits requests and looks after those that are on it."""

    def __init__(self, gateway: Gateway, is_leaving: Callable[[], bool], port: int | None = None) -> None:
        """`is_leaving`: from then on answers differ, and the long way knows how. `port` is one service's own."""
        self._gateway, self._is_leaving, self._port = gateway, is_leaving, port
        self.table: RoutingTable = gateway.table
        self.pool = gateway.pool
        self.tallies: Tallies = gateway.tallies
        self._turns = gateway.holding.turns
        self._max_bytes = min(SMALL_BYTES, gateway.max_bytes)
        self._known: dict[bytes, Asked | None] = {}
        self._under_way: set[Relay] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    def admit(self, url: bytes, headers: list[Header], client: Client) -> Relay | None:
        """The request if it may go this way. It was sent by POST, by HTTP/1.1, and its head is complete."""
        target = url if self._port is None else self._of_all(url, self._port)
        asked = self._known[target] if target in self._known else self._understand(target)
        if asked is None or self._is_leaving():
            return None
        found = dict(headers)
        if len(found) != len(headers) or not ELSEWHERE.isdisjoint(found) or not self._fits(found):
            return None
        try:
            tenant_id = self._gateway.tenant_of({"headers": headers})
            limit_s = timeout_s(headers) if b"portside-timeout" in found else DEFAULT_TIMEOUT_S
        except PlatformError:
            return None
        route = self.table.route(tenant_id, asked.service)
        if route is None or not route.backends or route.service.status in CLOSED:
            return None
        if self._port is not None and self.table.service_at(self._port) is not route.service:
            return None
        passed = {name: found[name] for name in PASSED_ON if name in found}
        passed[b"x-request-id"] = request_id_of(((b"x-request-id", passed.get(b"x-request-id", b"")),))
        now = asyncio.get_running_loop().time()
        relay = Relay(self, client, asked, route.service, (url, headers), target, passed, limit_s, now)
        self._look_after(relay)
        return relay

    # -- what a relay asks

    def pick(self, service: RoutedService) -> Backend | None:
        """The best backend now, if there is one and the service has a turn."""
        route = self.table.route(service.tenant_id, service.name)
        if route is None or route.service.status in CLOSED:
            return None
        return route.pick()

    def take(self, service: RoutedService, backend: Backend) -> ReplicaConnection | None:
        """An idle connection and a turn; `give` both back. Without them the long way has the backend's turn."""
        connection = None
        if self._turns.take_now(service.id):
            connection = self.pool.take_idle(backend.address)
            if connection is None:
                self._turns.give(service.id)
        if connection is None and (route := self.table.route(service.tenant_id, service.name)) is not None:
            route.give_back()
        return connection

    def give(self, service: RoutedService, backend: Backend, connection: ReplicaConnection, *, is_whole: bool) -> None:
        """Take back what `take` gave."""
        self._turns.give(service.id)
        if is_whole:
            self.pool.give(backend.address, connection)
        else:
            connection.close()

    def refused(self, backend: Backend) -> None:
        """Who listens there is another one."""
        self.table.refused(backend)

    def gone_stale(self, backend: Backend) -> None:
        """The replica has closed a connection that was idle; the others are as old."""
        self.pool.forget_address(backend.address)

    def ended(self, relay: Relay, status: int, replica_id: str | None) -> None:
        """Count it."""
        self._under_way.discard(relay)
        service = relay.service
        took_s = self.tallies.ended(service.name, status, relay.began)
        self._gateway.traffic.count(service.tenant_id, service.id, replica_id, status, took_s)
        if status == LEFT:
            with log_context(request_id=relay.request_id.decode(), resource_type="service", resource_name=service.name):
                log.info("POST %s was broken off: the client left", relay.url.decode("latin-1"))

    def forget(self, relay: Relay) -> None:
        """It goes the long way, which counts it."""
        self._under_way.discard(relay)
        self.tallies.in_flight -= 1

    # -- our own

    def _understand(self, target: bytes) -> Asked | None:
        """What a request target means, which is the same each time."""
        asked = _prediction_at(target)
        if len(target) <= LONGEST_KNOWN:  # else strangers could fill the memory
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[target] = asked
        return asked

    def _of_all(self, url: bytes, port: int) -> bytes:
        """What is asked on a service's own port, as it is asked where all services are; else nothing."""
        owner = self.table.service_at(port)
        if owner is not None and url.startswith((b"/predict", b"/parts/")):
            return b"/api/v1/services/" + owner.name.encode() + url
        return url if url.startswith((b"/v1/models/", b"/v2/models/")) else b""

    def _fits(self, found: dict[bytes, bytes]) -> bool:
        length = found.get(b"content-length", b"")
        return length.isdigit() and len(length) < 10 and int(length) <= self._max_bytes

    def _look_after(self, relay: Relay) -> None:
        self._under_way.add(relay)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """One timer for all deadlines: most never come, and each timer of its own would cost as much as a header."""
        loop = asyncio.get_running_loop()
        now, self._sweeping = loop.time(), None
        if self._under_way:
            self._sweeping = loop.call_later(SWEEP_S, self._sweep)
        for relay in tuple(self._under_way):
            if now > relay.deadline or (relay.more_body and now - relay.seen_at > BODY_IDLE_S):
                relay.expire(now, BODY_IDLE_S)


def _prediction_at(target: bytes) -> Asked | None:
    if not target.startswith(b"/") or not target.isascii() or NOT_IN_A_TARGET.search(target):
        return None
    path, mark, query = target.partition(b"?")
    if b"#" in target or path.endswith(b"/") or (mark and not query):
        return None
    asked = asked_of(unquote(path.decode("ascii")))
    return asked if asked is not None and asked.is_prediction else None
