"""Predictions: what the worker needs to send one to a replica."""

from dataclasses import dataclass

from sqlalchemy import select

from state.database import Session
from state.tables import Replica, Service


@dataclass(frozen=True, slots=True)
class Destination:
    """A service as a waiting prediction sees it: its status and the addresses of its ready replicas."""

    name: str
    status: str
    addresses: tuple[str, ...]


async def destination(session: Session, service_id: str) -> Destination:
    """Where a prediction of this service can be sent now; a deleted service has status `deleted`."""
    service = await session.get(Service, service_id)
    if service is None:
        return Destination(service_id, "deleted", ())
    ready = select(Replica.address).where(Replica.service_id == service_id, Replica.status == "ready")
    addresses = tuple(address for address in await session.scalars(ready) if address)
    return Destination(service.name, service.status, addresses)
