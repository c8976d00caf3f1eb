"""What the node is asked to run, fenced by generation: an older wish can never overwrite a newer one."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import func, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import Conflict
from state.database import Session, WriteSession
from state.tables import JsonColumn, Placement, Replica, Service

FINAL = ("stopped", "failed")


class StaleGeneration(Conflict):
    """A newer wish for the service was applied already."""

    code, title = "stale_generation", "A newer generation was applied"


async def place(session: WriteSession, values: Mapping[str, object]) -> None:
    """Insert or replace the placement of a service unless a newer generation stands. Raises `StaleGeneration`."""
    wish = _insert(session)(Placement).values(**values)
    changes = {name: wish.excluded[name] for name in values if name != "service_id"}
    statement = wish.on_conflict_do_update(
        index_elements=["service_id"], set_=changes, where=Placement.generation <= wish.excluded.generation
    ).returning(Placement.service_id)
    if (await session.execute(statement)).scalar_one_or_none() is None:
        raise StaleGeneration(
            f"generation {values['generation']} of {values['service_id']} is older than the applied one"
        )
    session.tell("placement", id=str(values["service_id"]))


async def displace(session: WriteSession, service_id: str, generation: int) -> None:
    """Want no replica of the service. Raises `StaleGeneration`.

    Where nothing was placed yet, a placement of nothing is left: an older deploy that comes late must find it.
    """
    tombstone = select(
        *(Service.id, Service.tenant_id, literal(generation), func.coalesce(Service.revision_id, "")),
        *(literal(0), literal(0), literal({}, JsonColumn)),
    ).where(Service.id == service_id)
    columns = ["service_id", "tenant_id", "generation", "revision_id", "replicas", "fresh_since", "spec"]
    wish = _insert(session)(Placement).from_select(columns, tombstone)
    statement = wish.on_conflict_do_update(
        index_elements=["service_id"],
        set_={"replicas": 0, "generation": wish.excluded.generation, "replacing": None},
        where=Placement.generation <= wish.excluded.generation,
    ).returning(Placement.service_id)
    displaced = (await session.execute(statement)).scalar_one_or_none()
    if displaced is None and await session.get(Placement, service_id) is not None:
        raise StaleGeneration(f"generation {generation} of {service_id} is older than the applied one")
    session.tell("placement", id=service_id)


def _insert(session: WriteSession) -> Callable[[type[Placement]], sqlite.Insert | postgresql.Insert]:
    return postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert


async def placed_generation(session: Session, service_id: str) -> int:
    """The generation that was applied last, 0 before the first; a placement's spec may be large and is not read."""
    return await session.scalar(select(Placement.generation).where(Placement.service_id == service_id)) or 0


async def replicas_of(session: Session, service_id: str, generation: int) -> Sequence[Replica]:
    """The replicas that are not final, and the final ones of this generation, oldest first."""
    query = select(Replica).where(
        Replica.service_id == service_id, or_(Replica.status.not_in(FINAL), Replica.generation == generation)
    )
    return list(await session.scalars(query.order_by(Replica.created_at, Replica.id)))


async def live_replicas(session: Session) -> Sequence[Replica]:
    """Every replica that is not final, oldest first."""
    query = select(Replica).where(Replica.status.not_in(FINAL))
    return list(await session.scalars(query.order_by(Replica.created_at, Replica.id)))
