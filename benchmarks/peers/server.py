"""A server under measurement: started on its core, found ready by its own answer, ended with all that it started."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

import psutil

from benchmarks.peers.workloads import Ask
from benchmarks.platform import ROOT, Broken, processor_s
from benchmarks.wire import Connection
from deploy.stack.child import Child, StackFailed

READY_S = 120.0
ANSWER_S = 10.0
STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers find the models and put what they write; the cores of servers and of the load."""

    models: Path
    scratch: Path
    server_core: int
    load_core: int

    def folder(self, name: str) -> Path:
        """A folder of a server's own."""
        folder = self.scratch / name
        folder.mkdir()
        return folder


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers: what it can be asked, by the names of workloads, and which processes work on each."""

    name: str
    asks: Mapping[str, Ask]
    pids: Mapping[str, Sequence[int]]
    version: str
    ready_s: float | None = None  # from its start to its first answer

    @classmethod
    def of_family(cls, name: str, asks: Mapping[str, Ask], pid: int, version: str, ready_s: float) -> Self:
        """One whose process, with all that it has started, answers everything."""
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return cls(name, asks, dict.fromkeys(asks, family), version, ready_s)

    def processor_s(self, workload: str) -> float:
        """The processor time that these processes have used."""
        return processor_s(self.pids[workload])

    def resident_bytes(self, workload: str) -> int:
        """What they hold in memory; pages that they share count in each."""
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids[workload])


Starter: TypeAlias = Callable[[Place], AbstractContextManager[Server]]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in the block stays on this core: children inherit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def started(
    place: Place, name: str, command: Sequence[str], first: Ask, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[int, float]]:
    """A process that answers the first request with 200; its id, and how long that took. Raises `Broken`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place.scratch), **(settings or {})}
    with on_core(place.server_core):
        began = time.perf_counter()
        child = Child.start(command, place.scratch / f"{name}.log", environment=environment, folder=place.scratch)
    try:
        child.await_ready(lambda: _answers(first), READY_S, name)
        yield child.pid, time.perf_counter() - began
    except StackFailed as error:
        raise Broken(_last_line(str(error))) from error
    finally:
        _end(child)


def locked_version(lock: str, package: str) -> str:
    """What a lock pins."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    found = re.search(rf"^{re.escape(package)}==(\S+)", text, re.MULTILINE)
    return found[1] if found else "?"


def _answers(first: Ask) -> bool:
    with suppress(OSError), Connection(("127.0.0.1", first.port), ANSWER_S) as connection:
        return connection.exchange(first.http()).status == 200
    return False


def _end(child: Child) -> None:
    try:
        family = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    child.stop(STOP_S)
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def _last_line(said: str) -> str:
    """What failed, and what its log ends with."""
    what, *log = [line for line in said.splitlines() if line.strip()]
    return f"{what} {log[-2]}"[:300] if len(log) > 1 else what  # the last one names the log, which will be gone
