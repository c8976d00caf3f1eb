"""Tells other processes about due work: a bounded queue and one thread, because sending can block and must not.

What finds the queue full, or Redis away, is dropped: the lanes look by themselves.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue

from core.errors import Unavailable
from core.failpoints import failpoint
from state.signals import Signal
from workers.metrics import WakeUpMetrics, unseen

MOST_QUEUED = 1_000
PAUSE_S = 0.2  # after a failure: what comes meanwhile is dropped, not tried one by one
FLUSH_S = 1.0  # at stop, for what is queued

Send = Callable[[str, str], object]


class Nudger:
    """Sends wake-ups from any thread; never blocks, never raises."""

    def __init__(
        self, send: Send, close: Callable[[], None], metrics: WakeUpMetrics | None = None, pause_s: float = PAUSE_S
    ) -> None:
        """`send` takes a lane and a row's id, may block, and raises `Unavailable`; `close` follows the last one."""
        self._send, self._close, self._metrics, self._pause_s = send, close, metrics or unseen().wake, pause_s
        self._queue: Queue[tuple[str, str] | None] = Queue(MOST_QUEUED)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)

    async def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    async def stop(self) -> None:
        """Send what is queued, for at most a second, and end."""
        self._ending.set()
        with suppress(Full):
            self._queue.put_nowait(None)  # the thread may wait for the next one
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, FLUSH_S)

    def nudge(self, lane: str, id: str) -> None:
        """Work was committed."""
        try:
            self._queue.put_nowait((lane, id))
        except Full:
            self._metrics.errors.labels(lane, "elsewhere").inc()

    def hear(self, signals: frozenset[Signal]) -> None:
        """Listen to the database: whatever is committed as due work in this process wakes a worker elsewhere."""
        for signal in signals:
            if signal.kind == "work":
                self.nudge(signal.name, signal.id)

    def _run(self) -> None:
        failed_at = -self._pause_s
        while (waiting := self._queue.get()) is not None:
            if time.monotonic() > failed_at + self._pause_s:
                failpoint("before_nudge")
                try:
                    self._send(*waiting)
                    self._metrics.sent.labels(waiting[0], "elsewhere").inc()
                except Unavailable:  # the broker's door has logged it, once per outage
                    failed_at = time.monotonic()
            if time.monotonic() <= failed_at + self._pause_s:
                self._metrics.errors.labels(waiting[0], "elsewhere").inc()
            if self._ending.is_set() and self._queue.empty():
                break
        self._close()
