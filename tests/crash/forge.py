"""Starts platforms in a fifth of a second: a process that has imported everything forks for each of them.

`python -m tests.crash.forge ENDED` reads one JSON object a line and answers one with the new process' id. What is
forked is the product's own command line, and dies like it; only its imports were made before. A wish may name a
mutation. How each has ended is written to the folder ENDED, under its id.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, NoReturn, Self

# What the commands import when they start: the forge has it before the first one.
import cli.address
import cli.folder
import cli.roles.api
import cli.roles.migrate
import cli.roles.node
import cli.roles.process
import cli.roles.worker
import cli.settings
import cli.up  # noqa: F401  used by the forked command
from cli.main import main as command_line
from tests.crash.broken import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
LOOK_S = 0.005
STAYING = ("up", "api", "worker", "node")  # the commands that end when they are told to, or with their parent


class Forged:
    """A process that the forge has started, shown as `subprocess.Popen` shows one; what it says is in its log."""

    def __init__(self, pid: int, ended: Path, log: Path) -> None:
        self.pid, self._ended, self._log = pid, ended, log
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it has ended; none while it runs."""
        if self.returncode is None and self._ended.exists():
            self.returncode = int(self._ended.read_text("ascii"))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(LOOK_S)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it has said on stderr comes second. Raises `subprocess.TimeoutExpired`."""
        self.wait(timeout)
        return "", self._log.read_text("utf-8", errors="replace")

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # buried, and that is just being written
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, likewise."""
        self.send_signal(signal.SIGKILL)


class Forge:
    """The other end of the pipe: asks for processes. They end when the forge does."""

    def __init__(self) -> None:
        self._mutation: str | None = None
        self._ended = tempfile.TemporaryDirectory(prefix="portside-forge-")
        command = [sys.executable, "-m", "tests.crash.forge", self._ended.name]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the forge cannot import the product"

    def breaking(self, mutation: str) -> Self:
        """The same forge, for processes with one protection broken."""
        broken = copy(self)
        broken._mutation = mutation
        return broken

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, out: Path = Path(os.devnull)
    ) -> int:
        """Run `portside` with these arguments, stderr at the end of `log`; answers its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wish = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log),
            "out": str(out),
            "mutation": self._mutation,
        }
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline())["pid"])

    def popen(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, out: Path = Path(os.devnull)
    ) -> Forged:
        """The same, to see how it ends."""
        pid = self.start(arguments, environment, log, out)
        return Forged(pid, self.folder / str(pid), log)

    @property
    def folder(self) -> Path:
        """A place for what goes with it, such as logs."""
        return Path(self._ended.name)

    def close(self) -> None:
        """End the forge, and by the end of its pipe what it has started."""
        self._process.terminate()
        self._process.communicate()
        self._ended.cleanup()


def serve(ended: Path) -> None:
    """Fork for each line, and bury the dead."""
    signal.signal(signal.SIGCHLD, lambda *_: _bury(ended))
    read_end, write_end = os.pipe()  # nobody writes: who holds the read end sees us end
    print("ready", flush=True)
    for line in sys.stdin:
        wish: dict[str, Any] = json.loads(line)
        # Nobody is buried meanwhile: an id may be that of one who has ended before.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            os.close(write_end)
            _become(wish, read_end)
        (ended / str(pid)).unlink(missing_ok=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        print(json.dumps({"pid": pid}), flush=True)


def _bury(ended: Path) -> None:
    """All that have ended, each with its exit status, or the signal's number below nothing."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        told = ended / f"{pid}.new"
        told.write_text(str(os.waitstatus_to_exitcode(status)), "ascii")
        told.rename(ended / str(pid))


def _become(wish: Mapping[str, Any], parent_fd: int) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    log, out = (os.open(wish[name], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for name in ("log", "out"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, out), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(wish["environment"])
    watched = ["--parent-fd", str(parent_fd)] if wish["arguments"][0] in STAYING else []
    sys.argv = ["portside", *wish["arguments"], *watched]
    status = 1
    try:
        if wish["mutation"]:
            MUTATIONS[wish["mutation"]]()  # after the imports, which it changes
        status = command_line()
    except SystemExit as left:
        status = int(left.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
