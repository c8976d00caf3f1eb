"""The installation as it is now: its schema, its processes, who takes care of what, which routes are newest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select, text

from core.clock import Micros
from core.errors import Json
from state.database import Session, db_now
from state.installation import Lease, Process
from state.processes import ALIVE_MICROS
from state.queries.routing import routing_version


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is the active caretaker of a name; `owner` is a process' id, and nobody where the lease has run out."""

    name: str
    owner: str | None
    until: Micros
    epoch: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A process that said that it is there; one that was not seen for a while is taken for dead."""

    row: Process
    is_alive: bool

    @property
    def lanes(self) -> Mapping[str, Mapping[str, int]]:
        """The slots of each lane, and how many are busy, where it works on any."""
        found: Mapping[str, Mapping[str, int]] = self.row.details.get("lanes", {})
        return found


@dataclass(frozen=True, slots=True)
class Installation:
    """All of it."""

    schema: str
    routing_version: int
    leases: Sequence[Holder]
    processes: Sequence[Seen]


async def known_runtimes(session: Session) -> Sequence[Mapping[str, Json]] | None:
    """What the nodes that are alive say they can run, each only once; nothing when none has said anything."""
    now = await session.scalar(select(db_now())) or 0
    rows = await session.scalars(select(Process.details).where(Process.seen_at > now - ALIVE_MICROS))
    told: list[Sequence[Mapping[str, Json]]] = [details["runtimes"] for details in rows if "runtimes" in details]
    if not told:
        return None
    parts = ("engine", "engine_version", "python")
    each_once = {tuple(str(runtime[part]) for part in parts): runtime for found in told for runtime in found}
    return [each_once[key] for key in sorted(each_once)]


async def read_installation(session: Session) -> Installation:
    """A few small tables, read together."""
    now = await session.scalar(select(db_now())) or 0
    leases = [
        Holder(row.name, row.owner if row.owner and row.until > now else None, row.until, row.epoch)
        for row in await session.scalars(select(Lease).order_by(Lease.name))
    ]
    rows = await session.scalars(select(Process).order_by(Process.role, Process.started_at, Process.id))
    processes = [Seen(row, row.seen_at > now - ALIVE_MICROS) for row in rows]
    schema: str = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
    return Installation(schema, await routing_version(session), leases, processes)
