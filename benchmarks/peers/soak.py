"""Whether a replica's memory stays as it is over a million requests."""

from benchmarks.figures import Figure
from benchmarks.peers.contenders import Contender
from benchmarks.peers.plan import WORKLOADS
from benchmarks.platform import Broken

REQUESTS = 1_000_000
WARM = 0.1  # the share of them after which memory is looked at first
AT_ONCE_S = 10.0
MOST_S = 120.0
TOLERANCE = 0.02


def soak(replica: Contender) -> Figure:
    """One row of iris a million times, or as often as the time allows, which is said."""
    try:
        told, ok = _soak(replica)
    except Broken as error:
        told, ok = str(error), False
    return Figure("RSS of a replica over 10⁶ requests", f"± {TOLERANCE:.0%}", told, ok)


def _soak(replica: Contender) -> tuple[str, bool]:
    first, done, spent_s = 0, 0, 0.0
    while done < REQUESTS and spent_s < MOST_S:
        sample = replica.measure(WORKLOADS["json"], AT_ONCE_S)
        done, spent_s = done + round(sample.per_s * AT_ONCE_S), spent_s + AT_ONCE_S
        if not first and done >= WARM * REQUESTS:
            first = sample.resident_bytes
    if not first:
        return f"only {done:,} requests in {MOST_S:.0f} s", False
    grown = sample.resident_bytes / first - 1
    return f"{grown:+.1%} over {done:,} requests, from {first / 2**20:.0f} MiB", abs(grown) <= TOLERANCE
