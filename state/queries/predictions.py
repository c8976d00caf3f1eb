"""Predictions: what the worker needs to send one to a replica."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from sqlalchemy import and_, select

from state.compiled import Query, among, compiled, listed
from state.direct import DirectSession
from state.tables import Replica, Service


@dataclass(frozen=True, slots=True)
class ReadyReplica:
    """A replica that answers, and where."""

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class Destination:
    """A service as a waiting prediction sees it: its status and its ready replicas."""

    name: str
    status: str
    replicas: tuple[ReadyReplica, ...]


async def destinations(session: DirectSession, service_ids: Collection[str]) -> dict[str, Destination]:
    """Where predictions of these services can be sent now, by service; a deleted one has the status `deleted`."""
    rows = await session.fetch(_ready(session.dialect), ids=listed(service_ids, session.dialect))
    found: dict[str, Destination] = {id: Destination(id, "deleted", ()) for id in service_ids}
    for service_id, name, status, replica_id, address in rows:
        before = found[str(service_id)].replicas
        here = (ReadyReplica(str(replica_id), str(address)),) if address else ()
        found[str(service_id)] = Destination(str(name), str(status), (*before, *here))
    return found


@cache
def _ready(dialect: str) -> Query:
    ready = and_(Replica.service_id == Service.id, Replica.status == "ready")
    query = select(Service.id, Service.name, Service.status, Replica.id, Replica.address).outerjoin(Replica, ready)
    return compiled(query.where(among(Service.__table__.c.id, "ids", dialect)), dialect)
