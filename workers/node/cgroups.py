"""Cgroups (v2) for scripts: where they can be made, what can be limited in them, and that none is left behind.

The kernel limits only what is in groups whose parent has no processes itself. So a node that is in the very group which
it splits goes one further down before, into `NODE`, with all that it has started: in a group that is its own to split.
See cgroups(7), "no internal processes", and systemd's CGROUP_DELEGATION.
"""

import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workers.node.processes import PROC, asked

log = logging.getLogger(__name__)

SYSTEMD: Final = Path("/run/systemd/system")  # is there where systemd rules over the cgroups: sd_booted(3)
CONTROLLERS: Final = frozenset({"cpu", "memory", "pids"})
NODE: Final = "portside-node"  # where the node is, below a group that it has split
DELEGATED: Final = ("user.delegate", "trusted.delegate")  # systemd's mark at a group that is its unit's own
ROUNDS: Final = 20  # of going down, while what goes down forks
PAUSE_S: Final = 0.02
REMOVED_WITHIN_S: Final = 1.0
TOLD_AT_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Ground:
    """Where groups can be made and what is limited in them; `obstacle` says why that is not all."""

    base: Path | None = None
    controllers: frozenset[str] = frozenset()
    obstacle: str | None = None


def ground_of(said: Path | None, *, prepares: bool = False) -> Ground:
    """What there is for a node that this process is: below the group `said`, else below its own.

    With `prepares` it is made so; else it is foretold.
    """
    own = group_of("self")
    base = said or own
    if base is None:
        return Ground(obstacle="there is no cgroup v2 for us here")
    if (reason := _unusable(base, own, is_said=said is not None)) is not None:
        return Ground(obstacle=reason)
    try:
        return _split(base, is_said=said is not None, prepares=prepares)
    except OSError as error:
        return Ground(obstacle=f"the cgroup {base} cannot be split: {error.strerror}")


def ground_at(said: Path | None, pid: int) -> Ground:
    """What a node that runs already has: nothing is foretold."""
    base = said or group_of(str(pid))
    if base is None:
        return Ground(obstacle="the running platform is in no cgroup v2 that can be seen from here")
    try:
        enabled = _words(base / "cgroup.subtree_control") & CONTROLLERS
    except OSError:
        return Ground(obstacle=f"the cgroup {base} cannot be read")
    missing = ", ".join(sorted(CONTROLLERS - enabled))
    reason = f"the running platform's cgroup {base} does not limit {missing}{'' if said else _advice()}"
    return Ground(base, enabled, reason if missing else None)


def group_of(pid: str, proc: Path = PROC) -> Path | None:
    """The group that this process is in, or that it has split; nothing where it cannot be seen from here."""
    try:
        mounts = [line.split(" - ") for line in (proc / "self" / "mountinfo").read_text("utf-8").splitlines()]
        lines = (proc / pid / "cgroup").read_text("utf-8").splitlines()
        root, place = next(left.split()[3:5] for left, right in mounts if right.startswith("cgroup2 "))
        path = Path(next(line[3:] for line in lines if line.startswith("0::")))
        found = Path(place) / path.relative_to(root)  # a container may have a part of the tree only
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    if ".." in path.parts:
        return None
    return found.parent if found.name == NODE else found


def make_group(group: Path, limits: Mapping[str, int]) -> None:
    """Make a group and set its limits; a limit of swap is set where the kernel counts swap. Raises OSError."""
    group.mkdir(exist_ok=True)
    try:
        for file, value in limits.items():
            if file != "memory.swap.max" or (group / file).exists():
                (group / file).write_text(str(value), "ascii")
    except OSError:
        with suppress(OSError):
            group.rmdir()
        raise


def remove_group(group: Path, within_s: float = REMOVED_WITHIN_S) -> None:
    """End what is in a group and remove it, with the groups that were made in it."""
    deadline = time.monotonic() + within_s
    while True:
        with suppress(OSError):
            (group / "cgroup.kill").write_text("1", "ascii")
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # what was killed is on its way out
                Path(folder).rmdir()
        if not group.exists() or time.monotonic() >= deadline:
            return
        time.sleep(PAUSE_S)


def remove_groups(base: Path, prefix: str) -> list[str]:
    """Remove the groups with such a name, which a node before has left; their names."""
    try:
        left = sorted(base.glob(f"{prefix}*"))
    except OSError:
        return []
    for group in left:
        remove_group(group)
    return [group.name for group in left]


def _unusable(base: Path, own: Path | None, *, is_said: bool) -> str | None:
    """Why no group can be made in `base`, or no process of ours be put there."""
    name = f"PORTSIDE_SCRIPT_CGROUP {base}" if is_said else f"our cgroup {base}"
    with suppress(OSError):
        if not (base / "cgroup.procs").exists():
            return f"{name} is no cgroup v2"
    if not os.access(base, os.W_OK | os.X_OK):
        return f"{name} is not ours to split" + ("" if is_said else _advice())
    if is_said and own is not None and os.geteuid() != 0:
        # Who is not root moves processes only within a group whose `cgroup.procs` is its own.
        common = Path(os.path.commonpath([base, own]))
        if not os.access(common / "cgroup.procs", os.W_OK):
            return f"{name} is out of reach: only root may move a process there from {own}"
    return None


def _split(base: Path, *, is_said: bool, prepares: bool) -> Ground:
    """Have the controllers limit what is in groups below. Raises OSError."""
    is_root = not (base / "cgroup.type").exists()  # it alone may have processes and limit
    kind = "domain" if is_root else (base / "cgroup.type").read_text("ascii").strip()
    if kind != "domain":
        return Ground(obstacle=f"the cgroup {base} is for threads ({kind}): no group below it may have a process")
    wanted = CONTROLLERS & _words(base / "cgroup.controllers")
    enabled = CONTROLLERS & _words(base / "cgroup.subtree_control")
    if not wanted <= enabled:
        reason = None if is_root else _entangled(base, is_said=is_said)
        if reason is not None:
            return Ground(base, enabled, reason)
        if prepares:
            _enable(base, wanted - enabled, goes_down=not is_root and not is_said)
        enabled = CONTROLLERS & _words(base / "cgroup.subtree_control") if prepares else wanted
    missing = ", ".join(sorted(CONTROLLERS - enabled))
    return Ground(base, enabled, f"the cgroup {base} does not offer {missing}" if missing else None)


def _entangled(base: Path, *, is_said: bool) -> str | None:
    """Why a group is not split although it could be written: it is somebody else's, or others are in it."""
    inside = _members(base)
    if is_said:
        return f"PORTSIDE_SCRIPT_CGROUP {base} has processes of its own ({_few(inside)})" if inside else None
    if _is_delegated(base):
        return None  # with whatever is in it
    if SYSTEMD.exists() and (os.geteuid() == 0 or os.access(base.parent, os.W_OK)):
        # A unit that has not said so is ended by systemd as a whole when the memory of one script runs out.
        return f"our cgroup {base} is systemd's to split, not ours" + _advice()
    strangers = sorted(set(inside) - set(_family()))
    return f"others are in our cgroup {base} too ({_few(strangers)}): set PORTSIDE_SCRIPT_CGROUP" if strangers else None


def _is_delegated(base: Path) -> bool:
    """Whether systemd says that this group is its unit's own to split."""
    for name in DELEGATED:
        with suppress(OSError):
            if os.getxattr(base, name) == b"1":
                return True
    # Up to version 252, the one of a user's own systemd is not marked.
    is_users = os.geteuid() != 0 and SYSTEMD.exists() and os.access(base.parent, os.W_OK)
    return is_users and asked("systemctl", "--user", "show", "--property=Delegate", "--value", base.name) == "yes"


def _advice() -> str:
    if not SYSTEMD.exists():
        return ""
    user = "" if os.geteuid() == 0 else "--user "
    return f": say `Delegate=yes` in the platform's unit, or `systemd-run {user}--scope -p Delegate=yes portside up`"


def _enable(base: Path, controllers: Collection[str], *, goes_down: bool) -> None:
    """Have these limit what is below, as far as they can be had. Raises OSError."""
    for _ in range(ROUNDS if goes_down else 1):
        if not goes_down or not _go_down(base):
            break
        time.sleep(PAUSE_S)  # somebody has been forked meanwhile
    else:
        log.warning("the cgroup %s cannot be split: there are always processes in it", base)
        return
    # Memory first: the kernel refuses it where there are processes. The others it gives to a tree of threads then, in
    # which no group may have a process, and every script would fail.
    for each in sorted(controllers, key=("memory", "pids", "cpu").index):
        try:
            (base / "cgroup.subtree_control").write_text(f"+{each}", "ascii")
        except OSError as error:
            log.warning("the cgroup %s does not limit %s: %s", base, each, error.strerror)
            if each == "memory":
                return


def _go_down(base: Path) -> list[int]:
    """Put all that is in a group into one below it; who is there still. Raises OSError."""
    below = base / NODE
    below.mkdir(exist_ok=True)
    for pid in _members(base):
        with suppress(ProcessLookupError):
            (below / "cgroup.procs").write_text(str(pid), "ascii")
    return _members(base)


def _members(group: Path) -> list[int]:
    return [int(pid) for pid in (group / "cgroup.procs").read_text("ascii").split()]


def _family() -> Iterator[int]:
    """We, what we have started, and the first process, which has started us where we are alone in a container."""
    children: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            parent = int(stat.read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    yield 1
    waiting = [os.getpid()]
    while waiting:
        yield (pid := waiting.pop())
        waiting += children.get(pid, [])


def _words(file: Path) -> frozenset[str]:
    return frozenset(file.read_text("ascii").split())


def _few(pids: Collection[int]) -> str:
    told = ", ".join(map(str, list(pids)[:TOLD_AT_MOST]))
    return f"process {told}" + (" and more" if len(pids) > TOLD_AT_MOST else "")
