"""The platform's side of a run, as small as can be: a ledger in memory that keeps what a real child reports.

A chunk is kept together with where the next one begins, and then acknowledged; a killed child's successor is told so.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE_S = 120.0
PROGRAM = ("-m", "serving")
Report = dict[str, object]


def with_limits(grace_s: float, last_s: float) -> Sequence[str]:
    """The program with other times for an end than its own, whose tests would show how busy the machine is."""
    limits = f"run.GRACE_S, command._LAST_S = {grace_s}, {last_s}"
    begin = "runpy.run_module('serving', run_name='__main__')"
    return ("-c", f"import runpy; from serving.batch import command, run; {limits}; {begin}")


def with_small_steps() -> Sequence[str]:
    """The program, which tells of its progress whenever it can, and passes over what was read before in small steps."""
    steps = "run._PROGRESS_S, streams._SKIPPED_BYTES = 0.0, 4096"
    begin = "runpy.run_module('serving', run_name='__main__')"
    return ("-c", f"import runpy; from serving.batch import run; from serving.data import streams; {steps}; {begin}")


@dataclass(slots=True)
class Ledger:
    """What was kept of a run's chunks, in order."""

    parts: list[bytes] = field(default_factory=list)
    bad: list[bytes] = field(default_factory=list)
    chunks: list[Report] = field(default_factory=list)

    @property
    def resume(self) -> Report | None:
        """What the next child is told."""
        if not self.chunks:
            return None
        sums = {name: sum(int(str(each[name])) for each in self.chunks) for name in ("rows_in", "rows_out", "bad")}
        return {"position": self.chunks[-1]["next"], "chunks": len(self.chunks), **sums}

    @property
    def bad_rows(self) -> list[Report]:
        """Every line of the side files."""
        return [json.loads(line) for each in self.bad for line in each.splitlines()]

    def keep(self, report: Report, folder: Path) -> None:
        """Keep a chunk."""
        assert report["chunk"] == len(self.chunks), "chunks are reported in order, each once"
        rows = sum(int(str(each["rows_in"])) for each in self.chunks)
        assert report["first_row"] == rows, "a chunk begins where the one before it ended"
        self.parts.append((folder / str(report["file"])).read_bytes())
        bad_file = report["bad_file"]
        self.bad.append(b"" if bad_file is None else (folder / str(bad_file)).read_bytes())
        self.chunks.append(report)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended, and what it reported beside its chunks."""

    status: int
    reports: Sequence[Report]
    seconds: float  # from when it could begin
    log: str  # what it wrote on stderr

    def told(self, kind: str) -> Report:
        """The one report of this kind."""
        (found,) = [each for each in self.reports if each["type"] == kind]
        return found


class Child:
    """A scorer's process with both pipes."""

    def __init__(
        self,
        root: Path,
        model: Path,
        plan: Mapping[str, object],
        folder: Path,
        *options: str,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder.with_suffix(".plan.json")
        file.write_text(json.dumps(plan), "utf-8")
        self._reports, report_fd = os.pipe()
        ack_fd, self._acks = os.pipe()
        command = [sys.executable, *program, "batch", "--model", str(model), "--plan", str(file)]
        command += ["--output", str(folder), "--report-fd", str(report_fd), "--ack-fd", str(ack_fd), *options]
        self.process = subprocess.Popen(
            command, cwd=root, pass_fds=(report_fd, ack_fd), stderr=subprocess.PIPE, start_new_session=True
        )
        os.close(report_fd)
        os.close(ack_fd)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing of it is left, also after a failure."""
        if self.process.stderr is not None and not self.process.stderr.closed:
            self.process.kill()
            self.process.communicate()
        self.hang_up()
        self.look_away()

    def reports(self, until: float) -> list[Report] | None:
        """What it has reported, as soon as there is something; nothing where it has closed the pipe."""
        readable, _, _ = select.select([self._reports], [], [], max(0.0, until - time.monotonic()))
        if not readable:
            return []
        data = os.read(self._reports, 65536)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def acknowledge(self, chunk: object) -> None:
        """Say that a chunk is kept; a child that has gone does not hear it."""
        try:
            os.write(self._acks, json.dumps({"chunk": chunk}).encode() + b"\n")
        except BrokenPipeError:
            return

    def hang_up(self) -> None:
        """Close the pipe of acknowledgements, as a platform that ends does."""
        if self._acks >= 0:
            os.close(self._acks)
            self._acks = -1

    def look_away(self) -> None:
        """Close the pipe of reports."""
        if self._reports >= 0:
            os.close(self._reports)
            self._reports = -1

    def ended(self) -> tuple[int, str]:
        """Its status and what it wrote on stderr; it is waited for."""
        _, said = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, said.decode()


@dataclass(frozen=True, slots=True)
class Platform:
    """Runs plans of a model."""

    root: Path
    model: Path
    folder: Path
    program: Sequence[str] = PROGRAM

    def run(
        self,
        plan: Mapping[str, object],
        ledger: Ledger,
        *,
        kill_after_s: float | None = None,
        ends: Callable[[Report], int | None] = lambda report: None,
        keeps: bool = True,
    ) -> Ended:
        """Run a child until it ends. It is killed some time after it could begin (with a time below zero while it loads
        its model), or sent the signal that `ends` answers to a report.

        `keeps`: chunks are kept and acknowledged at once.
        """
        plan, told, chunks = {**plan, "resume": ledger.resume}, list[Report](), self.folder / "chunks"
        with Child(self.root, self.model, plan, chunks, program=self.program) as child:
            begun = time.monotonic()
            killed_at = begun + (DEADLINE_S if kill_after_s is None or kill_after_s >= 0 else -kill_after_s)
            while (reports := child.reports(killed_at)) is not None:
                if time.monotonic() >= killed_at:
                    child.process.kill()
                for report in reports:
                    if report["type"] == "chunk" and keeps:
                        ledger.keep(report, chunks)
                        child.acknowledge(report["chunk"])
                    elif report["type"] == "started":
                        begun = time.monotonic()
                        killed_at = begun + (DEADLINE_S if kill_after_s is None else kill_after_s)
                    told.append(report)
                    if (number := ends(report)) is not None:
                        child.process.send_signal(number)
            status, said = child.ended()
        assert status in (0, 65, -signal.SIGKILL, -signal.SIGALRM), said
        return Ended(status, told, time.monotonic() - begun, said)
