"""How many cores this process may use: those that it may run on, and no more than its container has been given."""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")  # as a process in a container sees its own


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Whole cores, a share of one being one; `cgroup` tells the quota, in the words of its version 2 or 1."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, math.ceil(_quota(cgroup) or cores))


def _quota(cgroup: Path) -> float | None:
    """The cores' worth of time that there is; `None` where nobody limits it."""
    with suppress(OSError, ValueError):  # the latter where it says `max`
        quota, period = (cgroup / "cpu.max").read_text("ascii").split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
