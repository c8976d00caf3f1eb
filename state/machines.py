"""The state machines, one table each, readable aloud: `move: from these statuses, to that one, because`.

`docs/reference/states.md` is printed from here. Nothing else in the platform decides whether a change is legal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from state.statuses import (
    DatasetStatus,
    DeliveryStatus,
    JobStatus,
    ModelStatus,
    OperationStatus,
    PredictionStatus,
    ReplicaStatus,
    RunStatus,
    ServiceStatus,
    VersionStatus,
)


@dataclass(frozen=True, slots=True)
class Move:
    """A legal change of status. `event` is what webhooks and streams are told, if anything."""

    name: str
    sources: frozenset[StrEnum]
    to: StrEnum
    why: str
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """One resource's statuses, where it begins, where it rests for good, and its moves by name."""

    name: str
    statuses: type[StrEnum]
    initial: StrEnum
    final: frozenset[StrEnum]
    moves: dict[str, Move]

    def legal_from(self, status: str) -> list[str]:
        """The names of the moves that may start in this status, sorted."""
        return sorted(move.name for move in self.moves.values() if status in move.sources)


def _move(name: str, sources: Iterable[StrEnum], to: StrEnum, why: str, event: str | None = None) -> tuple[str, Move]:
    return name, Move(name, frozenset(sources), to, why, event)


M = ModelStatus
MODEL = Machine("model", M, M.ACTIVE, frozenset({M.DELETED}), dict([
    _move("delete", [M.ACTIVE], M.DELETING, "its owner deletes it"),
    _move("deleted", [M.DELETING], M.DELETED, "its versions are gone"),
]))  # fmt: skip

V = VersionStatus
VERSION = Machine("version", V, V.RECEIVED, frozenset({V.DELETED}), dict([
    _move("inspect", [V.RECEIVED], V.INSPECTING, "a worker took it"),
    _move("accept", [V.INSPECTING], V.READY, "it loaded and predicted its own sample", "version.ready"),
    _move("reject", [V.RECEIVED, V.INSPECTING], V.INVALID, "it cannot be served, or could not be inspected",
          "version.invalid"),
    _move("retry", [V.INVALID], V.RECEIVED, "its inspection had failed for our own reasons"),
    _move("delete", [V.RECEIVED, V.INSPECTING, V.READY, V.INVALID], V.DELETING, "its owner deletes it"),
    _move("deleted", [V.DELETING], V.DELETED, "nothing uses it any more"),
]))  # fmt: skip

S = ServiceStatus
_MOVING = [S.PENDING, S.DEPLOYING, S.UPDATING, S.RESUMING]
SERVICE = Machine("service", S, S.PENDING, frozenset({S.DELETED}), dict([
    _move("deploy", [S.PENDING], S.DEPLOYING, "a worker took it"),
    _move("ready", [S.DEPLOYING, S.UPDATING, S.RESUMING], S.RUNNING, "all its replicas answer", "service.running"),
    _move("fail", [S.PENDING, S.DEPLOYING], S.FAILED, "it never became ready", "service.failed"),
    _move("degrade", [S.RUNNING], S.DEGRADED, "fewer replicas answer than are wanted", "service.degraded"),
    _move("recover", [S.DEGRADED], S.RUNNING, "all its replicas answer again", "service.running"),
    _move("update", [S.RUNNING, S.DEGRADED], S.UPDATING, "a PATCH asks for another revision or size"),
    _move("restart", [S.RUNNING, S.DEGRADED], S.UPDATING, "its owner wants fresh replicas"),
    _move("rollback", [S.RUNNING, S.DEGRADED, S.UPDATING, S.PAUSING, S.RESUMING], S.UPDATING,
          "its owner wants an earlier revision"),
    _move("revert", [S.UPDATING], S.RUNNING, "the update failed; the live revision serves on", "service.running"),
    _move("weaken", [S.UPDATING], S.DEGRADED, "the restart failed", "service.degraded"),
    _move("redeploy", [S.FAILED, S.DEPLOYING], S.PENDING, "a new wish for a service that never ran"),
    _move("pause", [S.RUNNING, S.DEGRADED, *_MOVING], S.PAUSING, "its owner frees its processes"),
    _move("paused", [S.PAUSING], S.PAUSED, "no process is left", "service.paused"),
    _move("resume", [S.PAUSED], S.RESUMING, "its owner wants it back"),
    _move("sleep", [S.RESUMING], S.PAUSED, "the resume failed", "service.paused"),
    _move("delete", [S.RUNNING, S.DEGRADED, S.PAUSING, S.PAUSED, S.FAILED, *_MOVING], S.DELETING,
          "its owner deletes it"),
    _move("deleted", [S.DELETING], S.DELETED, "no process is left", "service.deleted"),
]))  # fmt: skip

R = ReplicaStatus
REPLICA = Machine("replica", R, R.STARTING, frozenset({R.STOPPED, R.FAILED}), dict([
    _move("ready", [R.STARTING, R.UNREADY], R.READY, "it answers its readiness check"),
    _move("unready", [R.READY], R.UNREADY, "it stopped answering its readiness check"),
    _move("stop", [R.STARTING, R.READY, R.UNREADY], R.STOPPING, "it is no longer wanted"),
    _move("stopped", [R.STOPPING], R.STOPPED, "its process ended as asked"),
    _move("fail", [R.STARTING, R.READY, R.UNREADY, R.STOPPING], R.FAILED, "its process ended by itself"),
]))  # fmt: skip

D = DatasetStatus
DATASET = Machine("dataset", D, D.CREATING, frozenset({D.DELETED}), dict([
    _move("ready", [D.CREATING], D.READY, "its data is stored and described", "dataset.ready"),
    _move("fail", [D.CREATING], D.FAILED, "its data cannot be read", "dataset.failed"),
    _move("retry", [D.FAILED], D.CREATING, "its creation is tried again"),
    _move("delete", [D.CREATING, D.READY, D.FAILED], D.DELETING, "its owner deletes it"),
    _move("deleted", [D.DELETING], D.DELETED, "nothing reads it any more"),
]))  # fmt: skip

J = JobStatus
JOB = Machine("job", J, J.ACTIVE, frozenset({J.DELETED}), dict([
    _move("delete", [J.ACTIVE], J.DELETING, "its owner deletes it"),
    _move("deleted", [J.DELETING], J.DELETED, "none of its runs is under way"),
]))  # fmt: skip

N = RunStatus
RUN = Machine("run", N, N.QUEUED, frozenset({N.SUCCEEDED, N.FAILED, N.STOPPED}), dict([
    _move("start", [N.QUEUED], N.RUNNING, "a worker took it", "run.started"),
    _move("succeed", [N.RUNNING], N.SUCCEEDED, "it did all its work", "run.succeeded"),
    _move("fail", [N.QUEUED, N.RUNNING, N.RESUMING], N.FAILED, "it cannot go on", "run.failed"),
    _move("pause", [N.QUEUED, N.RUNNING, N.RESUMING], N.PAUSING, "its owner frees its process"),
    _move("paused", [N.PAUSING], N.PAUSED, "its process ended at a checkpoint", "run.paused"),
    _move("resume", [N.PAUSED], N.RESUMING, "its owner wants it to go on"),
    _move("resumed", [N.RESUMING], N.RUNNING, "it goes on from its checkpoint", "run.started"),
    _move("stop", [N.QUEUED, N.RUNNING, N.PAUSING, N.PAUSED, N.RESUMING], N.STOPPING, "its owner ends it"),
    _move("stopped", [N.STOPPING], N.STOPPED, "its process ended", "run.stopped"),
]))  # fmt: skip

P = PredictionStatus
PREDICTION = Machine("prediction", P, P.STARTING, frozenset({P.SUCCEEDED, P.FAILED, P.CANCELED}), dict([
    _move("start", [P.STARTING], P.PROCESSING, "a worker took it", "prediction.started"),
    _move("requeue", [P.PROCESSING], P.STARTING, "it waits for a replica or for another attempt"),
    _move("succeed", [P.PROCESSING], P.SUCCEEDED, "the model answered", "prediction.succeeded"),
    _move("fail", [P.STARTING, P.PROCESSING], P.FAILED, "the model or the input does not allow an answer",
          "prediction.failed"),
    _move("cancel", [P.STARTING, P.PROCESSING], P.CANCELED, "its owner no longer wants it", "prediction.canceled"),
]))  # fmt: skip

O = OperationStatus  # noqa: E741  (read aloud in the table below: one letter per machine)
OPERATION = Machine("operation", O, O.QUEUED, frozenset({O.SUCCEEDED, O.CANCELED}), dict([
    _move("start", [O.QUEUED], O.RUNNING, "a worker claimed it"),
    _move("requeue", [O.RUNNING], O.QUEUED, "it waits, is tried again, or its holder died"),
    _move("succeed", [O.QUEUED, O.RUNNING], O.SUCCEEDED, "its effect is there", "operation.succeeded"),
    _move("fail", [O.QUEUED, O.RUNNING], O.FAILED, "it cannot take effect", "operation.failed"),
    _move("cancel", [O.QUEUED, O.RUNNING], O.CANCELED, "its owner or a newer wish ended it"),
    _move("retry", [O.FAILED], O.QUEUED, "its owner wants another try"),
]))  # fmt: skip

L = DeliveryStatus
DELIVERY = Machine("delivery", L, L.PENDING, frozenset(), dict([
    _move("start", [L.PENDING], L.SENDING, "a worker claimed it"),
    _move("requeue", [L.SENDING], L.PENDING, "the next attempt has its time, or its holder died"),
    _move("deliver", [L.SENDING], L.DELIVERED, "the receiver answered 2xx"),
    _move("fail", [L.PENDING, L.SENDING], L.FAILED, "every attempt failed, or the endpoint is gone"),
    _move("redeliver", [L.DELIVERED, L.FAILED], L.PENDING, "its owner wants it sent again"),
]))  # fmt: skip

MACHINES = {
    machine.name: machine
    for machine in (MODEL, VERSION, SERVICE, REPLICA, DATASET, JOB, RUN, PREDICTION, OPERATION, DELIVERY)
}
