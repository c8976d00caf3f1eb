"""For how long tests wait, and how often they look meanwhile."""

from collections.abc import Iterator

# A test that passes waits for nothing; one that fails did not fail for want of a processor.
WITHIN_S = 120.0


def growing_pauses() -> Iterator[float]:
    """Between looks into a database, each of which takes processor time from what is waited for."""
    pause_s = 0.01
    while True:
        yield pause_s
        pause_s = min(0.1, 1.1 * pause_s)
