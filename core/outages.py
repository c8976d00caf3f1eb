"""Says that something fails: at its beginning, once a minute while it lasts, and at its end.

Loops that look ten times a second would else fill the log of an outage with the same line, when others matter most.
"""

import logging
import time

AGAIN_S = 60.0


class Outage:
    """One thing that one loop does again and again; `what` is a sentence without its full stop."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log, self._what = log, what
        self._began: float | None = None
        self._said_at = 0.0

    def met(self, why: object) -> None:
        """It has failed."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        elif now - self._said_at < AGAIN_S:
            return
        since = f", for {now - self._began:.0f} s now" if now > self._began else ""
        self._log.warning("%s: %s%s", self._what, why, since)
        self._said_at = now

    def over(self) -> None:
        """It has succeeded."""
        if self._began is not None:
            self._log.warning("over after %.1f s: %s", time.monotonic() - self._began, self._what)
            self._began = None
