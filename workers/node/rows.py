"""What the node writes: decisions, fenced by the placement they were made for, and what it sees of its processes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance, lock
from state.database import Database, WriteSession
from state.history import By, begin
from state.placements import live_replicas
from state.queries.node import WantedService, still_wanted
from state.specs import ServiceSpec
from state.tables import Placement, Replica
from workers.node.launch import Place
from workers.node.lease import Term
from workers.node.plan import Start, Stop
from workers.node.processes import Identity, sweep

ACTOR = "node"
FINAL_MOVES = ("stopped", "fail")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a row has yet to learn: a move to make, which process it is and where it is reached, or all of that."""

    replica_id: str
    move: str | None
    by: By
    identity: Identity | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A committed decision, now to be done: the new replicas and their spec, and those that are to end."""

    spec: ServiceSpec | None
    started: tuple[str, ...]
    stopped: tuple[str, ...]


async def write_seen(database: Database, term: Term, seen: Sequence[Seen]) -> None:
    """Bring rows up to what was seen, in one transaction. Raises `TermOver`."""
    async with database.write() as session:
        await term.fence(session)
        for sight in seen:
            row = await lock(session, Replica, sight.replica_id)
            if sight.identity is not None:
                row.pid, row.process_started = sight.identity.pid, sight.identity.started
                row.boot_id, row.address = sight.identity.boot_id, sight.address or row.address
            if sight.move in FINAL_MOVES:
                await advance(session, row, sight.move, sight.by, ended_at=now_micros())
            elif sight.move is not None:
                await advance(session, row, sight.move, sight.by)


async def decide(
    database: Database,
    term: Term,
    wanted: WantedService,
    steps: Sequence[Start | Stop],
    place_of: Callable[[str], Place],
) -> Decided | None:
    """Commit new and leaving replicas if the wish they answer still stands; nothing if a newer one came.

    Raises `TermOver`.
    """
    stops = [step for step in steps if isinstance(step, Stop)]
    async with database.write() as session:
        await term.fence(session)
        if not await still_wanted(session, wanted):
            return None
        placement = await session.get(Placement, wanted.service_id)
        started = [await _begin(session, placement, place_of) for _ in range(len(steps) - len(stops)) if placement]
        for stop in stops:
            row = await lock(session, Replica, stop.replica_id)
            await advance(session, row, "stop", By(ACTOR, stop.reason))
    spec = ServiceSpec(**placement.spec) if placement else None
    return Decided(spec, tuple(started), tuple(stop.replica_id for stop in stops))


async def _begin(session: WriteSession, placement: Placement, place_of: Callable[[str], Place]) -> str:
    replica_id = new_id("rep")
    place = place_of(replica_id)
    row = Replica(
        id=replica_id,
        tenant_id=placement.tenant_id,
        created_at=session.now,  # compared with when a restart was asked for
        service_id=placement.service_id,
        revision_id=placement.revision_id,
        generation=placement.generation,
        address=place.address(None),
        log_path=str(place.log_path),
    )
    await begin(session, row, By(ACTOR))
    return replica_id


async def end_former_life(database: Database, term: Term) -> list[int]:
    """Kill what still runs here of the term before and end its rows; answers the pids that were killed.

    Raises `TermOver`.
    """
    async with database.read() as session:
        rows = await live_replicas(session)
    former = [Identity(row.pid, row.process_started, row.boot_id) for row in rows if row.pid is not None]
    killed = await asyncio.to_thread(sweep, former)
    by = By(ACTOR, "platform_restarted", "the platform ended without stopping it")
    await write_seen(database, term, [Seen(row.id, "fail", by) for row in rows])
    return killed


async def ask_all_to_stop(database: Database, term: Term, by: By) -> None:
    """Take every replica that can still be taken out of the gateways' tables. Raises `TermOver`."""
    async with database.write() as session:
        await term.fence(session)
        for row in await live_replicas(session):
            if row.status != "stopping":
                await advance(session, await lock(session, Replica, row.id), "stop", by)
