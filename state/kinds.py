"""Every kind of operation: its lane, the moves it makes on its target, its limits. `noun.verb`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """What the engine of operations must know of a kind, whatever its handler does.

    `starts` is made in the claim (where legal), `succeeds` and `fails` when it ends; `None` leaves the target alone.
    `deadline_s` counts from the submission; without one the work is tried for ever.
    """

    name: str
    target: str
    lane: str = "control"
    starts: str | None = None
    succeeds: str | None = None
    fails: str | None = None
    deadline_s: float | None = None
    max_attempts: int | None = 5
    cancelable: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        Kind("version.inspect", "version", starts="inspect", succeeds="accept", fails="reject"),
        Kind("version.test", "version", max_attempts=2),
        Kind("service.deploy", "service", starts="deploy", succeeds="ready", fails="fail"),
        Kind("service.update", "service", succeeds="ready", fails="revert"),
        Kind("service.rollback", "service", succeeds="ready", fails="revert"),
        Kind("service.restart", "service", succeeds="ready", fails="weaken"),
        Kind("service.resume", "service", succeeds="ready", fails="sleep"),
        # Freeing processes and deleting have no failed state to rest in: they are tried until they are done.
        Kind("service.pause", "service", succeeds="paused", max_attempts=None, cancelable=False),
        Kind("service.delete", "service", succeeds="deleted", max_attempts=None, cancelable=False),
    )
}
