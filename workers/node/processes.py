"""Child processes as the operating system sees them: started, named beyond their pid, watched, ended.

A child is the leader of a session of its own and holds the read end of a pipe whose write end only we hold: it ends
at EOF, whatever ends us. Blocking calls run in threads.
"""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread

from workers.children import step_back

PROC = Path("/proc")
KILLED_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A process beyond doubt: a pid alone may belong to somebody else tomorrow, or after a boot."""

    pid: int
    started: str | None
    boot_id: str | None


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: the command line, all of its environment, its folder, and the file that takes its output.

    `host` is for a child that listens on TCP: it finds a bound socket where its stdin would be, as under inetd. It
    inherits `fds` beside `parent_fd`; one that `steps_back` leaves the cores to predictions.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log_path: Path
    parent_fd: int
    host: str | None = None
    fds: tuple[int, ...] = ()
    steps_back: bool = False


class Child:
    """A process that we started; `ended` resolves to its exit code (negative for a signal) at once when it ends.

    `port` is of the socket that it was given.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", identity: Identity, port: int | None) -> None:
        self.identity = identity
        self.port = port
        self.began = time.monotonic()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = process
        # A thread of its own: the loop's default pool has few, and this one waits as long as the child lives.
        wait = partial(self._wait, asyncio.get_running_loop())
        Thread(target=wait, name=f"wait-{identity.pid}", daemon=True).start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if not self.ended.done():
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and all that it has started, also after its own end."""
        kill_group(self.identity.pid)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        code = self._process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(self._tell, code)

    def _tell(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)


async def spawn(program: Program) -> Child:
    """Start a child. Raises OSError when its interpreter, its folder or a process cannot be had."""
    process, identity, port = await asyncio.to_thread(_start, program)
    try:
        return Child(process, identity, port)
    except RuntimeError as error:  # no thread can be had to wait for it
        kill_group(identity.pid)
        raise OSError(errno.EAGAIN, f"the process has to end again: {error}") from error


def _start(program: Program) -> tuple["subprocess.Popen[bytes]", Identity, int | None]:
    with program.log_path.open("ab") as log, _bound(program.host) as listener:
        process = subprocess.Popen(
            program.command,
            stdin=listener.fileno() if listener else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=program.folder,
            env=program.environment,
            pass_fds=(program.parent_fd, *program.fds),
            start_new_session=True,
        )
        if program.steps_back:
            step_back(process.pid)
        port: int | None = listener.getsockname()[1] if listener else None
    # Read before anybody waits for it: even one that has ended already is still there.
    return process, Identity(process.pid, start_time(process.pid), boot_id()), port


def _bound(host: str | None) -> AbstractContextManager[socket.socket | None]:
    """A socket on a free port of the host; nothing for a child that needs none.

    Our copy must be closed once the child has its own: while it is open, connections to a dead child hang.
    """
    return nullcontext() if host is None else bind(host)


def bind(host: str) -> socket.socket:
    """A TCP socket that is bound to a free port of what the name stands for. Raises OSError that names the host."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise OSError(f"the name {host} is not known here ({error.strerror}); set PORTSIDE_NODE_HOST") from error
    found = socket.socket(family, kind, protocol)
    try:
        found.bind(address)
    except OSError as error:
        found.close()
        where = f"{host} ({address[0]})"
        raise OSError(f"no port of {where} can be had ({error.strerror}); set PORTSIDE_NODE_HOST") from error
    return found


def start_time(pid: int) -> str | None:
    """When the process began, in the system's own words; nothing when there is none (a zombie counts as none)."""
    if not PROC.joinpath("self").exists():
        return asked("ps", "-o", "lstart=", "-p", str(pid))
    try:
        # proc(5): the name in parentheses may hold anything, so count from the last one; state is 3, starttime 22.
        fields = PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def boot_id() -> str | None:
    """What this boot of the machine is called."""
    if sys.platform == "darwin":
        return asked("sysctl", "-n", "kern.bootsessionuuid")
    try:
        return PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def asked(*command: str) -> str | None:
    """The beginning of what a program of the system says; nothing where it fails."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip()[:40] or None


def kill_group(leader: int) -> None:
    """SIGKILL to a child's whole process group."""
    with suppress(ProcessLookupError, PermissionError):  # gone; macOS says so of a group of zombies
        os.killpg(leader, signal.SIGKILL)


def sweep(former: Sequence[Identity]) -> list[int]:
    """End those that still run of a former life and answer their pids; whoever has their pid by now is left alone."""
    here = boot_id()
    running = [it for it in former if it.started and it.boot_id == here and start_time(it.pid) == it.started]
    for identity in running:
        kill_group(identity.pid)
    deadline = time.monotonic() + KILLED_WITHIN_S
    for identity in running:
        while start_time(identity.pid) == identity.started and time.monotonic() < deadline:
            time.sleep(0.005)
    return [identity.pid for identity in running]
