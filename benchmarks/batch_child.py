"""A batch scorer under measurement: a child like the platform's, whose chunks are thrown away and acknowledged."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.platform import ROOT, Broken

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Scored:
    """A run from the moment in which it could begin: by the clock, in time of the processor, and its largest memory."""

    rows: int
    wall_s: float
    processor_s: float
    peak_mib: float


def score(model: Path, plan: Mapping[str, object], folder: Path, *, warm_up_chunks: int = 0) -> Scored:
    """Run a plan to its end; the first so many chunks are not counted. Raises `Broken`."""
    folder.mkdir(exist_ok=True)
    file = folder / "plan.json"
    file.write_text(json.dumps(plan), "utf-8")
    reports, report_fd = os.pipe()
    ack_fd, acks = os.pipe()
    command = [sys.executable, "-m", "serving", "batch", "--model", str(model), "--plan", str(file)]
    command += ["--output", str(folder), "--report-fd", str(report_fd), "--ack-fd", str(ack_fd)]
    child = subprocess.Popen(command, cwd=ROOT, pass_fds=(report_fd, ack_fd))
    os.close(report_fd)
    os.close(ack_fd)
    begun_s = processor_s = last_s = took_s = peak_mib = 0.0
    rows = 0
    with os.fdopen(reports, "rb") as lines:
        for line in lines:
            report = json.loads(line)
            if report["type"] == "started":
                begun_s, processor_s = time.monotonic(), _processor_s(child.pid)
            elif report["type"] == "chunk":
                peak_mib = _peak_mib(child.pid)
                last_s = _processor_s(child.pid)
                rows += report["rows_in"]
                if report["chunk"] + 1 == warm_up_chunks:
                    begun_s, processor_s, rows = time.monotonic(), last_s, 0
                os.write(acks, json.dumps({"chunk": report["chunk"]}).encode() + b"\n")
            elif report["type"] == "finished":
                took_s = time.monotonic() - begun_s
            elif report["type"] == "failed":
                raise Broken(report["problem"]["detail"])
    os.close(acks)
    if child.wait():
        raise Broken(f"the scorer ended with {child.returncode}")
    return Scored(rows, took_s, last_s - processor_s, peak_mib)


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
