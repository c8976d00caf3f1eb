"""What keeps scripts from the platform and from each other on this machine: a user, a cgroup, limits of the process.

Found out once, told by `portside doctor`. What the machine does not offer is not limited, and said so.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.errors import PlatformError, Unavailable
from core.settings import MIB, Settings

MOUNTS: Final = Path("/proc/self/mountinfo")
OWN_CGROUP: Final = Path("/proc/self/cgroup")
SYSTEM_PYTHONS: Final = ("/usr/bin/python3", "/usr/local/bin/python3")
CONTROLLERS: Final = ("cpu", "memory", "pids")
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
    """What there is. `fault` says why scripts cannot run at all; `gaps` are sentences about what is not limited."""

    python: Path
    folder: Path
    uids: range
    cgroup: Path | None
    controllers: frozenset[str]
    fault: str | None = None
    gaps: tuple[str, ...] = ()

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


def isolation_of(settings: Settings, *, prepares: bool = False) -> Isolation:
    """Look at this machine; with `prepares` limits are switched on for the groups that will be made."""
    cgroup, controllers = _cgroup(settings, prepares)
    uids = settings.uid_range if os.geteuid() == 0 else range(0)
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
    return Isolation(python, folder, uids, cgroup, controllers, fault, tuple(_gaps(uids, controllers)))


@contextmanager
def lodging(isolation: Isolation, name: str, memory_mb: int | None, most_processes: int) -> Iterator[Lodging]:
    """A user, a cgroup and limits for one process, until the block ends. Raises `NoUserLeft`, `ScriptsNotIsolated`."""
    if isolation.fault is not None:
        raise ScriptsNotIsolated(isolation.fault)
    uid, lock = _take_uid(isolation) if isolation.has_users else (None, None)
    cgroup = _make_cgroup(isolation, name, memory_mb, most_processes)
    try:
        yield Lodging(uid, lock, cgroup, _limits(isolation, uid, memory_mb, most_processes))
    finally:
        if cgroup is not None:
            with suppress(OSError):  # its keeper has done that, or whoever ended what was left
                cgroup.rmdir()
        if lock is not None:
            os.close(lock)


def _limits(isolation: Isolation, uid: int | None, memory_mb: int | None, most_processes: int) -> dict[str, int]:
    limits = {"RLIMIT_CORE": 0}
    if memory_mb is not None and "memory" not in isolation.controllers:
        limits["RLIMIT_DATA"] = memory_mb * MIB
    if uid is not None:
        limits["RLIMIT_NPROC"] = most_processes
    elif os.geteuid() != 0:
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
    if isolation.cgroup is None:
        return None
    made = isolation.cgroup / f"portside-{name}"
    try:
        made.mkdir(exist_ok=True)
        wanted: dict[str, Any] = {"pids.max": most_processes, "cpu.weight": LEAST_WEIGHT}
        if memory_mb is not None:
            wanted |= {"memory.max": memory_mb * MIB, "memory.swap.max": 0, "memory.oom.group": 1}
        for file, value in wanted.items():
            if file.partition(".")[0] in isolation.controllers and (made / file).exists():
                (made / file).write_text(str(value), "ascii")
    except OSError:
        with suppress(OSError):
            made.rmdir()
        return None
    return made


def _remove_cgroup(cgroup: Path) -> None:
    """Remove a group, also while what was killed in it is still on its way out."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        try:
            cgroup.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(PAUSE_S)


def _cgroup(settings: Settings, prepares: bool) -> tuple[Path | None, frozenset[str]]:
    """Where groups can be made, and what can be limited in them."""
    base = settings.script_cgroup or _own_cgroup()
    if base is None or not os.access(base, os.W_OK | os.X_OK) or not (base / "cgroup.procs").exists():
        return None, frozenset()
    with suppress(OSError):
        offered = (base / "cgroup.controllers").read_text("ascii").split()
        for each in set(CONTROLLERS) & set(offered) if prepares else ():
            with suppress(OSError):  # busy: the group has processes of its own
                (base / "cgroup.subtree_control").write_text(f"+{each}", "ascii")
        enabled = (base / "cgroup.subtree_control").read_text("ascii").split()
        return base, frozenset(enabled) & frozenset(CONTROLLERS)
    return None, frozenset()


def _own_cgroup() -> Path | None:
    try:
        mounts = [line.split(" - ") for line in MOUNTS.read_text("utf-8").splitlines()]
        root = next(left.split()[4] for left, right in mounts if right.startswith("cgroup2 "))
        path = next(line[3:] for line in OWN_CGROUP.read_text("utf-8").splitlines() if line.startswith("0::"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    return Path(root) / path.lstrip("/")


def _gaps(uids: range, controllers: frozenset[str]) -> Iterator[str]:
    is_root = os.geteuid() == 0
    if is_root and not len(uids):
        yield "scripts run as root: they can read, change and end everything, and fork without a limit"
    elif not is_root:
        yield "scripts run as the platform's own user: they can read and change all that is its"
    if "memory" not in controllers:
        yield "memory is limited for each process of a script by itself, not for all together (no cgroup v2 for us)"
    if "cpu" not in controllers:
        yield "a script may use all cores that nobody else wants: it is only niced"


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
        with suppress(OSError):
            (lodging.cgroup / "cgroup.kill").write_text("1", "ascii")
    deadline = time.monotonic() + CLEARED_WITHIN_S
    while (left := _left(lodging.uid, mark)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S)
    if lodging.cgroup is not None:
        _remove_cgroup(lodging.cgroup)


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
