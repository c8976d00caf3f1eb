"""What to start and stop so that what runs becomes what is wanted: a pure function of rows and the time.

It keeps nothing between calls: how long to back off is read from the replicas that have ended, so a restart of the
platform forgets nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from core.clock import Micros
from state.queries.node import ReplicaFacts, WantedService

SECOND = 1_000_000
FIRST_BACKOFF = SECOND // 2
LONGEST_BACKOFF = 30 * SECOND
# A replica that had answered works between its crashes: waiting longer than this serves nobody.
LONGEST_BACKOFF_ONCE_READY = 2 * SECOND
STEADY = 60 * SECOND  # who lived this long and answered begins a new count with its end
REFUSALS = ("model_refused", "runtime_missing", "gpu_missing")
MOST_REFUSALS = 3
PLATFORM_REASONS = ("platform_restarted", "platform_stopped")  # not the model's fault


@dataclass(frozen=True, slots=True)
class Start:
    """Start one more replica of the wanted revision."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End this replica; `reason` is what its row will say."""

    replica_id: str
    reason: str


def is_short(wanted: WantedService, replicas: Sequence[ReplicaFacts]) -> bool:
    """Whether replicas are missing: only then does `plan` need those that have ended."""
    return len(_fresh(wanted, replicas)) < wanted.replicas


def plan(wanted: WantedService, replicas: Sequence[ReplicaFacts], now: Micros) -> list[Start | Stop]:
    """The next steps. `replicas` are the living ones and, when `is_short`, the last ended ones of this wish."""
    if wanted.replicas == 0:
        return [Stop(replica.id, "not_wanted") for replica in replicas if _runs(replica)]
    missing = wanted.replicas - len(_fresh(wanted, replicas))
    starts = [Start()] * missing if missing > 0 and _may_start(wanted, replicas, now) else []
    return [*starts, *_outdated(wanted, replicas), *_surplus(wanted, replicas)]


def _runs(replica: ReplicaFacts) -> bool:
    return replica.status in ("starting", "ready", "unready")


def _is_wanted(wanted: WantedService, replica: ReplicaFacts) -> bool:
    is_fresh = replica.created_at >= wanted.fresh_since and replica.id != wanted.replacing
    return is_fresh and replica.revision_id == wanted.revision_id


def _fresh(wanted: WantedService, replicas: Sequence[ReplicaFacts]) -> list[ReplicaFacts]:
    return [replica for replica in replicas if _runs(replica) and _is_wanted(wanted, replica)]


def _outdated(wanted: WantedService, replicas: Sequence[ReplicaFacts]) -> list[Stop]:
    """Earlier replicas give way one for one, so that never fewer than wanted are ready while an update runs."""
    old = [replica for replica in replicas if _runs(replica) and not _is_wanted(wanted, replica)]
    new_ready = sum(replica.status == "ready" for replica in _fresh(wanted, replicas))
    if new_ready >= wanted.replicas:
        leaving = old
    else:
        # One that only starts serves nobody; one that is unready may come back, and is kept until enough are new.
        serving = [replica for replica in old if replica.status == "ready"]
        spare = max(0, new_ready + len(serving) - wanted.replicas)
        leaving = [replica for replica in old if replica.status == "starting"] + _newest_first(serving)[:spare]
    return [Stop(replica.id, "replaced") for replica in leaving]


def _surplus(wanted: WantedService, replicas: Sequence[ReplicaFacts]) -> list[Stop]:
    """Too many of the wanted kind: those that serve nobody go first, then the newest."""
    fresh = _newest_first(_fresh(wanted, replicas))
    fresh.sort(key=lambda replica: replica.status == "ready")
    return [Stop(replica.id, "scaled_down") for replica in fresh[: max(0, len(fresh) - wanted.replicas)]]


def _newest_first(replicas: Sequence[ReplicaFacts]) -> list[ReplicaFacts]:
    return sorted(replicas, key=lambda replica: (replica.created_at, replica.id), reverse=True)


def _may_start(wanted: WantedService, replicas: Sequence[ReplicaFacts], now: Micros) -> bool:
    failures = _failures(wanted, replicas)
    if not failures:
        return True
    refusals = sum(failure.reason in REFUSALS for failure in failures)
    if refusals >= MOST_REFUSALS and not any(_has_served(wanted, replica) for replica in replicas):
        return False
    last = failures[0].ended_at or 0
    return now < last or now >= last + _backoff(wanted, failures)  # now < last: the clock was set back


def _has_served(wanted: WantedService, replica: ReplicaFacts) -> bool:
    return _is_wanted(wanted, replica) and (replica.was_ready or replica.status in ("ready", "unready"))


def _backoff(wanted: WantedService, failures: Sequence[ReplicaFacts]) -> Micros:
    """None for the first replacement of each wanted replica, then doubling from half a second."""
    rounds = ceil(len(failures) / wanted.replicas)
    if rounds == 1:
        return 0
    longest = LONGEST_BACKOFF_ONCE_READY if failures[0].was_ready else LONGEST_BACKOFF
    return min(FIRST_BACKOFF << min(rounds - 2, 20), longest)


def _failures(wanted: WantedService, replicas: Sequence[ReplicaFacts]) -> list[ReplicaFacts]:
    """The failures of this wish since the last replica that became ready and stayed, the last to end first."""
    ready_since = max((r.created_at for r in _fresh(wanted, replicas) if r.status == "ready"), default=0)
    failed = [
        replica
        for replica in replicas
        if replica.status == "failed"
        and replica.generation == wanted.generation
        and _is_wanted(wanted, replica)
        and replica.created_at >= ready_since
        and replica.reason not in PLATFORM_REASONS
    ]
    failed.sort(key=lambda replica: (replica.ended_at or 0, replica.id), reverse=True)
    for count, replica in enumerate(failed, 1):
        if replica.was_ready and (replica.ended_at or 0) - replica.created_at >= STEADY:
            return failed[:count]
    return failed
