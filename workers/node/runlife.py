"""One process of a run from start to end: what it reports is kept, then acknowledged, and how it ended is told."""

import asyncio
import errno
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.clock import now_micros
from core.errors import DiskFull, PlatformError, Unavailable
from core.failpoints import failpoint
from state.ledger import LedgerBroken
from state.runplacing import ProcessGone
from storage.local import NO_ROOM
from workers.lines import LineTooLong
from workers.node.asking import unless_asked
from workers.node.endings import REFUSED, Ending, describe
from workers.node.lease import TermOver
from workers.node.logs import last_lines
from workers.node.processes import Child, Program, spawn
from workers.node.rundesk import Desk
from workers.node.runpipes import RunPipes
from workers.node.runreports import BrokenReport, ChunkDone, Finished, GaveUp, Paused, Rows, Started, read_report
from workers.node.runturns import LONGEST_PAUSE_S
from workers.node.runwatch import Patience, ProgressWatch, RunStalled

log = logging.getLogger(__name__)

GRACE_S = 1.5  # from SIGTERM to SIGKILL: a paused run is gone within two seconds
REST_S = 0.3  # for the chunk that is just being kept when the process has ended as asked
FAREWELL_S = 5.0  # for a process that has said its last word
LINES_KEPT = 20
MOST_DEATHS = 5  # in a row, of processes that brought no chunk
MOST_STALLS = 3  # the same where the last was ended because it got nowhere: each takes minutes
AWAY_DOUBLINGS = 3  # of the first pause, while something is away
# The machine has no room, process, memory or descriptor left for now: nothing that the run has done.
NOT_NOW = NO_ROOM | {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}

BUG = Ending("internal_error", "the node failed; its log has the traceback")

Verdict = Mapping[str, Any]


class RunCrashed(PlatformError):
    """Its processes died again and again over the same chunk."""

    code, title = "run_crashed", "The run's process died again and again"


class RunOutOfMemory(PlatformError):
    """Its processes ran into the memory limit again and again."""

    status, code, title = 422, "out_of_memory", "The memory of the run does not suffice"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a life is begun with: how often others died before it, and which limit it has."""

    former: Mapping[str, Any] | None  # `run_processes.ending`
    memory_mb: int | None
    log_path: Path
    patience: Patience
    again_s: float = 0.5  # the pause after a first death


class RunLife:
    """The process of a run under one epoch. `is_over` when all is over; then `ending` is what the row shall say.

    An `ending` of nothing leaves what the row says: the process was asked to end, or is not the run's any more.
    """

    def __init__(
        self,
        desk: Desk,
        prepare: Callable[[], Awaitable[Program]],
        folder: Path,
        circumstances: Circumstances,
        *,
        may_begin: Callable[[], bool],
        named: Callable[[int], None],
        row_s: Callable[[], float | None],
    ) -> None:
        """`may_begin` is asked right before there is a process, `named` is told its pid, `row_s` is the watch's."""
        self.is_over = False
        self.ending: Verdict | None = None
        self.log_path = circumstances.log_path
        self.desk = desk
        self._prepare, self._folder, self._circumstances = prepare, folder, circumstances
        self._may_begin, self._named, self._row_s = may_begin, named, row_s
        self._asked = asyncio.Event()
        self._child: Child | None = None
        self._word: Finished | GaveUp | Paused | None = None

    @property
    def is_asked(self) -> bool:
        """Whether it was asked to end."""
        return self._asked.is_set()

    def stop(self) -> None:
        """Ask the process to end; it is killed if it does not in time."""
        self._asked.set()

    def kill(self) -> None:
        """End the process now."""
        self.stop()
        if self._child is not None:
            self._child.kill()

    async def run(self) -> None:
        """Live from start to end; only a bug escapes."""
        try:
            self.ending = await self._live()
        except (ProcessGone, TermOver) as error:
            log.info("a run's process is given up: %s", error)
        except Unavailable as error:
            self.ending = self._lost(Ending(error.code, error.message), counts=False)
        except RunStalled as error:
            self.ending = self._lost(Ending(error.code, error.message))
        except PlatformError as error:
            self.ending = _failed(error.as_problem())
        except OSError as error:
            how = Ending("start_failed", f"the run's process cannot be started, or its file not be read: {error}")
            self.ending = self._lost(how, counts=error.errno not in NOT_NOW)
        finally:
            if self._child is not None:
                self._child.kill()
            self.is_over = True

    def failed_by_a_bug(self) -> None:
        """A bug of ours ended it: it is tried again, as after any other death, and the log has the traceback."""
        self.ending = self._lost(BUG)

    async def _live(self) -> Verdict | None:
        program = await unless_asked(self._asked, self._prepare())
        if program is None or not self._may_begin():
            return None
        failpoint("run_before_spawn")
        with RunPipes() as pipes:
            child = self._child = await spawn(pipes.given_to(program))
            pipes.close_theirs()
            failpoint("run_after_spawn")
            self._named(child.identity.pid)
            if await unless_asked(self._asked, self._name(child)) is None:
                return None
            return await self._follow(child, pipes)

    async def _name(self, child: Child) -> bool:
        await self.desk.name(child.identity)
        return True

    async def _follow(self, child: Child, pipes: RunPipes) -> Verdict | None:
        watch = ProgressWatch(child.identity.pid, self._circumstances.patience, self._row_s)
        reading = asyncio.create_task(self._read(pipes, watch))
        try:
            await self._until_ended(child, reading, pipes)
            code = await child.ended
            await asyncio.wait({reading}, timeout=REST_S)
            if reading.done() and (error := reading.exception()) is not None:
                raise error
        finally:  # however we leave: what is read would be acknowledged on a pipe that is closed by then
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return await self._judged(code)

    async def _until_ended(self, child: Child, reading: asyncio.Task[None], pipes: RunPipes) -> None:
        """Until the process has ended by itself, or was asked to, or what it reports cannot be kept."""
        asked = asyncio.create_task(self._asked.wait())
        turns: set[asyncio.Future[Any]] = {child.ended, reading, asked}
        try:
            await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
            if self.is_asked:
                child.signal(signal.SIGTERM)
                await asyncio.wait({child.ended}, timeout=GRACE_S)
            elif reading.done() and reading.exception() is None:
                await asyncio.wait(turns - {reading}, timeout=FAREWELL_S, return_when=asyncio.FIRST_COMPLETED)
            elif not reading.done():
                # It has ended by itself: what it reported before is as good as ever.
                child.kill()
                pipes.reports.end_when_empty()
                await asyncio.wait({reading, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            child.kill()  # also what it has left behind in its process group

    async def _read(self, pipes: RunPipes, watch: ProgressWatch) -> None:
        """Keep what is reported until its last word. Raises what cannot be kept, `RunStalled`."""
        while line := await watch.unless_stalled(partial(_line_of, pipes)):
            if not line.endswith(b"\n"):
                return  # it died over it
            report = read_report(line)
            if isinstance(report, ChunkDone):
                await self.desk.keep(report, self._folder)
                pipes.acknowledge(report.chunk)
            elif isinstance(report, Started):
                await self.desk.begun(report)
            elif isinstance(report, Rows):
                await self.desk.scored(report.rows)
            else:
                self._word = report
                return  # its last one: whatever keeps it from ending (a thread, a Java machine) has its time

    async def _judged(self, code: int) -> Verdict | None:
        if isinstance(self._word, Finished):
            return await self._finished(self._word)
        if isinstance(self._word, GaveUp) and self._word.problem.get("code") == DiskFull.code:
            return self._lost(Ending(DiskFull.code, str(self._word.problem.get("detail"))), counts=False)
        if isinstance(self._word, GaveUp):
            return _failed(_problem(self._word.problem))
        if self.is_asked:
            return None
        lines = await asyncio.to_thread(last_lines, self._circumstances.log_path, LINES_KEPT)
        how = describe(code, lines, self._circumstances.memory_mb, "run")
        if code == REFUSED:
            return _failed(_problem({"code": how.reason, "detail": how.message or how.reason}))
        return self._lost(how)

    async def _finished(self, word: Finished) -> Verdict:
        done = (await self.desk.mark()).tally
        if (done.rows_in, done.rows_out, done.bad, done.chunks) != (word.rows_in, word.rows_out, word.bad, word.chunks):
            raise LedgerBroken(f"the run's process says {word}, its ledger has {done}")
        return {"outcome": "finished"}

    def _lost(self, how: Ending, *, counts: bool = True) -> Verdict:
        """What is to be written of a death: another try after a while, or the end after too many in a row.

        What was only away `counts` not: it will come back, and so will the run.
        """
        former = self._circumstances.former or {}
        deaths = (0 if self.desk.kept else int(former.get("deaths", 0))) + counts
        message = how.message or how.reason
        is_stalled = how.reason == RunStalled.code
        if deaths >= (MOST_STALLS if is_stalled else MOST_DEATHS):
            kind = RunStalled if is_stalled else RunOutOfMemory if how.reason == "out_of_memory" else RunCrashed
            what = "got nowhere or died" if is_stalled else "died"
            said = f"{deaths} processes of the run {what} one after the other without another chunk; the last one "
            return _failed(kind(said + message, reason=how.reason, last_lines=message).as_problem())
        doublings = max(0, deaths - 1) if counts else AWAY_DOUBLINGS
        pause_s = min(LONGEST_PAUSE_S, self._circumstances.again_s * 2**doublings)
        retry_at = now_micros() + round(pause_s * 1_000_000)
        told = {"deaths": deaths, "retry_at": retry_at, "reason": how.reason, "message": message[-2000:]}
        return {"outcome": "lost", **told}


async def _line_of(pipes: RunPipes) -> bytes:
    try:
        return await pipes.reports.readline()
    except LineTooLong as error:
        raise BrokenReport(f"the run's process reports {error}") from error


def _failed(problem: Mapping[str, Any]) -> Verdict:
    return {"outcome": "failed", "problem": dict(problem)}


def _problem(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the process says, as a problem document of ours."""
    code = str(told.get("code", "internal_error"))[:80]
    document = {
        **told,
        "type": f"urn:portside:problem:{code}",
        "code": code,
        "status": 422,
    }
    return {"title": "The run cannot go on", "detail": code, **document}
