"""Builds and runs one process' worker: lanes, relay and caretakers on the running event loop."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from datetime import timedelta

import dramatiq
from prometheus_client import CollectorRegistry

from core.errors import Json
from core.secrets import Vault
from core.settings import Settings
from state.database import Database
from state.sampling import Sampler
from state.worktables import LANES
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from workers.actors import declare_actor, declare_wakes
from workers.broker.inprocess import InProcessBroker
from workers.broker.open import UnsupportedBrokerUrl, is_shared, open_broker
from workers.caretakers import Caretaker, Caretakers
from workers.executor import Executor, Handler
from workers.follower import Follower
from workers.metrics import WakeUpMetrics, WorkMetrics, unseen
from workers.nudger import Nudger
from workers.relay import Relay, Share, WakeUps
from workers.rescuer import requeue_all_running, rescue_expired
from workers.resources import Resources
from workers.runwatcher import RunWatcher
from workers.scheduler import Scheduler
from workers.scratch import sweep_scratch
from workers.sweeper import Sweeper
from workers.targets.base import Target
from workers.watcher import Watcher

log = logging.getLogger(__name__)

IDLE_MS = 500  # how long Dramatiq's threads sleep between looks at their stop flag; wake-ups come at once
LOOKERS = 2  # one that waits for a free slot and one that looks: what they claim runs on the loop, in no thread
EARS_MS = 250  # likewise, for the thread that hears other processes
EARS_STOP_MS = 1000
LOOK_MARGIN_S = 30.0  # the executor's own limit ends a handler before the actor gives up waiting


class Exchange:
    """Wake-ups from and to other processes, over the shared broker."""

    def __init__(self, ears: dramatiq.Worker, nudger: Nudger) -> None:
        self._ears, self._nudger = ears, nudger

    async def start(self) -> None:
        """Hear and send."""
        await self._nudger.start()
        self._ears.start()

    async def deafen(self) -> None:
        """Hear no more; what was heard and not begun goes to the others."""
        await asyncio.to_thread(self._ears.stop, EARS_STOP_MS)

    async def stop(self) -> None:
        """Send what is to be sent, and end."""
        await self._nudger.stop()


class WorkerHost:
    """The worker part of a process. `start` and `stop` belong to the loop that it was built on."""

    def __init__(
        self,
        workers: list[dramatiq.Worker],
        executor: Executor,
        relay: Relay,
        wakeups: WakeUps,
        caretakers: Caretakers,
        exchange: Exchange | None,
        sampler: Sampler,
    ) -> None:
        self._sampler = sampler
        self._workers, self._executor, self._relay = workers, executor, relay
        self._wakeups, self._caretakers, self._exchange = wakeups, caretakers, exchange
        self._relaying: asyncio.Task[None] | None = None

    def details(self) -> Mapping[str, Json]:
        """What this process tells of itself: each lane's slots, and how many are busy."""
        slots = self._executor.slots
        return {"lanes": {lane: {"slots": n, "busy": n - self._executor.free(lane)} for lane, n in slots.items()}}

    def nudge(self, lane: str, id: str) -> None:
        """Work was committed: from any thread, never blocks, never raises."""
        self._wakeups.offer(lane, id)

    async def start(self) -> None:
        """Begin to claim work."""
        for worker in self._workers:
            worker.start()
        if self._exchange is not None:
            await self._exchange.start()
        self._relaying = asyncio.create_task(self._relay.run(list(self._executor.slots)), name="relay")
        self._caretakers.start()
        self._sampler.start()

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more, wait for running work within the grace, hand the rest back, dismiss the threads."""
        self._wakeups.detach()  # from here on whatever falls due, what is handed back too, wakes the others
        if self._relaying is not None:
            self._relaying.cancel()
        async with asyncio.TaskGroup() as stopping:
            stopping.create_task(self._executor.stop(grace_s))  # first: it claims until it hears of this
            stopping.create_task(self._caretakers.stop())
            stopping.create_task(self._sampler.stop())
            if self._exchange is not None:
                stopping.create_task(self._exchange.deafen())
        if self._relaying is not None:
            await asyncio.gather(self._relaying, return_exceptions=True)
        await self._sampler.finish()
        # Not joined: nothing runs any more, the threads are daemons, and each sees its flag within IDLE_MS.
        for worker in self._workers:
            worker.stop(timeout=0)
        if self._exchange is not None:
            await self._exchange.stop()


def owner_name() -> str:
    """Who holds claims: the host, the process and a random part, because process ids come again."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


async def build(
    settings: Settings,
    database: Database,
    store: ArtifactStore,
    cache: ArtifactCache,
    target: Target,
    vault: Vault,
    *,
    handlers: Mapping[str, Handler],
    alone: bool,
    registry: CollectorRegistry | None = None,
    owner: str | None = None,
) -> WorkerHost:
    """A worker that is not started yet. Raises UnsupportedBrokerUrl, and OSError for the data folder.

    `owner` names the holder of claims and leases: the process' id in `processes`, where it has one.

    `alone` says that no other process can hold work on this database (the data folder's lock is ours): everything that
    is held is queued again at once. `registry` gets the worker's figures.
    """
    if alone and (count := await requeue_all_running(database)):
        log.info("%d units of work of the last process are queued again", count)
    await asyncio.to_thread(sweep_scratch, settings.data)
    metrics = unseen() if registry is None else WorkMetrics(registry)
    resources = Resources(settings, database, store, cache, target, vault, metrics)
    owner = owner or owner_name()
    executor = Executor(resources, handlers, owner)
    wakeups = WakeUps(executor.slots, metrics)
    exchange = (
        _exchange(settings.broker_url, executor, wakeups, metrics.wake) if is_shared(settings.broker_url) else None
    )
    workers = [_lane(lane, executor, wakeups) for lane in executor.slots]
    relay = Relay(database, wakeups, executor.free, settings.poll_s, metrics)
    sampler = Sampler(database, resources.traffic.take, settings.sample_s)
    return WorkerHost(workers, executor, relay, wakeups, _caretakers(resources, owner), exchange, sampler)


def build_nudger(settings: Settings, database: Database, registry: CollectorRegistry | None = None) -> Nudger:
    """For a process without a worker: wakes the workers for what is committed in it. Raises UnsupportedBrokerUrl."""
    if not is_shared(settings.broker_url):
        raise UnsupportedBrokerUrl(f"the broker {settings.broker_url} wakes nobody outside its process; set redis://…")
    broker = open_broker(settings.broker_url)
    metrics = unseen().wake if registry is None else WakeUpMetrics(registry)
    nudger = Nudger(declare_wakes(broker, LANES, _nobody_works_here), broker.close, metrics)
    database.subscribe(nudger.hear)
    return nudger


def _nobody_works_here(lane: str, hint: str) -> None:
    raise NotImplementedError(f"a wake-up for {lane} came to a process that has no worker")


def _exchange(url: str, executor: Executor, wakeups: WakeUps, metrics: WakeUpMetrics) -> Exchange:
    """One Worker with one thread for all lanes: what it hears it hands on at once, to a lane here or back."""
    broker = open_broker(url, wakeups.has_room)
    nudger = Nudger(declare_wakes(broker, LANES, wakeups.offer), broker.close, metrics)
    wakeups.share(Share(executor.free, nudger.nudge))
    ears = dramatiq.Worker(broker, queues=set(executor.slots), worker_timeout=EARS_MS, worker_threads=1)
    return Exchange(ears, nudger)


def _lane(lane: str, executor: Executor, wakeups: WakeUps) -> dramatiq.Worker:
    """A Worker of its own per lane, because one shares its threads among all queues (ADR 0003), on a broker of its own,
    because a second Worker on one broker is warned about."""
    broker = InProcessBroker(middleware=[])
    limit_s = executor.limit_s(lane)
    limit_s = None if limit_s is None else limit_s + LOOK_MARGIN_S
    wakeups.attach(lane, declare_actor(broker, lane, executor.work_next, wakeups.began, limit_s))
    return dramatiq.Worker(broker, queues={lane}, worker_timeout=IDLE_MS, worker_threads=LOOKERS)


def _caretakers(resources: Resources, owner: str) -> Caretakers:
    settings, database = resources.settings, resources.database
    watcher, follower = Watcher(database, resources.target), Follower(database, resources.vault)
    runs, scheduler = RunWatcher(database), Scheduler(database)
    idle = timedelta(seconds=settings.blob_idle_s)
    sweeper = Sweeper(resources, idle=idle, doomed_for=idle / 6)
    caretakers = [
        Caretaker("rescuer", settings.poll_s, lambda: rescue_expired(database, resources.metrics, settings.poll_s)),
        Caretaker("watcher", 1.0, watcher.look, watcher.hears),
        Caretaker("runs", 1.0, runs.look, runs.hears),
        Caretaker("follower", 1.0, follower.look),
        Caretaker("scheduler", 1.0, scheduler.look, scheduler.hears),
        Caretaker("sweeper", settings.sweep_s, sweeper.look),
    ]
    return Caretakers(database, caretakers, owner, settings.lease_s, resources.metrics.care)
