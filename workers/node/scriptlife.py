"""One process of a script from start to end: its reports are kept while it runs, its files when it is gone."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.clock import now_micros
from core.errors import PlatformError, Unavailable
from core.failpoints import failpoint
from core.settings import MIB
from state.reports import Far, NoReport, Report
from state.runplacing import ProcessGone
from state.runspecs import RunSpec
from storage.local import NO_ROOM
from workers.node.asking import unless_asked
from workers.node.endings import Ending, describe, of_memory, with_log
from workers.node.isolation import Lodging, end_left, lodging
from workers.node.keeping import End, Kept, KeptChild, keep
from workers.node.lease import TermOver
from workers.node.logs import cap, last_lines
from workers.node.runturns import LONGEST_PAUSE_S
from workers.node.scriptdesk import ScriptDesk, last_word
from workers.node.scriptfiles import MOST_ENTRIES, ScriptPlace, left_bytes, measure, take_away
from workers.node.scriptprogram import Script, Stage, prepare_script
from workers.node.scriptreports import LONGEST_LINE, read_line

log = logging.getLogger(__name__)

LINES_KEPT = 20
LOOK_S = 0.25  # between two looks at what it has written
TELL_S = 1.0
KEPT_AT_ONCE = 500  # reports of one transaction
GATHER_S = 0.1
CLEARED_S = 15.0  # from the end of its time to nothing left of it
MOST_LOST = 5
BUG = Ending("internal_error", "the node failed; its log has the traceback")
Verdict = Mapping[str, Any]


class ScriptFailed(PlatformError):
    """The script ended otherwise than with exit code 0."""

    status, code, title = 422, "script_failed", "The script failed"


class ScriptOutOfMemory(PlatformError):
    """The script needs more memory than it may have."""

    status, code, title = 422, "out_of_memory", "The memory of the script does not suffice"


class ScriptDiskFull(PlatformError):
    """The script has written more than it may."""

    status, code, title = 422, "script_disk_full", "The script wrote too much"


class ScriptLost(PlatformError):
    """What keeps the script was ended again and again."""

    code, title = "run_crashed", "The script's keeper died again and again"


@dataclass(frozen=True, slots=True)
class Background:
    """What a life is begun with: what is known of those before it, and whether it may begin."""

    former: Mapping[str, Any] | None
    may_begin: Callable[[], bool]
    again_s: float = 0.5  # the pause after a first death


class Stillborn:
    """A life of a script for which there is no place; its run is told why."""

    def __init__(self, desk: ScriptDesk, log_path: Path, error: PlatformError | OSError) -> None:
        self.is_over = False
        self.ending: Verdict | None = None
        self.log_path, self.desk, self._error = log_path, desk, error

    async def run(self) -> None:
        """Say why there is none."""
        refusal = self._error if isinstance(self._error, PlatformError) else ScriptLost(f"no place: {self._error}")
        self.ending = last_word(refusal)
        self.is_over = True

    def stop(self) -> None:
        """There is nothing to end."""

    kill = failed_by_a_bug = stop


class ScriptLife:
    """The process of a script under one epoch; `is_over` and `ending` as of `RunLife`."""

    def __init__(
        self, stage: Stage, spec: RunSpec, desk: ScriptDesk, place: ScriptPlace, background: Background
    ) -> None:
        self.is_over = False
        self.ending: Verdict | None = None
        self.log_path = place.log_path
        self.desk = desk
        self._stage, self._spec, self._place, self._background = stage, spec, place, background
        self._asked = asyncio.Event()
        self._kept: KeptChild | None = None
        self._too_much: ScriptDiskFull | None = None

    def stop(self) -> None:
        """Ask the script to end; its keeper kills what does not."""
        self._asked.set()

    def kill(self) -> None:
        """End it now: its keeper sees to it as soon as it is asked again."""
        self.stop()

    def failed_by_a_bug(self) -> None:
        """A bug of ours ended it: it is tried again, and the log has the traceback."""
        self.ending = self._lost(BUG)

    async def run(self) -> None:
        """Live from start to end; only a bug escapes."""
        try:
            self.ending = await self._live()
        except (ProcessGone, TermOver) as error:
            log.info("a script's process is given up: %s", error)
        except Unavailable as error:
            self.ending = self._lost(Ending(error.code, error.message), counts=False)
        except PlatformError as error:
            self.ending = last_word(error)
        except OSError as error:
            how = Ending("start_failed", f"the script cannot be started: {error}")
            self.ending = self._lost(how, counts=error.errno not in NO_ROOM)
        finally:
            await asyncio.shield(self._clear())
            self.is_over = True

    async def _live(self) -> Verdict | None:
        settings = self._stage.settings
        with ExitStack() as stack:
            name = self._place.desk.name
            most = settings.script_processes
            room = stack.enter_context(lodging(self._stage.isolation, name, self._spec.memory_mb, most))
            reported, reporting = os.pipe()
            reader = stack.enter_context(_Reading(reported, reporting))
            kept = await unless_asked(self._asked, self._prepare(room, reporting))
            if kept is None or not self._background.may_begin():
                return None
            failpoint("run_before_spawn")
            running = self._kept = await keep(kept)
            reader.close_theirs()
            failpoint("run_after_spawn")
            await self.desk.name(running.child.identity)
            try:
                return await self._follow(running, await reader.stream())
            finally:
                await asyncio.shield(self._mop_up(running, room))

    async def _prepare(self, room: Lodging, report_fd: int) -> Kept:
        inputs, checkpoint = await self.desk.inputs()
        script = Script(self._spec, inputs, checkpoint, await self.desk.token())
        return await prepare_script(self._stage, script, self._place, room, report_fd)

    async def _follow(self, running: KeptChild, reports: asyncio.StreamReader) -> Verdict | None:
        ending = asyncio.ensure_future(running.end())
        works = [
            asyncio.create_task(self._end_when_asked(running)),
            asyncio.create_task(self._watch_disk()),
            asyncio.create_task(self._tell_that_it_lives()),
        ]
        reading = asyncio.create_task(self._read(reports))
        try:
            await _until_ended_or_broken(ending, *works, reading)
            if ending.done():
                await asyncio.wait({reading}, timeout=TELL_S)
        finally:
            running.child.signal(signal.SIGTERM)
            for task in (*works, reading):
                task.cancel()
            told = await asyncio.gather(*works, reading, return_exceptions=True)
            await asyncio.wait({ending}, timeout=CLEARED_S)
        for each in told:
            if isinstance(each, Exception):
                raise each
        return await self._judged(await ending)

    async def _mop_up(self, running: KeptChild, room: Lodging) -> None:
        """End what is left where the keeper did not say that nothing is."""
        if running.has_told:
            return
        await asyncio.wait({running.child.ended}, timeout=CLEARED_S)
        running.child.kill()
        await asyncio.to_thread(end_left, room, os.fsencode(self._place.outputs))

    async def _end_when_asked(self, running: KeptChild) -> None:
        await self._asked.wait()
        running.child.signal(signal.SIGTERM)

    async def _watch_disk(self) -> None:
        """End the script when it has written too much, and keep its log small."""
        most_mb = self._stage.settings.script_disk_mb
        pause_s = LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            with suppress(OSError):
                await asyncio.to_thread(cap, self.log_path)
            began = time.monotonic()
            used = await asyncio.to_thread(measure, self._place.writable, most_mb * MIB)
            pause_s = max(LOOK_S, 10 * (time.monotonic() - began))  # many files take long, and predictions wait
            if used.size_bytes > most_mb * MIB or used.entries > MOST_ENTRIES:
                what = f"more than {most_mb} MiB (PORTSIDE_SCRIPT_DISK_MB)"
                if used.size_bytes <= most_mb * MIB:
                    what = f"more than {MOST_ENTRIES} files"
                self._too_much = ScriptDiskFull(f"the script has written {what} into its folders, and was ended")
                self._asked.set()
                return

    async def _tell_that_it_lives(self) -> None:
        while True:
            await self.desk.tell({})
            await asyncio.sleep(10 * TELL_S)

    async def _read(self, reports: asyncio.StreamReader) -> None:
        """Keep what is reported, many at once; the script waits where it is faster than we are."""
        refused, told_at = 0, 0.0
        loop = asyncio.get_running_loop()
        while True:
            lines = await _some_lines(reports)
            if not lines:
                return
            figures: list[Report] = []
            far: Far | None = None
            for line in lines:
                try:
                    found = read_line(line)
                except NoReport as error:
                    refused += 1
                    if refused <= LINES_KEPT:
                        log.info("a report of run %s is not kept: %s", self._spec.run_id, error)
                    continue
                if isinstance(found, Far):
                    far = found
                else:
                    figures.append(found)
            if figures:
                await self.desk.report(figures)
            if far is not None:
                await asyncio.sleep(max(0.0, told_at + TELL_S / 4 - loop.time()))
                await self.desk.tell(far.as_progress())
                told_at = loop.time()

    async def _judged(self, end: End) -> Verdict | None:
        """Keep what it left and say how it ended; nothing where it was asked to end."""
        if await self._leaves_too_much():
            what = f"files of more than {self._stage.settings.script_disk_mb} MiB together (PORTSIDE_SCRIPT_DISK_MB)"
            full = ScriptDiskFull(f"the script has left {what}, holes in them included: none is kept")
            return last_word(self._too_much or full)
        await self.desk.keep_checkpoint(self._place.checkpoint, self._place.desk)
        if self._too_much is not None:
            return last_word(self._too_much)
        if self._asked.is_set():
            return None
        await self.desk.keep_outputs(self._place.outputs)
        await self.desk.tell({"cpu_s": end.cpu_s, "memory_bytes": end.memory_bytes})
        if end.code == 0:
            return {"outcome": "finished"}
        if not end.is_told:
            return self._lost(Ending("keeper_died", "what keeps the script was ended from outside"))
        lines = await asyncio.to_thread(last_lines, self.log_path, LINES_KEPT)
        if end.oom:
            message = with_log(of_memory(end.at_limit > 0, self._spec.memory_mb), lines)
            return last_word(ScriptOutOfMemory(message, last_lines=lines))
        how = describe(end.code if end.code != 65 else 1, lines, self._spec.memory_mb, "script")
        kind = ScriptOutOfMemory if how.reason == "out_of_memory" else ScriptFailed
        most = self._stage.settings.script_processes
        refused = f"it was refused more than {most} processes and threads (PORTSIDE_SCRIPT_PROCESSES); "
        message = (refused if end.refused else "") + (how.message or how.reason)
        return last_word(kind(message, exit_code=end.code, last_lines=lines))

    async def _leaves_too_much(self) -> bool:
        """Files with holes take no room here; in the store they would. And the last look was a while ago."""
        left = (self._place.outputs, self._place.checkpoint)
        return await asyncio.to_thread(left_bytes, left) > self._stage.settings.script_disk_mb * MIB

    def _lost(self, how: Ending, *, counts: bool = True) -> Verdict:
        deaths = int((self._background.former or {}).get("deaths", 0)) + counts
        message = how.message or how.reason
        if deaths >= MOST_LOST:
            return last_word(ScriptLost(f"{deaths} times in a row; the last time: {message}", reason=how.reason))
        pause_s = min(LONGEST_PAUSE_S, self._background.again_s * 2 ** max(0, deaths - 1))
        retry_at = now_micros() + round(pause_s * 1_000_000)
        told = {"deaths": deaths, "retry_at": retry_at, "reason": how.reason, "message": message[-2000:]}
        return {"outcome": "lost", **told}

    async def _clear(self) -> None:
        """Nothing of it is left: neither processes nor files, but for the checkpoint and the log."""
        if self._kept is not None:
            self._kept.child.signal(signal.SIGTERM)
            await asyncio.wait({self._kept.child.ended}, timeout=CLEARED_S)
            self._kept.child.kill()
        await asyncio.to_thread(take_away, self._place)


class _Reading:
    """Our end of the pipe for reports, and theirs until they have it."""

    def __init__(self, reported: int, reporting: int) -> None:
        self._reported, self._reporting = reported, reporting
        self._transport: asyncio.ReadTransport | None = None

    def __enter__(self) -> "_Reading":
        return self

    def __exit__(self, *error: object) -> None:
        self.close_theirs()
        if self._transport is not None:
            self._transport.close()
        else:
            os.close(self._reported)

    def close_theirs(self) -> None:
        """Our copy of the script's end."""
        if self._reporting >= 0:
            os.close(self._reporting)
            self._reporting = -1

    async def stream(self) -> asyncio.StreamReader:
        """The reports."""
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        file = os.fdopen(self._reported, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        return reader


async def _until_ended_or_broken(ending: asyncio.Future[End], *works: asyncio.Task[None]) -> None:
    """Until the first ends, or one of the others fails; that one ends well says nothing."""
    waiting: set[asyncio.Future[Any]] = {ending, *works}
    while waiting and not ending.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if any(each is not ending and each.exception() is not None for each in done):
            return


async def _some_lines(reader: asyncio.StreamReader) -> list[bytes]:
    """The lines that are there, once there is one; nothing at the end."""
    lines: list[bytes] = []
    deadline = asyncio.get_running_loop().time() + GATHER_S
    while len(lines) < KEPT_AT_ONCE:
        wait_s = None if not lines else max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(wait_s):
                line = await reader.readline()
        except TimeoutError:
            break
        except ValueError:  # it has no end: what was read of it is gone
            continue
        if not line:
            break
        if not lines:
            deadline = asyncio.get_running_loop().time() + GATHER_S
        lines.append(line)
    return lines
