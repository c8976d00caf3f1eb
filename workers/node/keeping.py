"""Starting programs under a keeper (`workers/node/keeper.py`), and what it tells of their end."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.node.isolation import Lodging
from workers.node.processes import Child, Program, spawn

KEEPER = Path(__file__).resolve().with_name("keeper.py")
LONGEST_STATUS = 4096
LOST = -9  # what is said of a program whose keeper did not tell


@dataclass(frozen=True, slots=True)
class Kept:
    """A program for a keeper: `folder` is where it works, `desk` where its keeper reads what to start."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    desk: Path
    log_path: Path
    parent_fd: int
    lodging: Lodging = field(default_factory=Lodging)
    fds: tuple[int, ...] = ()
    grace_s: float = 1.2
    umask: int = 0o077


@dataclass(frozen=True, slots=True)
class End:
    """How a program ended: `code` is negative for a signal, `left` how many processes it had left behind.

    Of its cgroup: `oom` is how many the kernel ended for want of memory, `at_limit` how often the group's own was
    used up, `refused` how often it was given no more processes or threads.
    """

    code: int
    left: int = 0
    cpu_s: float | None = None
    memory_bytes: int | None = None
    oom: int = 0
    at_limit: int = 0
    refused: int = 0
    is_told: bool = True


class KeptChild:
    """A keeper that we started, with the program that it keeps."""

    def __init__(self, child: Child, status_fd: int) -> None:
        self.child, self._status_fd = child, status_fd
        self.has_told = False

    async def end(self) -> End:
        """Wait until nothing of the program is left."""
        try:
            await self.child.ended
            told = await asyncio.to_thread(os.read, self._status_fd, LONGEST_STATUS)
        finally:
            self.close()
        try:
            end = End(**json.loads(told))
            self.has_told = True
            return end
        except (ValueError, TypeError):
            return End(LOST, is_told=False)

    def close(self) -> None:
        """Forget what it has to tell."""
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1


async def keep(kept: Kept) -> KeptChild:
    """Start a program under a keeper. Raises OSError."""
    config = kept.desk / "keeper.json"
    await asyncio.to_thread(_write, config, _document(kept))
    told, telling = os.pipe()
    child: Child | None = None
    try:
        os.set_blocking(told, False)  # nothing is read before it has ended
        command = [sys.executable, "-I", "-S", str(KEEPER), str(config), str(telling), str(kept.parent_fd)]
        lock = () if kept.lodging.lock is None else (kept.lodging.lock,)
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
        fds = (telling, *kept.fds, *lock)
        child = await spawn(Program(command, environment, kept.desk, kept.log_path, kept.parent_fd, fds=fds))
    finally:
        os.close(telling)
        if child is None:
            os.close(told)
    return KeptChild(child, told)


def is_keeper(pid: int) -> bool:
    """Whether a process is a keeper: it ends what it keeps before it ends, and must not be killed before."""
    try:
        return str(KEEPER).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _document(kept: Kept) -> dict[str, Any]:
    lodging = kept.lodging
    return {
        "command": list(kept.command),
        "environment": dict(kept.environment),
        "folder": str(kept.folder),
        "fds": list(kept.fds),
        "limits": dict(lodging.limits),
        "uid": lodging.uid,
        "cgroup": None if lodging.cgroup is None else str(lodging.cgroup),
        "grace_s": kept.grace_s,
        "umask": kept.umask,
    }


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Only we may read it: it has a token in it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(document, file)
