"""What the node compares every 100 ms: the placements that want something, the replicas there are, how others ended.

Columns only: a placement's `spec` may be large and is read when a replica is started, not ten times a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, exists, or_, select

from core.clock import Micros
from state.database import Session, WriteSession
from state.installation import Lease, Process
from state.placements import FINAL
from state.tables import History, Placement, Replica

# Named and not "all but the final ones", so that the index on the status answers however many replicas have ended.
ALIVE = ("starting", "ready", "unready", "stopping")
NODE = "node"  # the lease's name
ENDS_READ = 40  # the longest chain of failures that changes a decision is far shorter


@dataclass(frozen=True, slots=True)
class WantedService:
    """A placement without its spec; two of them are equal when the node would do the same."""

    service_id: str
    generation: int
    revision_id: str
    replicas: int
    fresh_since: Micros
    replacing: str | None = None


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """What a decision needs of a replica. `was_ready` is told of ended ones: it has answered once."""

    id: str
    service_id: str
    revision_id: str
    generation: int
    status: str
    reason: str | None
    created_at: Micros
    ended_at: Micros | None
    pid: int | None
    was_ready: bool = False


@dataclass(frozen=True, slots=True)
class PlacedService:
    """What is wanted of a service and its replicas that have not ended, oldest first."""

    wanted: WantedService
    replicas: tuple[ReplicaFacts, ...]


REPLICA_COLUMNS = (
    Replica.id,
    Replica.service_id,
    Replica.revision_id,
    Replica.generation,
    Replica.status,
    Replica.reason,
    Replica.created_at,
    Replica.ended_at,
    Replica.pid,
)
PLACEMENT_COLUMNS = (
    Placement.service_id,
    Placement.generation,
    Placement.revision_id,
    Placement.replicas,
    Placement.fresh_since,
    Placement.replacing,
)


async def placed_services(session: Session) -> list[PlacedService]:
    """Every service that wants replicas or still has some."""
    of_service: dict[str, list[ReplicaFacts]] = {}
    for row in await session.execute(_living()):
        of_service.setdefault(row.service_id, []).append(_facts(row))
    wishes = select(*PLACEMENT_COLUMNS).where(or_(Placement.replicas > 0, Placement.service_id.in_(list(of_service))))
    found = [WantedService(*row) for row in await session.execute(wishes)]
    unplaced = of_service.keys() - {wanted.service_id for wanted in found}
    found += [WantedService(service_id, 0, "", 0, 0) for service_id in sorted(unplaced)]
    return [PlacedService(wanted, tuple(of_service.get(wanted.service_id, ()))) for wanted in found]


@cache
def _living() -> Select[*tuple[Any, ...]]:
    return select(*REPLICA_COLUMNS).where(Replica.status.in_(ALIVE)).order_by(Replica.created_at, Replica.id)


async def node_address(session: Session) -> str | None:
    """Where the process is reached that was elected as the node last; nothing if it does not say."""
    query = select(Process.address).join(Lease, Lease.owner == Process.id).where(Lease.name == NODE)
    return await session.scalar(query)


async def recent_ends(session: Session, wanted: WantedService) -> Sequence[ReplicaFacts]:
    """The last replicas of this generation and revision that have ended, newest first."""
    answered = exists().where(History.resource_id == Replica.id, History.to_status == "ready")
    query = (
        select(*REPLICA_COLUMNS, answered)
        .where(
            Replica.service_id == wanted.service_id,
            Replica.status.in_(FINAL),
            Replica.generation == wanted.generation,
            Replica.revision_id == wanted.revision_id,
        )
        .order_by(Replica.created_at.desc(), Replica.id.desc())
        .limit(ENDS_READ)
    )
    return [_facts(row) for row in await session.execute(query)]


async def still_wanted(session: WriteSession, wanted: WantedService) -> bool:
    """Whether the wish that a decision was made for still stands; it cannot change until this transaction ends."""
    query = select(*PLACEMENT_COLUMNS).where(Placement.service_id == wanted.service_id).with_for_update()
    row = (await session.execute(query)).one_or_none()
    return wanted.replicas == 0 if row is None else WantedService(*row) == wanted


def _facts(row: Row[*tuple[object, ...]]) -> ReplicaFacts:
    return ReplicaFacts(*row)  # type: ignore[arg-type]  # the columns stand in the order of the fields
