"""The node's work for runs in one term: compares what is wanted with the processes, level-triggered.

A start is committed, as the run's next epoch, before there is a process; what the process does is kept by its `Desk`.
Several run at once; who is beyond that waits for its turn (`workers.node.runturns`). When the platform stops they end,
and go on at its next start: the rows still want them.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import cpu_count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from core.clock import now_micros
from core.errors import DatabaseBusy, PlatformError
from core.logs import log_context
from core.secrets import Vault
from core.settings import Settings
from state.database import Database, Session
from state.queries.runqueue import Queue, led_runs, queue_of_runs, runs_with_process
from state.runplacing import (
    ProcessGone,
    WantedRun,
    begin_process,
    end_process,
    placed_runs,
    see_run,
)
from state.runspecs import RunSpec
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from workers.node.keeping import is_keeper
from workers.node.lease import Term, TermOver
from workers.node.life import Rhythm
from workers.node.logs import run_log_path
from workers.node.looks import Looks, read_rows
from workers.node.processes import Identity, Program, start_time, sweep
from workers.node.rundesk import Desk, Offices
from workers.node.runlife import GRACE_S, Circumstances, RunLife
from workers.node.runmetrics import RunMetrics
from workers.node.runprogram import BatchCommand, Beginning, RunPlace, prepare_run
from workers.node.runprogress import ProgressTeller
from workers.node.runturns import LONGEST_PAUSE_S, RunTurns
from workers.node.runwatch import Patience
from workers.node.scriptdesk import ScriptDesk
from workers.node.scriptlife import Background, ScriptLife, Stillborn
from workers.node.scripts import ScriptHouse
from workers.node.sockets import SHORT_ID, remove_folder

log = logging.getLogger(__name__)
AFTER_BUG_S = 10.0
KILL_S = 2.0
Life = RunLife | ScriptLife | Stillborn
KEEPERS_S = 5.0  # keepers of a former life end by themselves, after all that they keep
CARE_S = 60.0  # between two looks for checkpoints that nobody needs
COUNT_S = 1.0  # between two looks at those that wait, while there is no room for them
LONGEST_REST = int(2 * LONGEST_PAUSE_S * 1_000_000)  # twice any pause is a clock that was set back


@dataclass(frozen=True, slots=True)
class RunPremises:
    """What runs are made from and where: the same in every term of a node."""

    settings: Settings
    database: Database
    store: ArtifactStore
    cache: ArtifactCache
    vault: Vault
    command: BatchCommand
    rhythm: Rhythm
    scratch: Path
    parent_fd: int
    metrics: RunMetrics
    scripts: ScriptHouse

    @property
    def at_once(self) -> int:
        """How many processes there may be at a time."""
        return self.settings.runs_at_once or cpu_count() or 1

    def place(self, run_id: str, epoch: int) -> RunPlace:
        """Where one process lives."""
        folder = self.scratch / f"{run_id[-SHORT_ID:]}-{epoch}"
        return RunPlace(folder, run_log_path(self.settings.data, run_id), self.settings.cache, self.parent_fd)


class RunSupervisor:
    """Runs what the rows want until its term is over or it is closed. `wake` is set by whoever has news."""

    def __init__(self, premises: RunPremises, term: Term, wake: asyncio.Event) -> None:
        self._premises, self._term, self._wake = premises, term, wake
        self._database, self._rhythm = premises.database, premises.rhythm
        self._lives: dict[str, tuple[int, Life]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks = Looks("which runs are wanted", term, wake)
        self._turns = RunTurns()
        self._again_at: dict[str, float] = {}  # runs that a bug keeps from being looked after
        self._cared_at = self._counted_at = 0.0

    @property
    def lives(self) -> Mapping[str, Life]:
        """The processes by their runs' ids."""
        return {run_id: life for run_id, (_, life) in self._lives.items()}

    async def begin(self) -> None:
        """End what the node before has left. Raises `DatabaseBusy` and `TermOver`."""
        async with self._database.read() as session:
            left = await runs_with_process(session)
        former = [Identity(row.pid, row.process_started, row.boot_id) for row in left if row.pid is not None]
        killed = await asyncio.to_thread(_sweep, former)
        if killed:
            log.warning("ended processes of runs of a former life: %s", ", ".join(map(str, killed)))
        for row in left:
            await self._forget(row)
        await asyncio.to_thread(self._premises.scripts.clean)

    async def run(self) -> None:
        """Look again and again. Raises `TermOver`."""
        await self._looks.run(self._look)

    def close(self) -> None:
        """Look no more."""
        self._looks.close()

    async def end(self) -> None:
        """End every process and say so; the rows still want them, so that the next start goes on."""
        self._looks.close()
        await self.end_processes()
        try:
            for run_id, (epoch, life) in list(self._lives.items()):
                await self._record(run_id, epoch, life)
        except (PlatformError, TermOver) as error:
            log.warning("the end of the runs' processes is not recorded, the next start does it: %s", error)

    async def end_processes(self) -> None:
        """End every process and write nothing but what they had done."""
        for life in self.lives.values():
            life.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE_S + KILL_S)
        for life in self.lives.values():
            life.kill()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_S)

    async def _look(self) -> float:
        """Look at everything once; answers after how many seconds to look again unless called before."""
        rows, queue = await read_rows(self._database, self._read)
        for run_id, (epoch, life) in list(self._lives.items()):
            row = rows.get(run_id)
            if life.is_over:
                await self._alone(run_id, self._record(run_id, epoch, life))
            elif row is None or row.epoch != epoch or not row.wanted:
                life.stop()
        await self._care()
        return self._rhythm.idle_s if queue is None else await self._serve(rows, queue)

    async def _read(self, session: Session) -> tuple[dict[str, WantedRun], Queue | None]:
        """How those that are here are wanted, and who waits: where there is room for one, else once in a while, for
        nothing comes of it but a figure."""
        free = self._premises.at_once - sum(not life.is_over for life in self.lives.values())
        rows = {row.run_id: row for row in await led_runs(session, list(self._lives))}
        if free <= 0 and monotonic() < self._counted_at + COUNT_S:
            return rows, None
        self._counted_at = monotonic()
        self._again_at = {run_id: at for run_id, at in self._again_at.items() if at > monotonic()}
        most = free + len(self._again_at) if free > 0 else 0  # those that a bug keeps from beginning hold up nobody
        return rows, await queue_of_runs(session, list(self._lives), most, now_micros(), LONGEST_REST)

    async def _serve(self, rows: Mapping[str, WantedRun], queue: Queue) -> float:
        """Begin what there is room for; answers as a look does."""
        for row in queue.unled:  # what was recorded and what we know went apart
            await self._alone(row.run_id, self._forget(row))
        before = len(self._lives)
        for row in self._turns.among(queue.first, [rows[run_id] for run_id in self._lives if run_id in rows]):
            if len(self._lives) >= self._premises.at_once or self._looks.is_closed:
                break
            await self._alone(row.run_id, self._begin(row))
        self._premises.metrics.looked(len(self._lives), queue.count - (len(self._lives) - before))
        if queue.next_at is None:
            return self._rhythm.idle_s
        return min(self._rhythm.idle_s, max(0.0, (queue.next_at - now_micros()) / 1_000_000))

    async def _alone(self, run_id: str, work: Coroutine[None, None, None]) -> None:
        """Look after one run: what is wrong with it is no reason to leave the others alone."""
        if self._again_at.get(run_id, 0.0) > time.monotonic():
            work.close()
            return
        try:
            await work
            self._again_at.pop(run_id, None)
        except (TermOver, DatabaseBusy):
            raise
        except Exception:
            log.exception("the node cannot look after %s; it tries again in %g s", run_id, AFTER_BUG_S)
            self._again_at[run_id] = time.monotonic() + AFTER_BUG_S

    async def _care(self) -> None:
        """Remove checkpoints of runs that have ended."""
        if monotonic() < self._cared_at + CARE_S:
            return
        self._cared_at = monotonic()
        ids = await asyncio.to_thread(self._premises.scripts.checkpoints)
        if ids:
            async with self._database.read() as session:
                ended = set(ids) - await placed_runs(session, ids)
            await asyncio.to_thread(self._premises.scripts.forget, ended)

    async def _forget(self, row: WantedRun) -> None:
        """Say that the process which the row names is not there."""
        identity = Identity(row.pid or 0, row.process_started, row.boot_id)
        await asyncio.to_thread(_sweep, [identity])
        async with self._database.write() as session:
            await self._term.fence(session)
            await end_process(session, row.run_id, row.epoch, None, is_found_dead=True)

    async def _begin(self, row: WantedRun) -> None:
        place = self._premises.place(row.run_id, row.epoch + 1)
        async with self._database.write() as session:
            await self._term.fence(session)
            spec = await begin_process(session, row, str(place.log_path))
            seen = await see_run(session, row.run_id)
        if spec is None:
            self._wake.set()  # a newer wish came meanwhile
            return
        self._turns.began(row.tenant_id)
        epoch = row.epoch + 1
        life = self._life(row, spec, seen.progress, place)
        self._lives[row.run_id] = epoch, life
        self._premises.metrics.started()
        with log_context(resource_type="run", resource_id=row.run_id, resource_name=spec.name):
            task = asyncio.create_task(self._keep(life, row.run_id, place), name=f"run-{row.run_id}-{epoch}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _life(self, row: WantedRun, spec: RunSpec, before: Mapping[str, Any], place: RunPlace) -> Life:
        """The process that is to begin under the next epoch."""
        premises, epoch = self._premises, row.epoch + 1
        offices = Offices(self._database, premises.store, self._term, premises.metrics)
        teller = ProgressTeller(before)
        desk = Desk(offices, row.run_id, epoch, teller)
        if spec.script is not None:
            background = Background(row.ending, self._term.is_certain, self._rhythm.run_again_s)
            house, told = premises.scripts, ScriptDesk(desk, row.run_id, epoch)
            try:
                return ScriptLife(house.stage(), spec, told, house.place(row.run_id, place), background)
            except (PlatformError, OSError) as error:
                return Stillborn(told, place.log_path, error)
        return RunLife(
            desk,
            partial(self._prepare, spec, desk, teller, place),
            place.output,
            Circumstances(
                row.ending,
                spec.memory_mb,
                place.log_path,
                Patience.of(premises.settings.run_stall_s),
                self._rhythm.run_again_s,
            ),
            may_begin=self._term.is_certain,
            named=teller.named,
            row_s=teller.row_s,
        )

    async def _prepare(self, spec: RunSpec, desk: Desk, teller: ProgressTeller, place: RunPlace) -> Program:
        mark = await desk.mark()
        chunk_rows = teller.resumed(mark.tally.rows_in) or spec.batch["chunk_rows"]
        beginning, premises = Beginning(mark, chunk_rows, await desk.inputs()), self._premises
        return await prepare_run(spec, beginning, place, premises.cache, premises.vault, premises.command)

    async def _keep(self, life: Life, run_id: str, place: RunPlace) -> None:
        try:
            await life.run()
        except Exception:
            log.exception("the node failed at the process of %s", run_id)
            life.failed_by_a_bug()
        self._wake.set()  # first: a folder of many files takes its time, and a pause waits for us
        await asyncio.to_thread(remove_folder, place.folder)

    async def _record(self, run_id: str, epoch: int, life: Life) -> None:
        """Write how a process ended, unless the run has another one by now."""
        try:
            await life.desk.end(life.ending)
        except ProcessGone as error:
            log.info("how a process of a run ended is of no interest: %s", error)
        del self._lives[run_id]
        ending = life.ending or {}
        if ending.get("outcome") == "lost":
            self._premises.metrics.died(ending["reason"])
            log.warning("a process of run %s died: %s", run_id, ending["message"])
        elif "outcome" in ending:
            self._premises.metrics.judged(ending["outcome"])
        self._wake.set()


def _sweep(former: Sequence[Identity]) -> list[int]:
    """End what a former life has left; keepers first get the time to end what they keep."""
    deadline = monotonic() + KEEPERS_S
    for each in former:
        while each.started and is_keeper(each.pid) and start_time(each.pid) == each.started and monotonic() < deadline:
            sleep(0.02)
    return sweep(former)
