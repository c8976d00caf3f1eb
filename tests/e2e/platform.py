"""`portside up` as a real process, and what it leaves behind."""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self, TypeVar

import psutil

from cli.client import Platform
from cli.folder import address_of
from tests.crash.forge import Forge, Forged

Found = TypeVar("Found")
# Long: alone each takes a second or two, beside other tests on two cores it may have to wait for its turn.
START_S = 180.0
END_S = 120.0
CALL_S = 90.0  # longer than any `Prefer: wait=60`


def until(look: Callable[[], Found | None], timeout_s: float, what: str) -> Found:
    """The first thing that `look` finds; an assertion fails when it finds nothing in time."""
    deadline = time.monotonic() + timeout_s
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)
    return found


@cache
def forge() -> Forge:
    """Where platforms are forked, once a test process; they and it end with us."""
    made = Forge()
    atexit.register(made.close)
    return made


def forked(data: Path, *arguments: str) -> Forged:
    """`portside up`, its imports made already: they are two thirds of what a start costs."""
    handle, log = tempfile.mkstemp(dir=forge().folder)
    os.close(handle)
    return forge().popen(["up", "--data", str(data), *arguments], {**os.environ, "NO_COLOR": "1"}, Path(log))


def start_up(data: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command, without waiting for anything."""
    command = [sys.executable, "-m", "portside", "up", "--data", str(data), *arguments]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


@dataclass
class RunningPlatform:
    """One platform on one data folder, which may live several times."""

    data: Path
    process: subprocess.Popen[str] | Forged
    url: str

    @classmethod
    def start(cls, data: Path, port: str = "0") -> "RunningPlatform":
        """Forked: for tests of what it does."""
        return cls._ready(data, forked(data, "--port", port))

    @classmethod
    def typed(cls, data: Path, port: str = "0") -> "RunningPlatform":
        """The command as an operator types it: for tests of how it starts and ends."""
        return cls._ready(data, start_up(data, "--port", port))

    @classmethod
    def _ready(cls, data: Path, process: subprocess.Popen[str] | Forged) -> "RunningPlatform":
        def address() -> str | None:
            assert process.poll() is None, process.communicate()[1]
            return address_of(data, process.pid)

        try:
            return cls(data, process, until(address, START_S, "the start"))
        except AssertionError:
            process.kill()  # or it takes the processor from all tests that follow
            process.communicate()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """It is no more afterwards, whatever has failed: it would take the processor from all tests that follow."""
        self.close()

    def close(self) -> None:
        """End it, unless it has ended."""
        if self.process.poll() is None:
            self.end()
        else:
            self.process.communicate(timeout=END_S)

    def client(self) -> Platform:
        return Platform(self.url, timeout_s=CALL_S)

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Ask it to end; its exit status and what it said."""
        self.send(number)
        try:
            _, said = self.process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.wait(), said


def none_is_left(family: list[psutil.Process]) -> bool | None:
    """True when every process has ended; a zombie has."""
    return None if any(map(_is_alive, family)) else True


def _is_alive(one: psutil.Process) -> bool:
    try:
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it was buried between the two questions
        return False
