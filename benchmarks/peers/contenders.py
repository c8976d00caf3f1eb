"""What takes part in a measurement: a server under the load generator, or the engine called in process."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import psutil

from benchmarks.peers.checks import right_answer_bytes
from benchmarks.peers.load import Generator
from benchmarks.peers.plan import Workload
from benchmarks.peers.server import Place, Server, on_core
from benchmarks.platform import ROOT, Broken

LATE_S = 120.0
LEAST_SHARE = 0.8  # of the bytes of a good answer: an error over gRPC is a 200, and shorter


@dataclass(frozen=True, slots=True)
class Sample:
    """What one cell of the plan showed in one round."""

    per_s: float
    p50_us: float
    p99_us: float
    processor_us: float  # of the server's processes, for one request
    resident_bytes: int


class Contender(Protocol):
    """Answers workloads."""

    @property
    def name(self) -> str:
        """As it is called in tables."""
        ...

    @property
    def version(self) -> str:
        """Of the package that is measured."""
        ...

    @property
    def ready_s(self) -> float | None:
        """From its start to its first answer."""
        ...

    def measure(self, workload: Workload, seconds: float, per_s: float | None = None) -> Sample:
        """Some seconds of a workload, as fast as it goes or at a rate. Raises `Broken`."""
        ...


class Served:
    """A server and the load on it."""

    def __init__(
        self, server: Server, generator: Generator, place: Place, expected: Mapping[str, Sequence[float]]
    ) -> None:
        """`expected` are the right answers by workload."""
        self.name, self.version, self.ready_s = server.name, server.version, server.ready_s
        self._server, self._generator, self._core = server, generator, place.load_core
        self._expected, self._answer_bytes = expected, dict[str, int]()
        self._bodies = {
            name: ask.write(place.scratch, f"{server.name}-{name}".replace(" ", "-"))
            for name, ask in server.asks.items()
        }

    def measure(self, workload: Workload, seconds: float, per_s: float | None = None) -> Sample:
        """Some seconds of load. Raises `Broken` where requests fail."""
        try:
            return self._measure(workload, seconds, per_s)
        except (OSError, psutil.Error) as error:
            raise Broken(f"it cannot be measured any more: {error}") from error

    def _measure(self, workload: Workload, seconds: float, per_s: float | None) -> Sample:
        ask = self._server.asks[workload.ask]
        if workload.ask not in self._answer_bytes:
            self._answer_bytes[workload.ask] = right_answer_bytes(ask, self._expected.get(workload.ask))
        before = self._server.processor_s(workload.ask)
        found = self._generator.send(
            ask,
            self._bodies[workload.ask],
            self._core,
            connections=workload.connections,
            streams=workload.streams,
            seconds=seconds,
            per_s=per_s,
        )
        spent = self._server.processor_s(workload.ask) - before
        if found.body_bytes < LEAST_SHARE * self._answer_bytes[workload.ask] * found.requests:
            raise Broken("answers under load are shorter than the one that was right")
        resident = self._server.resident_bytes(workload.ask)
        return Sample(found.per_s, found.p50_us, found.p99_us, 1e6 * spent / found.requests, resident)


class Bare:
    """The engine in a process of its own, which does nothing but call it."""

    name = "engine in process"
    ready_s = None

    def __init__(self, process: "subprocess.Popen[str]", version: str) -> None:
        self._process, self.version = process, version

    def measure(self, workload: Workload, seconds: float, per_s: float | None = None) -> Sample:
        """Some seconds of calls. Raises `Broken`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with _at_most(self._process, seconds + LATE_S):
                self._process.stdin.write(f"{seconds}\n")
                self._process.stdin.flush()
                told = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise Broken(f"the engine's process has ended, or was too late: {error}") from error
        calls, resident = told["calls"], psutil.Process(self._process.pid).memory_info().rss
        spent_us = 1e6 * told["processor_s"] / calls
        return Sample(calls / told["seconds"], 1e6 * told["p50"], 1e6 * told["p99"], spent_us, resident)


@contextmanager
def bare(place: Place, workload: str, version: str) -> Iterator[Bare]:
    """The engine, warm."""
    with on_core(place.server_core), (place.scratch / f"bare-{workload}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.bare", str(place.models), workload],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        with _at_most(process, LATE_S):
            while (line := process.stdout.readline()) != "warm\n":  # Java may have something to say
                if not line:
                    raise Broken("the engine's process did not start")
        yield Bare(process, version)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _at_most(process: "subprocess.Popen[str]", seconds: float) -> Iterator[None]:
    """Who waits for a line of a process in the block waits no longer: it is killed then, and its output ends."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
