"""Notices a process of a run that lives and gets nowhere: it will be ended, and another one goes on from the ledger.

A slow model is no stuck one: what tells them apart is whether the process computes. Whether it reports counts first, as
it does for each call of the model, many of which make a chunk.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from core.errors import PlatformError
from workers.node.usage import used_by

LOOKS: Final = 20  # in the time after which an idle process is taken for stuck
BUSY_FROM: Final = 0.005  # of a core: what only waits takes a thousandth (Java), and who shares it with fifty no less
BUSY_TIMES: Final = 24  # as long as an idle one may a process be silent that computes
CALL_ROWS: Final = 8192  # that one call of a model takes at most, and one report is for one call
# As long as a call usually takes may one last, unless that is less than an idle process may be silent: what is so far
# from all rows before it is a loop without an end, and found in minutes, not in hours.
USUAL_TIMES: Final = 100


class RunStalled(PlatformError):
    """Its processes lived on and got nowhere."""

    code, title = "run_stalled", "The run made no progress"


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long a process may report nothing: one that hardly computes, and one that does."""

    idle_s: float
    busy_s: float

    @classmethod
    def of(cls, stall_s: float) -> Self:
        """By the setting. One call of a model is one report, and some take a second for each of their rows."""
        return cls(stall_s, BUSY_TIMES * stall_s)


class ProgressWatch:
    """Waits for what one process says next. Only while the turn is its own: what keeps a chunk waits elsewhere."""

    def __init__(self, pid: int, patience: Patience, row_s: Callable[[], float | None] = lambda: None) -> None:
        """`row_s` tells how long the model took for a row so far, also in processes before this one."""
        self._pid, self._patience, self._row_s = pid, patience, row_s

    async def unless_stalled(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """What `read` answers, which may be cancelled and asked again. Raises what it raises, `RunStalled`."""
        look_s = self._patience.idle_s / LOOKS
        idle_s = silent_s = 0.0
        before: float | None = None
        while True:
            try:
                async with asyncio.timeout(look_s):
                    return await read()
            except TimeoutError:
                pass  # it says nothing: what does it do?
            used = await asyncio.to_thread(used_by, self._pid)
            cpu_s = None if used is None else used.cpu_s
            # By looks and not by the clock: a machine that slept for a night has looked once.
            silent_s += look_s
            is_idle = cpu_s is not None and before is not None and cpu_s - before < BUSY_FROM * look_s
            idle_s = idle_s + look_s if is_idle else 0.0
            before = cpu_s
            self._judge(idle_s, silent_s)

    def _judge(self, idle_s: float, silent_s: float) -> None:
        setting = "PORTSIDE_RUN_STALL_S"
        if idle_s >= self._patience.idle_s:
            raise RunStalled(
                f"reported nothing and hardly computed for {self._patience.idle_s:g} s ({setting}), and was ended"
            )
        row_s = self._row_s()
        if silent_s >= self._patience.busy_s:
            raise RunStalled(
                f"computed for {self._patience.busy_s:g} s without reporting anything, and was ended; if the model is "
                f"so slow, lower chunk_rows, beyond which no call of it goes, or raise {setting} ({BUSY_TIMES} times "
                "that is allowed)"
            )
        if row_s is not None and silent_s >= max(self._patience.idle_s, USUAL_TIMES * CALL_ROWS * row_s):
            raise RunStalled(
                f"computed for {silent_s:.0f} s without reporting anything, where the model took {row_s:.2g} s for a "
                f"row before, and was ended; if some rows take so much longer, lower chunk_rows, beyond which no call "
                f"of it goes, or raise {setting}"
            )
