"""How long a client may send what makes work and asks nothing: pings, settings, cancelled calls, empty frames.

Each is harmless and each has been a flood (CVE-2019-9512, -9515, -9518, CVE-2023-44487). What a busy client sends of
them goes with its calls; who sends more than that is asked to calm down.
"""

from typing import Final

AT_ONCE: Final = 1_000
PER_S: Final = 100
PER_CALL: Final = 3  # a call that was answered may have been followed by a ping, its answer and an empty frame


class Patience:
    """Counts for one connection."""

    def __init__(self, now: float) -> None:
        self._left = float(AT_ONCE)
        self._since = now
        self.answered = 0  # calls since we looked

    def tries(self, now: float) -> bool:
        """Count one; whether that was one too many."""
        self._left -= 1
        if self._left > 0:
            return False
        earned = (now - self._since) * PER_S + self.answered * PER_CALL
        self._left, self._since, self.answered = min(self._left + earned, AT_ONCE), now, 0
        return self._left < 0
