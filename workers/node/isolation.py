"""What keeps scripts from the platform and from each other on this machine: a user, a cgroup, limits of the process.

Found out once, told by `portside doctor`. What the machine does not offer is not limited, and said so.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.errors import PlatformError, Unavailable
from core.settings import MIB, Settings
from workers.node.cgroups import Ground, ground_at, ground_of, make_group, remove_group

log = logging.getLogger(__name__)

SYSTEM_PYTHONS: Final = ("/usr/bin/python3", "/usr/local/bin/python3")
CLEARED_WITHIN_S, PAUSE_S = 5.0, 0.02
LEAST_WEIGHT: Final = 20  # of 1 to 10,000, where services have 100


class NoUserLeft(Unavailable):
    """All user ids for scripts are in use."""

    code, title = "no_user_left", "No user id is left for the script"


class ScriptsNotIsolated(PlatformError):
    """As root, scripts run as users of their own or not at all."""

    code, title = "scripts_not_isolated", "Scripts cannot be kept apart here"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What there is. `fault` says why scripts cannot run at all; `gaps` are sentences about what is not limited.

    Groups for scripts are made below `cgroup`; their names begin with `prefix`, which only this platform's do.
    """

    python: Path
    folder: Path
    uids: range
    cgroup: Path | None
    controllers: frozenset[str]
    fault: str | None = None
    gaps: tuple[str, ...] = ()
    prefix: str = "portside-"

    @property
    def has_users(self) -> bool:
        """Whether each script has a user of its own."""
        return len(self.uids) > 0


@dataclass(frozen=True, slots=True)
class Lodging:
    """What one process has for itself. `lock` stays open in it, so that nobody has its user id meanwhile."""

    uid: int | None = None
    lock: int | None = None
    cgroup: Path | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


def isolation_of(settings: Settings, *, prepares: bool = False, running: int | None = None) -> Isolation:
    """Look at this machine; with `prepares` limits are switched on for the groups that will be made, and where the
    process `running` is the platform, they are what it has."""
    said = settings.script_cgroup
    ground = ground_of(said, prepares=prepares) if running is None else ground_at(said, running)
    is_root = _owner(running) == 0
    uids = settings.uid_range if is_root else range(0)
    own = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    python = settings.script_python or own
    folder = settings.script_folder or settings.data.absolute() / "scripts"
    fault: str | None = None
    if len(uids):
        if settings.script_python is None and not _is_open_to_all(python):
            python = next((Path(each) for each in SYSTEM_PYTHONS if _is_open_to_all(Path(each))), python)
        if settings.script_folder is None and not _is_passable(folder.parent):
            folder = Path("/var/tmp") / f"portside-scripts-{_short(settings.data)}"  # noqa: S108  (0711, ours)
        if not _is_open_to_all(python):
            fault = (
                f"the users that scripts run as cannot reach {python}; set PORTSIDE_SCRIPT_PYTHON to an interpreter "
                "that all users can run"
            )
    gaps, prefix = tuple(_gaps(uids, is_root, ground)), f"portside-{_short(settings.data)}-"
    return Isolation(python, folder, uids, ground.base, ground.controllers, fault, gaps, prefix)


def _owner(running: int | None) -> int:
    """The user of that process, or of this one."""
    if running is not None:
        with suppress(OSError):
            return (Path("/proc") / str(running)).stat().st_uid
    return os.geteuid()


@contextmanager
def lodging(isolation: Isolation, name: str, memory_mb: int | None, most_processes: int) -> Iterator[Lodging]:
    """A user, a cgroup and limits for one process, until the block ends. Raises `NoUserLeft`, `ScriptsNotIsolated`."""
    if isolation.fault is not None:
        raise ScriptsNotIsolated(isolation.fault)
    uid, lock = _take_uid(isolation) if isolation.has_users else (None, None)
    cgroup = _make_cgroup(isolation, name, memory_mb, most_processes)
    try:
        yield Lodging(uid, lock, cgroup, _limits(isolation, cgroup, uid, memory_mb, most_processes))
    finally:
        if cgroup is not None:
            remove_group(cgroup, within_s=0)  # its keeper has done that, unless none was started
        if lock is not None:
            os.close(lock)


def _limits(
    isolation: Isolation, cgroup: Path | None, uid: int | None, memory_mb: int | None, most_processes: int
) -> dict[str, int]:
    """What the kernel limits for each process by itself, or for its user: all that the group does not."""
    limits = {"RLIMIT_CORE": 0}
    grouped = isolation.controllers if cgroup is not None else frozenset()
    if memory_mb is not None and "memory" not in grouped:
        limits["RLIMIT_DATA"] = memory_mb * MIB
    is_counted = "pids" in grouped
    if uid is not None:
        limits["RLIMIT_NPROC"] = most_processes + is_counted  # it is the group that refuses, for it counts that
    elif os.geteuid() != 0 and not is_counted:
        limits["RLIMIT_NPROC"] = _processes_of_ours() + most_processes  # it counts all of the user
    return limits


def _take_uid(isolation: Isolation) -> tuple[int, int]:
    """A user id that no script of any platform on this machine has, and the lock that says so."""
    folder = Path("/var/tmp/portside-uids")  # noqa: S108  (its owner is checked)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
        raise ScriptsNotIsolated(f"{folder} belongs to somebody else; remove it")
    for uid in isolation.uids:
        lock = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        return uid, lock
    raise NoUserLeft(f"all {len(isolation.uids)} user ids of PORTSIDE_SCRIPT_UIDS are in use; the run waits")


def _make_cgroup(isolation: Isolation, name: str, memory_mb: int | None, most_processes: int) -> Path | None:
    """A group with the limits that there are; nothing where it cannot be had, which is told in the log."""
    if isolation.cgroup is None:
        return None
    # Where memory runs out, also that of the machine, all of a script is ended: half of it would fail in odd ways.
    wanted = {"pids.max": most_processes, "cpu.weight": LEAST_WEIGHT, "memory.oom.group": 1}
    if memory_mb is not None:
        wanted |= {"memory.max": memory_mb * MIB, "memory.swap.max": 0}
    limits = {file: value for file, value in wanted.items() if file.partition(".")[0] in isolation.controllers}
    group = isolation.cgroup / f"{isolation.prefix}{name}"
    try:
        make_group(group, limits)
    except OSError as error:
        log.warning("a script runs without a cgroup: %s", error)
        return None
    return group


def _gaps(uids: range, is_root: bool, ground: Ground) -> Iterator[str]:
    if is_root and not len(uids):
        yield "scripts run as root: they can read, change and end everything, and fork without a limit"
    elif not is_root:
        yield "scripts run as the platform's own user: they can read and change all that is its"
    if "memory" not in ground.controllers:
        yield "memory is limited for each process of a script by itself, not for all together"
    if "cpu" not in ground.controllers:
        yield "a script gives way to predictions by its niceness alone"
    if ground.obstacle is not None:
        yield ground.obstacle


def _is_open_to_all(path: Path) -> bool:
    """Whether every user can run this program."""
    try:
        return path.stat().st_mode & 0o005 == 0o005 and _is_passable(Path(os.path.realpath(path)).parent)
    except OSError:
        return False


def _is_passable(folder: Path) -> bool:
    """Whether every user can go through this folder; of what does not exist yet, through where it will be."""
    for each in (folder, *folder.parents):
        with suppress(FileNotFoundError):
            if not each.stat().st_mode & 0o001:
                return False
    return True


def _processes_of_ours() -> int:
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == os.geteuid():
                count += sum(1 for _ in (process / "task").iterdir())
    return count


def _short(data: Path) -> str:
    return hashlib.sha256(os.fsencode(data.absolute())).hexdigest()[:8]


def end_left(lodging: Lodging, mark: bytes) -> None:
    """End what a script left whose keeper was ended: what is in its cgroup, is its user's, or has the mark in the
    environment that it was started with."""
    if lodging.cgroup is not None:
        remove_group(lodging.cgroup)
    deadline = time.monotonic() + CLEARED_WITHIN_S
    while (left := _left(lodging.uid, mark)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S)
    if lodging.cgroup is not None:
        remove_group(lodging.cgroup)


def _left(uid: int | None, mark: bytes) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            if (process / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z":
                continue
            if process.stat().st_uid == uid or mark in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def open_folder(isolation: Isolation, name: str) -> Path:
    """A folder of ours for scripts that others can go through but not look into. Raises `ScriptsNotIsolated`."""
    isolation.folder.mkdir(parents=True, exist_ok=True)
    found = isolation.folder.lstat()
    if isolation.folder.is_symlink() or found.st_uid != os.geteuid():
        raise ScriptsNotIsolated(f"{isolation.folder} belongs to somebody else; set PORTSIDE_SCRIPT_FOLDER to another")
    mode = 0o711 if isolation.has_users else 0o700
    isolation.folder.chmod(mode)
    made = isolation.folder / name
    made.mkdir(exist_ok=True)
    made.chmod(mode)
    return made


def give_to(path: Path, uid: int | None) -> None:
    """Let a script's user have a folder with all that is in it; no link in it is followed."""
    if uid is None:
        return
    os.lchown(path, uid, uid)
    for folder, names, files in os.walk(path):
        for name in (*names, *files):
            os.lchown(Path(folder, name), uid, uid)


def remove(path: Path) -> None:
    """Remove a script's folder, whatever it has made of the modes in it."""
    for folder, names, _ in os.walk(path):
        for name in names:  # before it is looked into
            inner = Path(folder, name)
            with suppress(OSError):
                if not inner.is_symlink():
                    inner.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
