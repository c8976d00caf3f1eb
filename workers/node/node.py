"""The node: this machine's supervisor from start to stop, over as many terms as it is elected for.

It owns what lasts longer than a term: the folder of sockets, the pipe whose end ends the children, the logs.
"""

import asyncio
import logging
import os
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from core.errors import DatabaseBusy
from core.secrets import Vault
from core.settings import Settings
from state.database import Database
from state.sampling import Sampler
from state.signals import Signal
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from workers.node.endpoint import LogEndpoint
from workers.node.launch import Command, model_server
from workers.node.lease import Election, EndlessTerm, LeasedTerm, Term, TermOver
from workers.node.life import Life, Rhythm
from workers.node.logs import cap, log_path, prune, run_log_path
from workers.node.metrics import NodeMetrics
from workers.node.runmetrics import RunMetrics
from workers.node.runprogram import BatchCommand, batch_scorer
from workers.node.runs import Life as RunLife
from workers.node.runs import RunPremises, RunSupervisor
from workers.node.scripts import ScriptHouse
from workers.node.sockets import open_runtime_folder, remove_folder
from workers.node.supervisor import Premises, Supervisor
from workers.node.usage import UsageMeter
from workers.scratch import Scratch, open_scratch
from workers.targets.node import NodeTarget

log = logging.getLogger(__name__)
LOG_CHECK_S = 1.0
LOG_TROUBLE_S = 30.0
LOG_CHECKS_PER_PRUNING = 3600
AGAIN_S = 1.0


class Node:
    """Runs what the placements and the runs want, within the event loop that starts it."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        store: ArtifactStore,
        cache: ArtifactCache,
        vault: Vault,
        *,
        owner: str,
        command: Command | None = None,
        batch_command: BatchCommand | None = None,
        rhythm: Rhythm | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """The caller holds the data folder's lock; `owner` names this process."""
        self._settings, self._database, self._cache, self._vault = settings, database, cache, vault
        self._store = store
        self._command, self._rhythm = command or model_server(settings), rhythm or Rhythm()
        self._batch_command = batch_command or batch_scorer(settings)
        registry = registry or CollectorRegistry()
        self._metrics, self._run_metrics = NodeMetrics(registry), RunMetrics(registry)
        self._election = Election(database, settings.data, owner, settings.lease_s)
        self._endpoint = LogEndpoint(NodeTarget(database, settings), vault.node_token())
        self._sampler = Sampler(database, UsageMeter(lambda: self.lives).read, settings.sample_s)
        self._supervisor: Supervisor | None = None
        self._runs: RunSupervisor | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._wake, self._wake_runs = asyncio.Event(), asyncio.Event()
        self._closing = False
        self._runtime = Path()
        self._scratch: Scratch | None = None
        self._parent_pipe = (-1, -1)

    @property
    def logs_address(self) -> str | None:
        """Where other processes read the logs of this machine's replicas, if they can."""
        return self._endpoint.address

    @property
    def lives(self) -> Mapping[str, Life]:
        """What runs here, by the replicas' ids."""
        return self._supervisor.lives if self._supervisor else {}

    @property
    def runs(self) -> Mapping[str, RunLife]:
        """The processes of runs that are here, by the runs' ids."""
        return self._runs.lives if self._runs else {}

    async def start(self) -> None:
        """End what a former life has left, then begin to look; or wait, where another node is at work.

        Raises `NoRuntimeFolder`, `NoListener`, `DatabaseBusy` and `OSError` (the data folder).
        """
        self._runtime = await asyncio.to_thread(open_runtime_folder, self._settings.data)
        self._scratch = await asyncio.to_thread(open_scratch, self._settings.data)
        if self._settings.node_host is not None:
            await self._endpoint.start(self._settings.node_host)
        # One pipe for all: nobody writes to it, and every child sees its end when we end, however we end.
        self._parent_pipe = os.pipe()
        self._database.subscribe(self._hear)
        term = await self._first_term()
        if term is not None:
            with suppress(TermOver):
                await self._take_up(term)
        self._loops = [
            asyncio.create_task(self._serve(), name="node"),
            asyncio.create_task(self._keep_logs_small(), name="node-logs"),
        ]
        self._sampler.start()

    async def stop(self, grace_s: float) -> None:
        """End every child, within the grace if it can; the placements stay, so that the next start serves again."""
        if not self._loops:
            return  # never started, or stopped already
        (serving, keeping_logs), self._loops, self._closing = self._loops, [], True
        keeping_logs.cancel()
        await self._sampler.stop()
        if self._supervisor is None or self._runs is None:
            serving.cancel()  # it stands by
        else:
            self._supervisor.close()
            self._runs.close()
            await asyncio.wait({serving}, timeout=grace_s)
            serving.cancel()
        await asyncio.gather(serving, keeping_logs, return_exceptions=True)
        if self._supervisor is not None and self._runs is not None:
            await asyncio.gather(self._supervisor.end(grace_s), self._runs.end())
            await self._lay_down()
        await self._election.resign()  # also where the election was won a moment ago
        await self._endpoint.stop()
        for end in self._parent_pipe:
            os.close(end)
        await asyncio.to_thread(remove_folder, self._runtime)
        if self._scratch is not None:
            await asyncio.to_thread(self._scratch.remove)

    async def _first_term(self) -> Term | None:
        if self._database.dialect == "sqlite":  # it belongs to one process
            return EndlessTerm()
        await self._election.begin()
        return await self._election.stand()

    async def _take_up(self, term: Term) -> None:
        """Begin a term. Raises `DatabaseBusy` and `TermOver`."""
        supervisor = Supervisor(self._premises(), term, self._wake)
        runs = RunSupervisor(self._run_premises(), term, self._wake_runs)
        await supervisor.begin()
        await runs.begin()
        self._supervisor, self._runs = supervisor, runs
        if isinstance(term, LeasedTerm):
            self._renewing = asyncio.create_task(self._renew(term), name="node-lease")

    def _premises(self) -> Premises:
        return Premises(
            self._settings,
            self._database,
            self._cache,
            self._vault,
            self._command,
            self._rhythm,
            self._runtime,
            self._scratch.path if self._scratch else Path(),
            self._parent_pipe[0],
            self._metrics,
        )

    def _run_premises(self) -> RunPremises:
        return RunPremises(
            self._settings,
            self._database,
            self._store,
            self._cache,
            self._vault,
            self._batch_command,
            self._rhythm,
            self._scratch.path if self._scratch else Path(),
            self._parent_pipe[0],
            self._run_metrics,
            ScriptHouse(self._settings, self._cache, self._vault, self._parent_pipe[0]),
        )

    async def _serve(self) -> None:
        """Term after term, until closed."""
        while not self._closing:
            try:
                if self._supervisor is None:
                    await self._take_up(await self._election.win())
                    log.warning("this is the node of the installation now")
                assert self._supervisor is not None
                assert self._runs is not None
                await _until_one_ends(self._supervisor.run(), self._runs.run())
            except TermOver as error:
                log.warning("another node has taken over (%s): this one ends what it runs and stands by", error)
                await self._abdicate()
            except Exception as error:
                log.log(
                    logging.WARNING if isinstance(error, DatabaseBusy) else logging.ERROR,
                    "the node cannot work, and tries again: %s",
                    error,
                    exc_info=not isinstance(error, DatabaseBusy),
                )
                await asyncio.sleep(AGAIN_S)

    async def _renew(self, term: LeasedTerm) -> None:
        """Stay elected while that is possible."""
        while not term.is_over:
            try:
                await self._election.keep(term)
            except Exception:
                log.exception("the node's lease could not be renewed; it is tried again")
                await asyncio.sleep(AGAIN_S)
        self._wake.set()
        self._wake_runs.set()

    async def _abdicate(self) -> None:
        """The rows belong to the successor, who has declared these replicas failed: end them, and write nothing."""
        if self._supervisor is not None and self._runs is not None:
            await asyncio.gather(self._supervisor.end_processes(self._settings.drain_s), self._runs.end_processes())
        await self._lay_down()

    async def _lay_down(self) -> None:
        renewing, self._renewing, self._supervisor, self._runs = self._renewing, None, None, None
        self._metrics.looked([], 0.0)
        self._run_metrics.looked(0, 0)
        if renewing is not None:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    def _hear(self, signals: frozenset[Signal]) -> None:
        # One without a name says that nobody knows what was said.
        for signal in signals:
            if signal.kind == "placement" and signal.name != "run":
                self._wake.set()
            if signal.kind == "placement" and signal.name in ("run", ""):
                self._wake_runs.set()

    async def _keep_logs_small(self) -> None:
        folders = (log_path(self._settings.data, "any").parent, run_log_path(self._settings.data, "any").parent)
        while True:
            try:
                for folder in folders:
                    await asyncio.to_thread(prune, folder, self._logs(), timedelta(days=self._settings.log_days))
                for _ in range(LOG_CHECKS_PER_PRUNING):
                    for path in self._logs():
                        await asyncio.to_thread(cap, path)
                    await asyncio.sleep(LOG_CHECK_S)
            except OSError as error:  # a full disk: the more must the logs be kept small once there is room
                log.warning("the logs of replicas and runs cannot be kept small now: %s", error)
                await asyncio.sleep(LOG_TROUBLE_S)

    def _logs(self) -> set[Path]:
        """The files that somebody writes to."""
        replicas = {life.place.log_path for life in self.lives.values()}
        return replicas | {life.log_path for life in self.runs.values()}


async def _until_one_ends(*works: Coroutine[None, None, None]) -> None:
    """Both until they are closed; when one fails the other is cancelled, and its processes run on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
