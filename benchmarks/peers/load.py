"""The load generator, h2load of nghttp2: HTTP/1.1 and gRPC's HTTP/2 from one compiled program, one core.

Found by PORTSIDE_BENCH_H2LOAD, then on PATH, then taken from Debian's packages into the cache, in seconds and without
installing it.
Quantiles are exact: they are read from its log of every request. At a given rate it measures from when a request was
sent, not from when it was due, which spares those servers that stall.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import quantile
from benchmarks.peers.environments import alone, cache_folder
from benchmarks.peers.server import on_core
from benchmarks.peers.workloads import Ask
from benchmarks.platform import Broken
from deploy.stack.child import StackFailed
from deploy.stack.parts import named

VARIABLE = "PORTSIDE_BENCH_H2LOAD"
# What nghttp2-client needs beyond what any Debian has.
PACKAGES = ("nghttp2-client", "libev4", "libc-ares2", "libjemalloc2", "libjansson4", "libnghttp2-14", "libxml2")
LATE_S = 30.0
SUCCEEDED = re.compile(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")
FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s),")
DATA = re.compile(r"\((\d+)\) data")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of some seconds of load."""

    requests: int
    seconds: float
    body_bytes: int  # of all answers
    p50_us: float
    p99_us: float

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Generator:
    """The program, and the environment in which it finds its libraries."""

    program: Path
    settings: Mapping[str, str]
    version: str

    def send(
        self, ask: Ask, body: Path, core: int, *, connections: int, streams: int, seconds: float, per_s: float | None
    ) -> Answered:
        """Ask for some seconds, as fast as answers come or at a rate. Raises `Broken` where a request failed."""
        with tempfile.TemporaryDirectory(prefix="portside-bench-") as folder:
            log = Path(folder) / "requests"
            options = ["--h1", "-m1"] if not ask.is_grpc else [f"-m{streams}"]
            options += [f"-c{connections}", f"-D{round(seconds * 1000)}ms", f"-d{body}", f"--log-file={log}"]
            options += [f"--rps={per_s / connections:.3f}"] if per_s else []
            options += [word for name, value in ask.headers.items() for word in ("-H", f"{name}: {value}")]
            command = [str(self.program), *options, f"http://127.0.0.1:{ask.port}{ask.path}"]
            with on_core(core):
                said = self._run(command, seconds)
            return read(said, log.read_text("ascii").splitlines())

    def _run(self, command: Sequence[str], seconds: float) -> str:
        settings = {**os.environ, **self.settings}
        try:
            done = subprocess.run(
                command, env=settings, capture_output=True, text=True, timeout=seconds + LATE_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise Broken("the load did not end") from None
        if done.returncode:
            raise Broken(f"h2load failed: {done.stderr.strip()[-200:]}")
        return done.stdout


def read(said: str, log: Sequence[str]) -> Answered:
    """What h2load printed and logged. Raises `Broken` where requests failed, or none was answered."""
    counts, took, data = SUCCEEDED.search(said), FINISHED.search(said), DATA.search(said)
    if counts is None or took is None or data is None:
        raise Broken(f"h2load said something else: {said.strip()[-200:]}")
    done, succeeded, failed, errored = map(int, counts.groups())
    if failed or errored:
        raise Broken(f"{failed + errored} of {done} requests failed")
    microseconds = [float(line.split("\t")[2]) for line in log if line.split("\t")[1] == "200"]
    if not microseconds:
        raise Broken("no request was answered")
    seconds = float(took[1]) * UNITS[took[2]]
    return Answered(succeeded, seconds, int(data[1]), quantile(microseconds, 0.5), quantile(microseconds, 0.99))


def find_generator() -> Generator:
    """h2load. Raises `Broken` where it cannot be had."""
    try:
        program, settings = named(VARIABLE, "h2load"), {}
    except StackFailed as error:
        raise Broken(str(error)) from error
    if program is None:
        program, libraries = _from_debian()
        settings = {"LD_LIBRARY_PATH": libraries}
    said = subprocess.run(
        [program, "--version"], env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if said.returncode:
        raise Broken(f"h2load does not run: {said.stderr.strip()[-300:]}")
    return Generator(program, settings, said.stdout.strip())


def _from_debian() -> tuple[Path, str]:
    folder = cache_folder() / "h2load"
    program = folder / "usr" / "bin" / "h2load"
    with alone(folder):
        if not program.is_file():
            print("Taking h2load from Debian's packages into the cache (once per machine; seconds)", flush=True)
            _unpack(folder)
    libraries = {str(path.parent) for path in (folder / "usr" / "lib").rglob("*.so*")}
    return program, os.pathsep.join(sorted(libraries))


def _unpack(folder: Path) -> None:
    hint = f"install the package nghttp2-client, or name the program in {VARIABLE}"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="h2load-") as scratch:
        try:
            subprocess.run(["apt-get", "--quiet", "download", *PACKAGES], cwd=scratch, check=True, capture_output=True)
            for package in Path(scratch).glob("*.deb"):
                subprocess.run(["dpkg-deb", "--extract", package, "unpacked"], cwd=scratch, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Broken(f"h2load is not here and cannot be taken from Debian ({error}): {hint}") from error
        (Path(scratch) / "unpacked").rename(folder)
