"""The process between the node and a user's program: it starts it, and ends all that it has started.

A program of its own, of the standard library alone: `python -I -S keeper.py CONFIG STATUS_FD PARENT_FD`. It puts the
program under its limits and its user, waits for it, and sees to it that nothing of it is left: not in its process
group, not in a session of its own, not after the node was killed (EOF at PARENT_FD).
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

SUBREAPER, DEATH_SIGNAL = 36, 1  # prctl(2): PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG
CLEARED_WITHIN_S = 10.0
PAUSE_S = 0.01
CANNOT_START = 126
NICENESS = 10  # predictions go first; the keeper itself must get through whatever its program does
FIRST_TO_GO = 500  # of 1,000: where the machine's own memory runs out it is the program that is ended, not the platform


Config = dict[str, Any]  # what `keeping` writes
Told = dict[str, Any]  # what it reads again


class Keeper:
    """One program from its start to the end of everything that it has started."""

    def __init__(self, config: Config, parent_fd: int) -> None:
        self._config, self._parent_fd = config, parent_fd
        self._ended: tuple[int, resource.struct_rusage] | None = None
        self._asked_at: float | None = None
        self._pid = 0
        self._kills = self._at_limit = self._refused = 0
        self._wake, self._rung = os.pipe()
        for end in (self._wake, self._rung):
            os.set_blocking(end, False)

    def run(self) -> Told:
        """Live until nothing of the program is left; what is told of it."""
        _prctl(SUBREAPER, 1)
        signal.set_wakeup_fd(self._rung, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._pid = self._start()
        for fd in self._config["fds"]:
            os.close(fd)  # the reports end when nobody of the program has it any more
        while self._ended is None and not self._is_over():
            self._wait()
            self._reap()
        left = self._clear()
        code, usage = self._ended or (-signal.SIGKILL, resource.getrusage(resource.RUSAGE_CHILDREN))
        return {
            "code": code,
            "left": left,
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "oom": self._kills,
            "at_limit": self._at_limit,
            "refused": self._refused,
        }

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked_at = self._asked_at or time.monotonic()
        if self._pid and self._ended is None:
            _signal_group(self._pid, signal.SIGTERM)

    def _is_over(self) -> bool:
        """Whether it had its time to end by itself, or nobody wants it any more."""
        if self._asked_at is not None and time.monotonic() - self._asked_at > self._config["grace_s"]:
            return True
        return bool(select.select([self._parent_fd], [], [], 0)[0])  # readable means EOF: nobody writes to it

    def _wait(self) -> None:
        timeout_s = 60.0
        if self._asked_at is not None:
            timeout_s = max(0.0, self._asked_at + self._config["grace_s"] - time.monotonic())
        select.select([self._wake, self._parent_fd], [], [], timeout_s + 0.001)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 512):
                pass

    def _reap(self) -> None:
        """Take the ends of all that has ended."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._ended = os.waitstatus_to_exitcode(status), usage

    def _clear(self) -> int:
        """End everything that is left, wherever it has gone; how many processes the program left behind."""
        left = max(0, len(_descendants()) - (self._ended is None))
        deadline = time.monotonic() + CLEARED_WITHIN_S
        while time.monotonic() < deadline:
            self._kill_all()
            self._reap()
            if not _descendants() and not self._has_members():
                break
            time.sleep(PAUSE_S)
        self._remove_cgroup()
        return left

    def _kill_all(self) -> None:
        cgroup = self._config.get("cgroup")
        if cgroup:
            with contextlib.suppress(OSError):
                _write(f"{cgroup}/cgroup.kill", "1")
        if self._ended is None:
            _signal_group(self._pid, signal.SIGKILL)
        if self._config.get("uid"):
            self._kill_user()
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _kill_user(self) -> None:
        """Everything of the program's own user, at once: no fork gets away between two of our looks."""
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(self._config["uid"])
                os.setuid(self._config["uid"])
                os.kill(-1, signal.SIGKILL)
            finally:
                os._exit(0)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)

    def _has_members(self) -> bool:
        """Whether somebody is in the group, or in one that the program has made in it."""
        cgroup = self._config.get("cgroup")
        return bool(cgroup) and _event(f"{cgroup}/cgroup.events", b"populated") > 0

    def _remove_cgroup(self) -> None:
        cgroup = self._config.get("cgroup")
        if not cgroup:
            return
        self._kills = _event(f"{cgroup}/memory.events", b"oom_kill")
        self._at_limit = _event(f"{cgroup}/memory.events", b"oom")
        self._refused = _event(f"{cgroup}/pids.events", b"max")
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()

    def _start(self) -> int:
        keeper = os.getpid()
        if pid := os.fork():
            return pid
        try:
            self._become(keeper)
        except (OSError, ValueError, LookupError, TypeError) as error:
            os.write(2, f"portside: the script cannot be started: {error}\n".encode())
        finally:
            os._exit(CANNOT_START)

    def _become(self, keeper: int) -> NoReturn:
        """The program itself, under its limits."""
        config = self._config
        os.setsid()
        # Who is not root may not go before where it is already: a node may have been niced by its operator.
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        with contextlib.suppress(OSError):  # niceness counts only within a session where sessions are groups: sched(7)
            _write("/proc/self/autogroup", str(NICENESS))
        with contextlib.suppress(OSError):
            _write("/proc/self/oom_score_adj", str(max(FIRST_TO_GO, int(_read("/proc/self/oom_score_adj")))))
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if cgroup := config.get("cgroup"):
            _write(f"{cgroup}/cgroup.procs", "0")
        for name, limit in config["limits"].items():
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (most, most))
        if uid := config.get("uid"):
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        _prctl(DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(CANNOT_START)  # it died meanwhile
        os.umask(config["umask"])
        kept = {0, 1, 2, *config["fds"]}
        for fd in config["fds"]:
            os.set_inheritable(fd, True)
        here = Path("/proc/self/fd")
        for entry in (here if here.exists() else Path("/dev/fd")).glob("*"):
            if int(entry.name) not in kept:
                with contextlib.suppress(OSError):
                    os.set_inheritable(int(entry.name), False)
        os.chdir(config["folder"])
        os.execve(config["command"][0], config["command"], config["environment"])  # noqa: S606  (what it is for)


def _descendants() -> list[int]:
    """All processes that we or our children have started, zombies too; nothing where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int(stat.read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(leader, number)  # before it has a group of its own


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, "ascii")


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _event(path: str, name: bytes) -> int:
    """What a group counts under this name; 0 where it does not."""
    with contextlib.suppress(OSError, ValueError):
        return int(dict(line.split() for line in _read(path).splitlines()).get(name, 0))
    return 0


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wake-up pipe has told already."""


def main(arguments: list[str]) -> int:
    """Read what to start, keep it, tell how it ended."""
    path, status_fd, parent_fd = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    config = json.loads(path.read_bytes())
    path.unlink()  # it has a token in it
    told = Keeper(config, parent_fd).run()
    with contextlib.suppress(OSError):
        os.write(status_fd, json.dumps(told).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
