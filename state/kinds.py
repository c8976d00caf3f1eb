"""Every kind of operation: its lane, the moves it makes on its target, its limits. `noun.verb`."""

from dataclasses import dataclass

# A handler of services compares and writes what is wanted, and never waits for what comes of it.
LOOK_S = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What the engine of operations must know of a kind, whatever its handler does.

    `starts` is made in the claim (where legal), `succeeds` and `fails` when it ends; `None` leaves the target alone.
    `deadline_s` counts from the submission; without one the work is tried for ever. One attempt may take `limit_s`,
    and what its lane allows (`workers.executor`).
    """

    name: str
    target: str
    lane: str = "control"
    starts: str | None = None
    succeeds: str | None = None
    fails: str | None = None
    deadline_s: float | None = None
    limit_s: float | None = None
    max_attempts: int | None = 5
    cancelable: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        Kind("version.inspect", "version", starts="inspect", succeeds="accept", fails="reject"),
        Kind("version.test", "version", max_attempts=2),
        # Both wait for services that are deleted with them, which have no failed state to rest in.
        Kind("version.delete", "version", limit_s=LOOK_S, succeeds="deleted", max_attempts=None, cancelable=False),
        Kind("model.delete", "model", limit_s=LOOK_S, succeeds="deleted", max_attempts=None, cancelable=False),
        Kind("service.deploy", "service", limit_s=LOOK_S, starts="deploy", succeeds="ready", fails="fail"),
        Kind("service.update", "service", limit_s=LOOK_S, succeeds="ready", fails="revert"),
        Kind("service.rollback", "service", limit_s=LOOK_S, succeeds="ready", fails="revert"),
        Kind("service.restart", "service", limit_s=LOOK_S, succeeds="ready", fails="weaken"),
        Kind("service.resume", "service", limit_s=LOOK_S, succeeds="ready", fails="sleep"),
        # Freeing processes and deleting have no failed state to rest in: they are tried until they are done.
        Kind("service.pause", "service", limit_s=LOOK_S, succeeds="paused", max_attempts=None, cancelable=False),
        Kind("service.delete", "service", limit_s=LOOK_S, succeeds="deleted", max_attempts=None, cancelable=False),
        # It fetches or puts together, then describes: as long as that takes. Its limits are those of its lane.
        Kind("dataset.create", "dataset", lane="fetch", succeeds="ready", fails="fail"),
        # From the first claim to the end of the run, which may be days: it looks, and gives its slot back. Its attempts
        # are those of all this time, and what a failed one costs is the whole run.
        Kind("run.execute", "run", lane="run", starts="start", succeeds="succeed", fails="fail", max_attempts=20),
        Kind("run.resume", "run", lane="run", starts="resumed", succeeds="succeed", fails="fail", max_attempts=20),
        Kind("run.pause", "run", limit_s=LOOK_S, succeeds="paused", max_attempts=None, cancelable=False),
        # With the runs that are under way, which it has stopped: it waits for them.
        Kind("job.delete", "job", limit_s=LOOK_S, succeeds="deleted", max_attempts=None, cancelable=False),
        Kind("run.stop", "run", limit_s=LOOK_S, succeeds="stopped", max_attempts=None, cancelable=False),
    )
}
