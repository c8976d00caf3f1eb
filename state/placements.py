"""What the node is asked to run, fenced by generation: an older wish can never overwrite a newer one."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from core.errors import Conflict
from state.database import Session, WriteSession
from state.tables import Placement, Replica

FINAL = ("stopped", "failed")


class StaleGeneration(Conflict):
    """A newer wish for the service was applied already."""

    code, title = "stale_generation", "A newer generation was applied"


async def place(session: WriteSession, values: Mapping[str, object]) -> None:
    """Insert or replace the placement of a service unless a newer generation stands. Raises `StaleGeneration`."""
    dialect = session.get_bind().dialect.name
    insert = postgresql_insert if dialect == "postgresql" else sqlite_insert
    wish = insert(Placement).values(**values)
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
    """Want no replica of the service. Raises `StaleGeneration`."""
    statement = (
        update(Placement)
        .where(Placement.service_id == service_id, Placement.generation <= generation)
        .values(replicas=0, generation=generation)
        .execution_options(synchronize_session=False)
    )
    changed: Any = await session.execute(statement)
    if changed.rowcount == 0 and await session.get(Placement, service_id) is not None:
        raise StaleGeneration(f"generation {generation} of {service_id} is older than the applied one")
    session.tell("placement", id=service_id)


async def replicas_of(session: Session, service_id: str, generation: int) -> Sequence[Replica]:
    """The replicas that are not final, and the final ones of this generation, oldest first."""
    query = select(Replica).where(
        Replica.service_id == service_id, or_(Replica.status.not_in(FINAL), Replica.generation == generation)
    )
    return list(await session.scalars(query.order_by(Replica.created_at, Replica.id)))


async def all_placements(session: Session) -> Sequence[Placement]:
    """Everything the node is asked to run, those with nothing to run included while they have replicas."""
    return list(await session.scalars(select(Placement)))


async def live_replicas(session: Session) -> Sequence[Replica]:
    """Every replica that is not final, oldest first."""
    query = select(Replica).where(Replica.status.not_in(FINAL))
    return list(await session.scalars(query.order_by(Replica.created_at, Replica.id)))
