"""What an operator's check-up asks of the database: its clock, who runs on it, who holds what, what is stored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from core.clock import Micros
from state.database import Session, db_now
from state.installation import Lease, Process
from state.processes import ALIVE_MICROS
from state.tables import Blob, Operation, Version


@dataclass(frozen=True, slots=True)
class Seen:
    """One process that was seen lately."""

    id: str
    role: str
    host: str
    version: str
    schema: str
    address: str | None
    is_alive: bool


async def clock(session: Session) -> Micros:
    """The database's clock now."""
    now: Micros = (await session.execute(select(db_now()))).scalar_one()
    return now


async def processes(session: Session) -> Sequence[Seen]:
    """Every process that has a row, by role; those that were not seen for three beats are not alive."""
    query = select(Process, (Process.seen_at > db_now() - ALIVE_MICROS).label("alive")).order_by(
        Process.role, Process.id
    )
    return [
        Seen(row.id, row.role, row.host, row.version, row.schema, row.address, bool(alive))
        for row, alive in await session.execute(query)
    ]


async def vacant(session: Session) -> Sequence[str]:
    """The caretakers whose lease nobody holds."""
    return list(await session.scalars(select(Lease.name).where(Lease.until < db_now()).order_by(Lease.name)))


async def overdue(session: Session, since: Micros) -> int:
    """How many operations are due since before an instant and were not begun."""
    waiting = (Operation.status == "queued", Operation.due_at < since)
    return await session.scalar(select(func.count()).where(*waiting)) or 0


async def stored_versions(session: Session, limit: int) -> Sequence[str]:
    """The digests of the newest versions that are not deleted, and not yet to be fetched."""
    stored = (Version.status != "deleted", Version.digest != "")
    query = select(Version.digest).where(*stored).order_by(Version.created_at.desc()).limit(limit)
    return list(dict.fromkeys(await session.scalars(query)))


async def without_row(session: Session, digests: Collection[str]) -> set[str]:
    """Those that no row of `blobs` knows."""
    known = set(await session.scalars(select(Blob.digest).where(Blob.digest.in_(digests))))
    return set(digests) - known
