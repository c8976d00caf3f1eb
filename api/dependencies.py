"""What routes are given: the `Context` that `cli` composes, who asks, and a read transaction. There are no globals."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from api.auth import Authenticator, is_loopback
from api.feed import EventFeed
from api.flights import Flights
from api.switchboard import Switchboard
from api.waiters import WaiterHub
from core.errors import Forbidden
from core.secrets import Vault
from core.settings import Settings
from state.database import Database, ReadSession
from state.migrate import DEFAULT_TENANT
from state.operations import Who
from storage.base import ArtifactStore

# A log is read where the replica lives; `cli` gives the function: (replica id, follow, tail in bytes) → pieces. The
# first one comes at once, and may be empty.
ReadLogs = Callable[[str, bool, int], AsyncIterator[bytes]]
# What is not ready, in a sentence, or None.
Check = Callable[[], Awaitable[str | None]]


async def no_logs(replica_id: str, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
    """For processes that have no way to a log: an empty one."""
    for piece in tuple[bytes, ...]():
        yield piece


async def nothing_to_look_up() -> None:
    """For processes whose figures are all counted."""


@dataclass(frozen=True, slots=True)
class Context:
    """The outside world as the API sees it, composed once by `cli`."""

    settings: Settings
    database: Database
    store: ArtifactStore
    vault: Vault
    authenticator: Authenticator
    waiters: WaiterHub
    feed: EventFeed
    switches: Switchboard
    read_logs: ReadLogs = no_logs
    is_routing_ready: Callable[[], bool] = lambda: True
    is_leaving: Callable[[], bool] = lambda: False  # asked to stop: requests are answered, more should go elsewhere
    port_fault: Callable[[int], str | None] = lambda port: None  # why a service's own port is not open here
    checks: Mapping[str, Check] = field(default_factory=dict)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    refresh_metrics: Callable[[], Awaitable[None]] = nothing_to_look_up
    started_at: float = field(default_factory=time.time)
    # How long we wait for the next piece of a body; a client that stalls is told so before it takes us for dead.
    body_idle_s: float = 4.5
    flights: Flights = field(default_factory=Flights)
    # Idempotency slots whose first request still streams its body (API.md section 1).
    receiving: set[tuple[str, ...]] = field(default_factory=set)

    async def start(self) -> None:
        """Read the tokens and the switches and keep them fresh; once, on the loop, before the first request."""
        await self.authenticator.start()
        await self.switches.start()

    async def let_go(self) -> None:
        """Answer everybody who waits or follows: this process ends."""
        await self.waiters.close()
        await self.feed.close()

    async def close(self) -> None:
        """End the loops of `start` and let everybody go."""
        await self.let_go()
        await self.switches.close()
        await self.authenticator.close()


def compose(settings: Settings, database: Database, store: ArtifactStore, vault: Vault) -> Context:
    """A context with its own authenticator and waiter hub; use `dataclasses.replace` for the functions of a process."""
    authenticator = Authenticator(database, admits_tokenless=is_loopback(settings.host) and not settings.require_token)
    hub, feed = WaiterHub(database), EventFeed(database)
    return Context(settings, database, store, vault, authenticator, hub, feed, Switchboard(database))


def context_of(request: Request) -> Context:
    """The context of the app that serves this request."""
    context: Context = request.app.state.context
    return context


# FastAPI calls what is no coroutine in a thread: two changes of thread for each of these in each request.
async def _context(request: Request) -> Context:
    """The context of the app that serves this request."""
    return context_of(request)


async def who_asks(request: Request) -> Who:
    """Who asks; `api.routing.PlatformRoute` has authenticated the request before anything of it was read."""
    who: Who = request.state.who
    return who


async def read_session(request: Request) -> AsyncIterator[ReadSession]:
    """A read transaction that ends before the answer is sent (`scope="function"`)."""
    async with context_of(request).database.read() as session:
        yield session


def is_operator(who: Who) -> bool:
    """Whether the user is an admin of the tenant that the installation itself belongs to."""
    return who.role == "admin" and who.tenant_id == DEFAULT_TENANT


def require_operator(who: Who) -> None:
    """Raises `Forbidden` unless the user is an operator of the platform."""
    if not is_operator(who):
        raise Forbidden(f"this is for the operator of the platform: an admin of its default tenant, not '{who.actor}'")


def require_admin(who: Who) -> None:
    """Raises `Forbidden` unless the user is an admin."""
    if who.role != "admin":
        raise Forbidden(f"this needs the role admin; '{who.actor}' has the role {who.role}")


ContextOf = Annotated[Context, Depends(_context)]
WhoAsks = Annotated[Who, Depends(who_asks)]
Reading = Annotated[ReadSession, Depends(read_session, scope="function")]
