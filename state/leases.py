"""Election by a database lease: of all processes, one holds a name; who does not renew in time is replaced."""

import math
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from state.database import Session, WriteSession, db_now
from state.installation import Lease


async def elect(session: WriteSession, names: Sequence[str], owner: str, lease_micros: int) -> dict[str, int]:
    """Renew the names that `owner` holds and take those that are free; answers its names with their epochs.

    The epoch grows with each change of hands, and the database's clock decides.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    missing = [{"name": name, "owner": "", "until": 0, "epoch": 0} for name in sorted(names)]
    await session.execute(insert(Lease).values(missing).on_conflict_do_nothing())
    mine, until = Lease.name.in_(names), db_now() + lease_micros
    renew = update(Lease).where(mine, Lease.owner == owner).values(until=until)
    await session.execute(renew.execution_options(synchronize_session=False))
    seize = update(Lease).where(mine, Lease.owner != owner, Lease.until < db_now())
    seize = seize.values(owner=owner, until=until, epoch=Lease.epoch + 1)
    await session.execute(seize.execution_options(synchronize_session=False))
    held = select(Lease.name, Lease.epoch).where(mine, Lease.owner == owner)
    return {row.name: row.epoch for row in await session.execute(held)}


async def others_end_in(session: Session, names: Sequence[str], owner: str) -> float:
    """The seconds until the first of the names that others hold is free, unless it is renewed; infinite without one."""
    left = select(func.min(Lease.until) - db_now()).where(Lease.name.in_(names), Lease.owner != owner)
    micros = await session.scalar(left)
    return math.inf if micros is None else max(0.0, micros / 1_000_000)


async def still_holds(session: WriteSession, name: str, owner: str, epoch: int) -> bool:
    """Whether nobody took the name since that election; nobody can until this transaction ends."""
    query = select(Lease.epoch).where(Lease.name == name, Lease.owner == owner).with_for_update(read=True)
    return await session.scalar(query) == epoch


async def holder(session: Session, name: str) -> str | None:
    """Who held the name last."""
    return await session.scalar(select(Lease.owner).where(Lease.name == name))


async def resign(session: WriteSession, owner: str) -> None:
    """Let go of everything that `owner` holds, so that the next one need not wait for the lease to run out."""
    await session.execute(update(Lease).where(Lease.owner == owner).values(until=0))


async def forget_all(session: WriteSession) -> None:
    """Nobody can hold anything: for the start of a process that is known to be alone on this database."""
    await session.execute(update(Lease).values(until=0))
