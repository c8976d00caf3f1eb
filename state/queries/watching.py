"""What the watcher compares: services that should answer, and how many of their live replicas do."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from state.database import Session, db_now
from state.tables import MORTAL, Model, Placement, Replica, Revision, Service

LIVE = and_(Replica.service_id == Service.id, Replica.revision_id == Service.live_revision_id)


@dataclass(frozen=True, slots=True)
class OutOfStep:
    """A service whose status does not say what its replicas do; `move` is what puts it right."""

    service_id: str
    move: str
    ready: int
    wanted: int


async def out_of_step(session: Session, service_id: str | None = None) -> list[OutOfStep]:
    """Running services with too few ready replicas of the live revision, degraded ones with enough; all, or one."""
    query = _out_of_step() if service_id is None else _out_of_step().where(Service.id == service_id)
    moves = {"running": "degrade", "degraded": "recover"}
    return [OutOfStep(id, moves[status], have, want) for id, status, have, want in await session.execute(query)]


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A service at rest for which the target was left with another wish; `serves` says what its status means."""

    service_id: str
    generation: int
    serves: bool


async def misplaced(session: Session) -> list[Misplaced]:
    """Services whose operation ended (canceled, failed by the engine) before its handler could take its wish back."""
    return [Misplaced(id, generation, serves) for id, generation, serves in await session.execute(_misplaced())]


async def expired_services(session: Session) -> list[str]:
    """The services whose time is over and that nobody deletes yet."""
    return list(await session.scalars(_expired_services()))


async def why_not_ready(session: Session, service_id: str) -> str | None:
    """What the latest live replica that is not ready says of itself."""
    query = select(Replica.id, Replica.status, Replica.message, Replica.reason).join(Service, LIVE)
    query = query.where(Service.id == service_id, Replica.status.in_(["failed", "unready", "stopped"]))
    row = (await session.execute(query.order_by(Replica.since.desc()).limit(1))).first()
    if row is None:
        return None
    id, status, message, reason = row
    return f"replica {id} is {status}: {message or reason or 'no reason known'}"


async def services_of(session: Session, replica_ids: Collection[str]) -> list[str]:
    """The services that these replicas belong to."""
    return list(await session.scalars(select(Replica.service_id).where(Replica.id.in_(replica_ids)).distinct()))


async def deleted_with(session: Session, service_ids: Collection[str]) -> list[str]:
    """The models that are being deleted with these services, as far as those are gone."""
    either = or_(Revision.id == Service.revision_id, Revision.id == Service.live_revision_id)
    query = select(Revision.model_id).join(Service, either).join(Model, Model.id == Revision.model_id)
    gone = (Service.id.in_(service_ids), Service.status == "deleted", Model.status == "deleting")
    return list(await session.scalars(query.where(*gone).distinct()))


# Asked every second, whether there is a service or not: to make one of these anew takes longer than its answer.


@cache
def _out_of_step() -> Select[*tuple[Any, ...]]:
    ready, wanted = func.count(Replica.id), func.coalesce(Service.live_replicas, Service.replicas)
    lacking = and_(Service.status == "running", ready < wanted)
    healed = and_(Service.status == "degraded", ready >= wanted)
    return (
        select(Service.id, Service.status, ready, wanted)
        .outerjoin(Replica, and_(LIVE, Replica.status == "ready"))
        .where(Service.status.in_(["running", "degraded"]))
        .group_by(Service.id)
        .having(or_(lacking, healed))
    )


@cache
def _misplaced() -> Select[*tuple[Any, ...]]:
    serving = Service.status.in_(["running", "degraded"])
    live_replicas = func.coalesce(Service.live_replicas, Service.replicas)
    # Nothing of it is left once every replica is fresh: see `live_spec`.
    restarting = or_(Placement.fresh_since > 0, Placement.replacing.is_not(None))
    other = or_(Placement.revision_id != Service.live_revision_id, Placement.replicas != live_replicas, restarting)
    idle = Service.status.in_(["paused", "failed", "deleted"])
    return (
        select(Service.id, Service.generation, serving)
        .join(Placement, Placement.service_id == Service.id)
        .where(or_(and_(serving, other), and_(idle, Placement.replicas > 0)))
    )


@cache
def _expired_services() -> Select[*tuple[Any, ...]]:
    # The index's condition word for word: neither database proves it of bound values.
    return select(Service.id).where(MORTAL, Service.expires_at <= db_now(), Service.status != "deleting")
