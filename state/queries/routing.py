"""What gateways route by: every service with its status and the addresses of its ready replicas."""

from dataclasses import dataclass

from sqlalchemy import select

from state.database import Session
from state.installation import Counter
from state.tables import Replica, Service


@dataclass(frozen=True, slots=True)
class RoutedService:
    """One service as a gateway sees it; `replicas` maps replica ids to addresses, `port` is its own, if any."""

    id: str
    tenant_id: str
    name: str
    status: str
    replicas: tuple[tuple[str, str], ...]
    port: int | None = None


async def routing_version(session: Session) -> int:
    """The integer that every commit raises which changes what may be routed to."""
    return (await session.scalars(select(Counter.value).where(Counter.name == "routing_version"))).one()


async def routed_services(session: Session) -> list[RoutedService]:
    """All services that are not deleted, with their ready replicas."""
    ready = select(Replica.service_id, Replica.id, Replica.address).where(Replica.status == "ready")
    addresses: dict[str, list[tuple[str, str]]] = {}
    for service_id, replica_id, address in await session.execute(ready):
        addresses.setdefault(service_id, []).append((replica_id, address or ""))
    services = select(Service.id, Service.tenant_id, Service.name, Service.status, Service.port)
    return [
        RoutedService(id, tenant, name, status, tuple(addresses.get(id, ())), port)
        for id, tenant, name, status, port in await session.execute(services.where(Service.status != "deleted"))
    ]
