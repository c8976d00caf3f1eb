"""The node: compares placements, replica rows and processes ever again, heals, and writes what it sees.

Nobody else writes replica rows. A decision is committed, fenced by the placement it was made for, before it is done.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from core.clock import now_micros
from core.errors import PlatformError
from core.secrets import Vault
from core.settings import Settings
from state.database import Database
from state.history import By
from state.queries.node import PlacedService, ReplicaFacts, placed_services, recent_ends
from state.signals import Signal
from state.specs import ServiceSpec
from storage.cache import ArtifactCache
from workers.node.endings import Ending
from workers.node.launch import Command, Place, model_server, prepare
from workers.node.life import Life, Patience, Rhythm
from workers.node.logs import cap, log_path, prune
from workers.node.plan import is_short, plan
from workers.node.rows import ACTOR, FINAL_MOVES, Seen, ask_all_to_stop, decide, end_former_life, write_seen
from workers.node.sockets import open_runtime_folder, remove_folder, replica_folder

log = logging.getLogger(__name__)
AFTER_TROUBLE_S = 1.0
KILL_S = 2.0
LOG_CHECK_S = 1.0
LOG_TROUBLE_S = 30.0
LOG_CHECKS_PER_PRUNING = 3600
GONE = Ending("process_missing", "its process is not there")
BUG = Ending("internal_error", "the node failed; its log has the traceback")


class Node:
    """Runs what the placements want, within the event loop that starts it."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        cache: ArtifactCache,
        vault: Vault,
        *,
        command: Command | None = None,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._settings, self._database, self._cache, self._vault = settings, database, cache, vault
        self._command = command or model_server(settings)
        self._rhythm = rhythm or Rhythm()
        # SQLite belongs to one process, so every wish comes with a signal; a look costs 7 ms of it.
        self._idle_s = self._rhythm.idle_s if database.dialect == "sqlite" else self._rhythm.look_s
        self._lives: dict[str, Life] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._runtime = Path()
        self._parent_pipe = (-1, -1)

    async def start(self) -> None:
        """End what a former life has left, then begin to look. Raises `NoRuntimeFolder` and `DatabaseBusy`."""
        self._runtime = await asyncio.to_thread(open_runtime_folder, self._settings.data)
        killed = await end_former_life(self._database)
        if killed:
            log.warning("ended processes of a former life: %s", ", ".join(map(str, killed)))
        # One pipe for all: nobody writes to it, and every child sees its end when we end, however we end.
        self._parent_pipe = os.pipe()
        self._database.subscribe(self._hear)
        self._loops = [
            asyncio.create_task(self._look_again_and_again(), name="node"),
            asyncio.create_task(self._keep_logs_small(), name="node-logs"),
        ]

    async def stop(self, grace_s: float) -> None:
        """End every child, within the grace if it can; the placements stay, so that the next start serves again."""
        if not self._loops:
            return  # never started, or stopped already
        looking, keeping_logs = self._loops
        self._loops, self._closing = [], True
        self._wake.set()
        keeping_logs.cancel()
        await asyncio.gather(looking, keeping_logs, return_exceptions=True)
        try:
            await ask_all_to_stop(self._database, By(ACTOR, "platform_stopped", "the platform was stopped"))
            await self._end_children(grace_s)
            await self._record_all()
        except PlatformError as error:
            log.warning("the end of the replicas is not recorded, the next start does it: %s", error.message)
            await self._end_children(grace_s)
        for end in self._parent_pipe:
            os.close(end)
        await asyncio.to_thread(remove_folder, self._runtime)

    async def _end_children(self, grace_s: float) -> None:
        for life in self._lives.values():
            life.stop(Patience(0, grace_s))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s + KILL_S)
        for life in self._lives.values():
            life.kill()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_S)

    def _hear(self, signals: frozenset[Signal]) -> None:
        if any(signal.kind == "placement" for signal in signals):
            self._wake.set()

    async def _look_again_and_again(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                pause_s = await self._look()
            except Exception:
                log.exception("the node cannot look; it tries again in %g s", AFTER_TROUBLE_S)
                pause_s = AFTER_TROUBLE_S
            await self._until_woken(pause_s)

    async def _until_woken(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._wake.wait()
        except TimeoutError:
            pass  # nobody called: look all the same

    async def _look(self) -> float:
        """Look at everything once; answers after how many seconds to look again unless called before."""
        async with self._database.read() as session:
            services = await placed_services(session)
        self._end_unknown({replica.id for service in services for replica in service.replicas})
        pause_s = self._idle_s
        for service in services:
            if self._closing:
                break
            try:
                if await self._tend(service):
                    pause_s = min(pause_s, self._rhythm.look_s)
            except Exception:
                log.exception("the replicas of service %s cannot be tended now", service.wanted.service_id)
                pause_s = min(pause_s, AFTER_TROUBLE_S)
        return pause_s

    async def _tend(self, service: PlacedService) -> bool:
        """Do what one service needs; answers whether a replacement waits for its time."""
        wanted, replicas = service.wanted, service.replicas
        if await self._record(replicas):
            self._wake.set()  # decide by what the rows say then
            return False
        if is_short(wanted, replicas):
            async with self._database.read() as session:
                replicas = (*replicas, *await recent_ends(session, wanted))
        steps = plan(wanted, replicas, now_micros())
        if not steps:
            return is_short(wanted, replicas)
        decided = await decide(self._database, wanted, steps, self._place)
        if decided is None:
            self._wake.set()  # a newer wish came meanwhile
            return False
        for replica_id in decided.started:
            assert decided.spec is not None  # only a placement starts replicas
            self._begin_life(replica_id, decided.spec)
        for replica_id in decided.stopped:
            if replica_id in self._lives:
                self._lives[replica_id].stop(Patience(self._rhythm.linger_s, self._settings.drain_s))
        return False

    async def _record(self, replicas: Sequence[ReplicaFacts]) -> bool:
        """Write what the rows do not know yet; answers whether there was anything."""
        seen = [sight for replica in replicas if (sight := self._sight(replica))]
        if not seen:
            return False
        await write_seen(self._database, seen)
        for sight in seen:
            if sight.move in FINAL_MOVES:
                self._lives.pop(sight.replica_id, None)
        return True

    async def _record_all(self) -> None:
        async with self._database.read() as session:
            services = await placed_services(session)
        await self._record([replica for service in services for replica in service.replicas])

    def _sight(self, replica: ReplicaFacts) -> Seen | None:
        """How the row differs from the process."""
        life = self._lives.get(replica.id)
        ending = GONE if life is None else life.ending
        identity = life.child.identity if life and life.child and replica.pid is None else None
        if ending is not None and replica.status == "stopping":
            return Seen(replica.id, "stopped", By(ACTOR, replica.reason, ending.message), identity)
        if ending is not None:
            return Seen(replica.id, "fail", By(ACTOR, ending.reason, ending.message), identity)
        move = None
        if life and life.answers and replica.status in ("starting", "unready"):
            move = "ready"
        elif life and not life.answers and replica.status == "ready":
            move = "unready"
        return Seen(replica.id, move, By(ACTOR), identity) if move or identity else None

    def _end_unknown(self, living: set[str]) -> None:
        """A process whose row says that it has ended is not to be there."""
        for replica_id in self._lives.keys() - living:
            self._lives.pop(replica_id).kill()

    def _place(self, replica_id: str) -> Place:
        folder = replica_folder(self._runtime, replica_id)
        return Place(folder, log_path(self._settings.data, replica_id), self._settings.cache, self._parent_pipe[0])

    def _begin_life(self, replica_id: str, spec: ServiceSpec) -> None:
        place = self._place(replica_id)
        life = Life(
            partial(prepare, spec, replica_id, place, self._cache, self._vault, self._command),
            socket=place.socket,
            log_path=place.log_path,
            memory_mb=spec.memory_mb,
            start_within_s=self._settings.deploy_timeout_s,
            rhythm=self._rhythm,
            changed=self._wake.set,
        )
        self._lives[replica_id] = life
        task = asyncio.create_task(self._keep(life, place), name=f"replica-{replica_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, life: Life, place: Place) -> None:
        try:
            await life.run()
        except Exception:
            log.exception("the node failed at the replica in %s", place.folder)
            life.ending = BUG
        await asyncio.to_thread(remove_folder, place.folder)
        self._wake.set()

    async def _keep_logs_small(self) -> None:
        folder = log_path(self._settings.data, "any").parent
        while True:
            try:
                await asyncio.to_thread(prune, folder, {life.log_path for life in self._lives.values()})
                for _ in range(LOG_CHECKS_PER_PRUNING):
                    for life in list(self._lives.values()):
                        await asyncio.to_thread(cap, life.log_path)
                    await asyncio.sleep(LOG_CHECK_S)
            except OSError as error:  # a full disk: the more must the logs be kept small once there is room
                log.warning("the logs of the replicas cannot be kept small now: %s", error)
                await asyncio.sleep(LOG_TROUBLE_S)
