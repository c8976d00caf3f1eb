"""Starts again what has died, as the compose file's `restart: unless-stopped` does."""

import threading
import time
from collections.abc import Sequence

from deploy.stack.process import PortsideProcess

LOOK_S = 0.1
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 10.0
STEADY_S = 10.0  # who has run so long is started again without delay, as Docker does it


class Ward:
    """One process under supervision and how often it has died lately."""

    def __init__(self, process: PortsideProcess) -> None:
        self._process = process
        self._backoff_s = 0.0
        self._started_at = self._due_at = time.monotonic()
        self._is_down = False

    def look(self, now: float) -> None:
        """Start it if it has died and its delay is over."""
        if not self._process.has_died:
            self._is_down = False
        elif not self._is_down:
            was_steady = now - self._started_at > STEADY_S
            self._backoff_s = 0.0 if was_steady else min(2 * self._backoff_s or FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
            self._is_down, self._due_at = True, now + self._backoff_s
        elif now >= self._due_at:
            self._process.start()
            self._is_down, self._started_at = False, now


class Supervision:
    """A thread that looks after the processes."""

    def __init__(self, processes: Sequence[PortsideProcess]) -> None:
        self._wards = [Ward(process) for process in processes]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervision", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing any more."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_S):
            for ward in self._wards:
                ward.look(time.monotonic())
