"""What the replicas' processes use: processor time and memory, as the operating system counts them."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from state.sampling import Usage
from workers.node.life import Life
from workers.node.processes import PROC, asked

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used since it began, and the memory (RSS) that it holds."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    cpu_s: float


class UsageMeter:
    """Compares each replica's process with how it was when it was looked at last."""

    def __init__(self, lives: Callable[[], Mapping[str, Life]]) -> None:
        self._lives = lives
        self._last: dict[str, _Reading] = {}

    async def read(self) -> Sequence[Usage]:
        """What was used since the last time, or since a process began."""
        running = {id: life for id, life in self._lives().items() if life.identity is not None and life.ending is None}
        pids = {id: life.identity.pid for id, life in running.items() if life.identity is not None}
        used = await asyncio.to_thread(lambda: {id: used_by(pid) for id, pid in pids.items()})
        now, found = time.monotonic(), list[Usage]()
        readings: dict[str, _Reading] = {}
        for id, life in running.items():
            if (seen := used[id]) is None or life.began is None:
                continue
            before = self._last.get(id) or _Reading(life.began, 0.0)
            readings[id] = _Reading(now, seen.cpu_s)
            cpu_s, over_s = max(0.0, seen.cpu_s - before.cpu_s), now - before.at
            found.append(Usage(id, round(cpu_s * 1_000_000), round(over_s * 1_000_000), seen.memory_bytes))
        self._last = readings
        return found


def used_by(pid: int) -> Used | None:
    """What a process uses; nothing when there is none."""
    if not PROC.joinpath("self").exists():
        return _read_ps(asked("ps", "-o", "time=,rss=", "-p", str(pid)))
    try:
        # proc(5): behind the name in parentheses stand utime and stime (14 and 15), and rss in pages (24).
        fields = PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Used((int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[21]) * PAGE_BYTES)


def _read_ps(said: str | None) -> Used | None:
    """`1-02:03:04.05 1234` or `3:04.05 1234`: time, and KiB."""
    if said is None:
        return None
    spent, kib = said.split()
    days, _, clock = spent.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return Used(int(days or 0) * 86400 + seconds, int(kib) * 1024)
