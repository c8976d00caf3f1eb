"""The node's work in one term: compares placements, replica rows and processes ever again, heals, writes what it sees.

Nobody else writes replica rows. A decision is committed, fenced by the placement it was made for, before it is done.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.clock import now_micros
from core.errors import DatabaseBusy, PlatformError
from core.failpoints import failpoint
from core.logs import log_context
from core.secrets import Vault
from core.settings import Settings
from state.database import Database
from state.history import By
from state.queries.node import PlacedService, ReplicaFacts, placed_services, recent_ends
from state.specs import ServiceSpec
from storage.cache import ArtifactCache
from workers.node.endings import Ending
from workers.node.launch import Command, Place, prepare
from workers.node.lease import Term, TermOver
from workers.node.life import ASKED, Life, Patience, Rhythm, Terms
from workers.node.logs import log_path
from workers.node.looks import AFTER_TROUBLE_S, Looks, read_rows
from workers.node.metrics import NodeMetrics
from workers.node.plan import is_short, plan
from workers.node.rows import ACTOR, FINAL_MOVES, Seen, ask_all_to_stop, decide, end_former_life, write_seen
from workers.node.sockets import remove_folder, replica_folder

log = logging.getLogger(__name__)
KILL_S = 2.0
GONE = Ending("process_missing", "its process is not there")
BUG = Ending("internal_error", "the node failed; its log has the traceback")


@dataclass(frozen=True, slots=True)
class Premises:
    """What replicas are made from and where: the same in every term of a node."""

    settings: Settings
    database: Database
    cache: ArtifactCache
    vault: Vault
    command: Command
    rhythm: Rhythm
    runtime: Path
    scratch: Path
    parent_fd: int
    metrics: NodeMetrics

    def place(self, replica_id: str) -> Place:
        """Where a replica lives."""
        settings, folder = self.settings, replica_folder(self.runtime, replica_id)
        log_file = log_path(settings.data, replica_id)
        scratch = replica_folder(self.scratch, replica_id)
        return Place(folder, scratch, log_file, settings.cache, self.parent_fd, settings.node_host)


class Supervisor:
    """Runs what the placements want until its term is over or it is closed. `wake` is set by whoever has news."""

    def __init__(self, premises: Premises, term: Term, wake: asyncio.Event) -> None:
        self.term = term
        self._premises, self._wake = premises, wake
        self._settings, self._database, self._rhythm = premises.settings, premises.database, premises.rhythm
        self._lives: dict[str, Life] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks = Looks("what is wanted", term, wake)

    @property
    def lives(self) -> Mapping[str, Life]:
        """The processes by their replicas' ids."""
        return self._lives

    async def begin(self) -> None:
        """End what the node before has left. Raises `DatabaseBusy` and `TermOver`."""
        killed = await end_former_life(self._database, self.term)
        if killed:
            log.warning("ended processes of a former life: %s", ", ".join(map(str, killed)))

    async def run(self) -> None:
        """Look again and again. Raises `TermOver`."""
        await self._looks.run(self._look)

    def close(self) -> None:
        """Look no more."""
        self._looks.close()

    async def end(self, grace_s: float) -> None:
        """End every process, within the grace if it can; the placements stay, so that the next start serves again."""
        self._looks.close()
        try:
            by = By(ACTOR, "platform_stopped", "the platform was stopped")
            await ask_all_to_stop(self._database, self.term, by)
            await self.end_processes(grace_s)
            await self._record_all()
        except (PlatformError, TermOver) as error:
            log.warning("the end of the replicas is not recorded, the next start does it: %s", error)
            await self.end_processes(grace_s)

    async def end_processes(self, grace_s: float) -> None:
        """End every process and write nothing."""
        for life in self._lives.values():
            life.stop(Patience(0, grace_s))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s + KILL_S)
        for life in self._lives.values():
            life.kill()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_S)

    async def _look(self) -> float:
        """Look at everything once; answers after how many seconds to look again unless called before."""
        began = time.perf_counter()
        services = await read_rows(self._database, placed_services)
        self._end_unknown({replica.id for service in services for replica in service.replicas})
        pause_s, refusals = self._rhythm.idle_s, 0
        for service in services:
            if self._looks.is_closed:
                break
            try:
                if await self._tend(service):
                    pause_s = min(pause_s, self._rhythm.look_s)
            except TermOver:
                raise
            except DatabaseBusy as error:
                refusals += 1
                if refusals > 1:  # not somebody's lock on one row: the others would wait for the same
                    raise
                log.warning("service %s has to wait: %s", service.wanted.service_id, error.message)
                pause_s = min(pause_s, AFTER_TROUBLE_S)
            except Exception:
                log.exception("the replicas of service %s cannot be tended now", service.wanted.service_id)
                pause_s = min(pause_s, AFTER_TROUBLE_S)
        self._premises.metrics.looked(services, time.perf_counter() - began)
        return pause_s

    async def _tend(self, service: PlacedService) -> bool:
        """Do what one service needs; answers whether a replacement waits for its time."""
        wanted, replicas = service.wanted, service.replicas
        self._ask_leaving_to_end(replicas)
        if await self._record(replicas):
            self._wake.set()  # decide by what the rows say then
            return False
        if is_short(wanted, replicas):
            async with self._database.read() as session:
                replicas = (*replicas, *await recent_ends(session, wanted))
        steps = plan(wanted, replicas, now_micros())
        if not steps:
            return is_short(wanted, replicas)
        decided = await decide(self._database, self.term, wanted, steps, self._premises.place)
        if decided is None:
            self._wake.set()  # a newer wish came meanwhile
            return False
        failpoint("node_before_spawn")
        for replica_id in decided.started:
            assert decided.spec is not None  # only a placement starts replicas
            self._begin_life(replica_id, decided.spec)
        self._wake.set()  # the next look asks those that are to leave
        return False

    def _ask_leaving_to_end(self, replicas: Sequence[ReplicaFacts]) -> None:
        """By what the rows say, not by what was just decided: between the two anything may have gone wrong."""
        for replica in replicas:
            if replica.status == "stopping" and replica.id in self._lives:
                self._lives[replica.id].stop(Patience(self._rhythm.linger_s, self._settings.drain_s))

    async def _record(self, replicas: Sequence[ReplicaFacts]) -> bool:
        """Write what the rows do not know yet; answers whether there was anything."""
        seen = [(replica, sight) for replica in replicas if (sight := self._sight(replica))]
        if not seen:
            return False
        failpoint("node_before_record")
        await write_seen(self._database, self.term, [sight for _, sight in seen])
        for replica, sight in seen:
            if sight.move == "ready" and replica.status == "starting":
                self._premises.metrics.became_ready(max(0, now_micros() - replica.created_at) / 1_000_000)
            if sight.move in FINAL_MOVES:
                self._lives.pop(sight.replica_id, None)
        return True

    async def _record_all(self) -> None:
        services = await read_rows(self._database, placed_services)
        await self._record([replica for service in services for replica in service.replicas])

    def _sight(self, replica: ReplicaFacts) -> Seen | None:
        """How the row differs from the process."""
        life = self._lives.get(replica.id)
        ending = GONE if life is None else life.ending
        seen = partial(Seen, replica.id, identity=None, address=None)
        is_new = life is not None and life.identity is not None and replica.pid is None
        if life is not None and is_new:
            seen = partial(Seen, replica.id, identity=life.identity, address=life.address)
        if ending is not None and replica.status == "stopping":
            return seen(move="stopped", by=By(ACTOR, replica.reason, ending.message))
        if ending is not None:
            return seen(move="fail", by=By(ACTOR, ending.reason, ending.message))
        move = None
        if life and life.answers and replica.status in ("starting", "unready"):
            move = "ready"
        elif life and not life.answers and replica.status == "ready":
            move = "unready"
        return seen(move=move, by=By(ACTOR)) if move or is_new else None

    def _end_unknown(self, living: set[str]) -> None:
        """A process whose row says that it has ended is not to be there."""
        for replica_id in self._lives.keys() - living:
            self._lives.pop(replica_id).kill()

    def _begin_life(self, replica_id: str, spec: ServiceSpec) -> None:
        premises, place = self._premises, self._premises.place(replica_id)
        token = None if place.host is None else premises.vault.replica_token(replica_id)
        life = Life(
            partial(prepare, spec, replica_id, place, premises.cache, premises.vault, premises.command),
            place,
            Terms(spec.memory_mb, token, self._settings.deploy_timeout_s, self._rhythm),
            may_begin=self.term.is_certain,
            changed=self._wake.set,
        )
        self._lives[replica_id] = life
        premises.metrics.started(spec.service)
        with log_context(resource_type="service", resource_id=spec.service_id, resource_name=spec.service):
            task = asyncio.create_task(self._keep(life, spec.service), name=f"replica-{replica_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, life: Life, service: str) -> None:
        try:
            await life.run()
        except Exception:
            log.exception("the node failed at the replica in %s", life.place.folder)
            life.ending = BUG
        if life.ending is not None and life.ending is not ASKED and not self._looks.is_closed:
            self._premises.metrics.failed(service, life.ending.reason)
            log.warning("a replica of service %s has ended: %s", service, life.ending.reason)
        for folder in (life.place.folder, life.place.scratch):
            await asyncio.to_thread(remove_folder, folder)
        self._wake.set()
