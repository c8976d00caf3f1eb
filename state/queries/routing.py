"""What gateways route by: every service with its status and the addresses of its ready replicas."""

from dataclasses import dataclass
from functools import cache

from sqlalchemy import Select, func, select

from state.database import Session
from state.installation import Counter
from state.tables import Replica, Revision, Service, Version


@dataclass(frozen=True, slots=True)
class RoutedService:
    """One service as a gateway sees it; `replicas` maps replica ids to addresses, `port` is its own, if any.

    `version` is the number of the version that is live, or wished where none was yet; empty where neither is.
    """

    id: str
    tenant_id: str
    name: str
    status: str
    replicas: tuple[tuple[str, str], ...]
    port: int | None = None
    version: str = ""


async def routing_version(session: Session) -> int:
    """The integer that every commit raises which changes what may be routed to."""
    return (await session.scalars(_routing_version())).one()


@cache
def _routing_version() -> Select[int]:
    return select(Counter.value).where(Counter.name == "routing_version")


async def routed_services(session: Session) -> list[RoutedService]:
    """All services that are not deleted, with their ready replicas."""
    ready = select(Replica.service_id, Replica.id, Replica.address).where(Replica.status == "ready")
    addresses: dict[str, list[tuple[str, str]]] = {}
    for service_id, replica_id, address in await session.execute(ready):
        addresses.setdefault(service_id, []).append((replica_id, address or ""))
    live = func.coalesce(Service.live_revision_id, Service.revision_id)
    services = (
        select(Service.id, Service.tenant_id, Service.name, Service.status, Service.port, Version.number)
        .outerjoin(Revision, Revision.id == live)
        .outerjoin(Version, Version.id == Revision.version_id)
        .where(Service.status != "deleted")
    )
    return [
        RoutedService(id, tenant, name, status, tuple(addresses.get(id, ())), port, str(number or ""))
        for id, tenant, name, status, port, number in await session.execute(services)
    ]
