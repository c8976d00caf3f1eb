"""Builds and runs one process' worker: lanes, relay and caretakers on the running event loop."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress

import dramatiq

from core.secrets import Vault
from core.settings import Settings
from state.database import Database
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from workers.actors import declare_actor
from workers.broker import open_broker
from workers.caretakers import Caretaker, Caretakers
from workers.executor import Executor, Handler
from workers.relay import Relay, WakeUps
from workers.rescuer import requeue_all_running, rescue_expired
from workers.resources import Resources
from workers.sweeper import Sweeper
from workers.targets.base import Target
from workers.watcher import Watcher

log = logging.getLogger(__name__)

IDLE_MS = 500  # how long Dramatiq's threads sleep between looks at their stop flag; wake-ups come at once
LOOK_MARGIN_S = 30.0  # the executor's own limit ends a handler before the actor gives up waiting


class WorkerHost:
    """The worker part of a process. `start` and `stop` belong to the loop that it was built on."""

    def __init__(
        self, workers: list[dramatiq.Worker], executor: Executor, relay: Relay, wakeups: WakeUps, caretakers: Caretakers
    ) -> None:
        self._workers, self._executor, self._relay = workers, executor, relay
        self._wakeups, self._caretakers = wakeups, caretakers
        self._relaying: asyncio.Task[None] | None = None

    def nudge(self, lane: str, id: str) -> None:
        """Work was committed: from any thread, never blocks, never raises."""
        self._wakeups.nudge(lane, id)

    async def start(self) -> None:
        """Begin to claim work."""
        for worker in self._workers:
            worker.start()
        self._relaying = asyncio.create_task(self._relay.run(list(self._executor.slots)), name="relay")
        self._caretakers.start()

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more, wait for running work within the grace, hand the rest back, dismiss the threads."""
        if self._relaying is not None:
            self._relaying.cancel()
            with suppress(asyncio.CancelledError):
                await self._relaying
        await self._caretakers.stop()
        await self._executor.stop(grace_s)
        # Not joined: nothing runs any more, the threads are daemons, and each sees its flag within IDLE_MS.
        self._wakeups.detach()
        for worker in self._workers:
            worker.stop(timeout=0)


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
) -> WorkerHost:
    """A worker that is not started yet. Raises UnsupportedBrokerUrl.

    `alone` says that no other process can hold work on this database (the data folder's lock is ours): everything that
    is held is queued again at once.
    """
    if alone and (count := await requeue_all_running(database)):
        log.info("%d units of work of the last process are queued again", count)
    resources = Resources(settings, database, store, cache, target, vault)
    owner = owner_name()
    executor = Executor(resources, handlers, owner)
    wakeups = WakeUps(executor.slots)
    workers = [_lane(settings, lane, executor, wakeups) for lane in executor.slots]
    relay = Relay(database, wakeups, executor.free, settings.poll_s)
    return WorkerHost(workers, executor, relay, wakeups, _caretakers(resources, owner))


def _lane(settings: Settings, lane: str, executor: Executor, wakeups: WakeUps) -> dramatiq.Worker:
    """A Worker of its own per lane, because one shares its threads among all queues (ADR 0003), on a broker of its own,
    because a second Worker on one broker is warned about."""
    broker = open_broker(settings.broker_url)
    limit_s = executor.limit_s(lane)
    limit_s = None if limit_s is None else limit_s + LOOK_MARGIN_S
    wakeups.attach(lane, declare_actor(broker, lane, executor.work_next, wakeups.began, limit_s))
    return dramatiq.Worker(broker, queues={lane}, worker_timeout=IDLE_MS, worker_threads=executor.slots[lane])


def _caretakers(resources: Resources, owner: str) -> Caretakers:
    settings, database = resources.settings, resources.database
    watcher, sweeper = Watcher(database, resources.target), Sweeper(resources)
    caretakers = [
        Caretaker("rescuer", settings.poll_s, lambda: rescue_expired(database)),
        Caretaker("watcher", 1.0, watcher.look, watcher.hears),
        Caretaker("sweeper", sweeper.every_s, sweeper.look),
    ]
    return Caretakers(database, caretakers, owner, settings.lease_s)
