"""What must hold after every round. Each function looks at the evidence and answers what is wrong, in words.

Pure: no platform is needed to try them, and each is numbered as in docs/reliability.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from state.history import MACHINE_OF
from state.tables import History
from tests.crash.evidence import LIVING, MOVING, SERVING, Evidence, pid_of

Invariant = Callable[[Evidence], Iterator[str]]

FINAL = ("succeeded", "failed", "canceled")
RESULTS = MappingProxyType(
    {
        "service.deploy": SERVING,
        "service.update": SERVING,
        "service.restart": SERVING,
        "service.resume": SERVING,
        "service.pause": ("paused",),
        "service.delete": ("deleted",),
    }
)


def nothing_acknowledged_is_lost(seen: Evidence) -> Iterator[str]:
    """1. Every acknowledged operation and prediction is there, final or explaining itself, and its effect shows."""
    known: dict[str, Any] = {row.id: row for row in seen.rows.operations}
    known |= {row.id: row for row in seen.rows.predictions}
    for made in seen.ledger.acknowledged:
        row = known.get(made.work_id)
        if row is None:
            yield f"{made.work_id} ({made.request.method} {made.request.path}, key {made.request.key}) is lost"
        elif row.status not in FINAL and not (row.waiting_for or row.reason):
            yield f"{row.id} is {row.status} and does not say why"
    newest: dict[str, Any] = {}
    for operation in sorted(seen.rows.operations, key=lambda row: (row.created_at, row.id)):
        if operation.kind in RESULTS and operation.status == "succeeded" and operation.arguments == {}:
            newest[operation.target_id] = operation
    recorded = {
        change.resource_id for changes in seen.rows.history.values() for change in changes if change.move == "start"
    }
    for service in seen.rows.services:
        last = newest.get(service.id)
        if (
            last is not None
            and last.id in recorded
            and _is_last_wish(seen, last)
            and service.status not in RESULTS[last.kind]
        ):
            yield f"service {service.name} is {service.status} after {last.kind} ({last.id}) succeeded"


def _is_last_wish(seen: Evidence, last: Any) -> bool:
    """Nothing was wished of the same target after it, whatever became of that."""
    later = (each for each in seen.rows.operations if each.target_id == last.target_id)
    return all((each.created_at, each.id) <= (last.created_at, last.id) for each in later)


def _made_by_cascades(operations: Iterable[Any]) -> Iterator[str]:
    """What the deletion of a model with its services has begun; a service may have been on its way out already."""
    deletions = [each for each in operations if each.kind == "model.delete"]
    for kind in ("services", "versions"):
        yield from {part["operation"] for each in deletions for part in each.arguments.get(kind, ())}


def nothing_takes_effect_twice(seen: Evidence) -> Iterator[str]:
    """2. One version an upload, one prediction a submission, one operation a key, one event and delivery a change."""
    rows, ledger = seen.rows, seen.ledger
    uploads = {(each.path, each.digest) for each in ledger.sent if each.digest is not None}
    wanted = Counter(digest for _, digest in uploads)
    for digest, count in Counter(version.digest for version in rows.versions).items():
        if digest in wanted and count > wanted[digest]:
            yield f"{digest} was uploaded {wanted[digest]} times and is {count} versions"
    markers = Counter(marker for each in rows.predictions if (marker := _marker(each.body)) is not None)
    yield from (f"the submission {marker} made {count} predictions" for marker, count in markers.items() if count > 1)
    makers = Counter(key.operation_id for key in rows.keys if not key.path.endswith("cancel"))
    makers.update(id for id in _made_by_cascades(rows.operations) if id not in makers)
    made = {operation.id for operation in rows.operations}
    yield from (f"{id} was made by {count} keys" for id, count in makers.items() if count > 1 and id in made)
    yield from (f"{each.id} ({each.kind}) was made by no key" for each in rows.operations if each.id not in makers)
    for (id, sequence), count in Counter((event.resource_id, event.sequence) for event in rows.events).items():
        if count > 1:
            yield f"change {sequence} of {id} was announced {count} times"
    for (event, url), count in Counter(
        (each.event_id, each.endpoint_id or each.url) for each in rows.deliveries
    ).items():
        if count > 1:
            yield f"{event} has {count} deliveries to {url}"
    told = Counter(
        (event.resource_id, event.type) for event in rows.events if event.resource_type in ("prediction", "operation")
    )
    yield from (f"{id} told {what} {count} times" for (id, what), count in told.items() if count > 1)


def _marker(body: Mapping[str, Any] | None) -> float | None:
    inputs = (body or {}).get("inputs")
    record = inputs[0] if isinstance(inputs, list) and inputs else inputs
    return record["float_input"][0] if isinstance(record, dict) else None


def every_status_was_reached_by_legal_moves(seen: Evidence) -> Iterator[str]:
    """3. Each row's history counts from one without a gap, each change follows from the one before, by a legal move
    whose maker held the work, and the last one is what the row says."""
    rows = seen.rows
    tables = (rows.operations, rows.predictions, rows.deliveries, rows.services, rows.replicas, rows.versions)
    for row in (row for table in tables for row in table):
        changes = rows.history.get(row.id, ())
        if not changes or (changes[-1].to_status, len(changes)) != (row.status, row.sequence):
            yield f"{row.id} is {row.status} at {row.sequence}, its history says {_last(changes)}"
        machine = MACHINE_OF[type(row)]
        before, holder = None, None
        for number, change in enumerate(changes, 1):
            if change.sequence != number or change.from_status != before:
                yield f"the history of {row.id} has a gap at {number}: {change.from_status} follows {before}"
            if number > 1:
                move = machine.moves.get(change.move)
                if move is None or before not in move.sources or move.to != change.to_status:
                    yield f"{row.id} moved illegally at {number}: {change.move} from {before} to {change.to_status}"
            holder = change.actor if change.move == "start" else holder
            if _was_written_by_another(change, holder):
                yield f"{row.id}: {change.move} at {number} was written by {change.actor}, but {holder} held it"
            before = change.to_status


def _was_written_by_another(change: History, holder: str | None) -> bool:
    """Whether a worker (they have colons in their names) ended work, or gave it back, that it did not hold."""
    by_worker = change.actor.count(":") >= 2
    ends = change.move in ("succeed", "fail", "deliver", "requeue") and change.resource_type in (
        "operation",
        "prediction",
        "delivery",
    )
    return (
        by_worker
        and ends
        and (holder != change.actor or change.from_status not in ("running", "processing", "sending"))
    )


def _last(changes: Any) -> str:
    return f"{changes[-1].to_status} at {changes[-1].sequence} of {len(changes)}" if changes else "nothing"


def every_blob_is_whole(seen: Evidence) -> Iterator[str]:
    """4. What a row points at is in the store, byte-equal; no upload's rest is left."""
    yield from (
        f"a row points at {digest}, the store has {found}" for digest, found in seen.blobs.items() if found != digest
    )
    yield from (f"the rest of an upload is left: {name}" for name in seen.partial_files)


def nothing_is_orphaned(seen: Evidence) -> Iterator[str]:
    """5. The model servers are those of the rows, as many as are wanted; nobody who is gone holds anything."""
    rows = seen.rows
    living = [replica for replica in rows.replicas if replica.status in LIVING]
    named = {replica.pid for replica in living}
    yield from (f"model server {pid} has no living row" for pid in sorted(seen.model_servers - named))
    yield from (
        f"replica {each.id} is {each.status}, its process {each.pid} is not there"
        for each in living
        if each.pid not in seen.model_servers
    )
    counts = Counter(replica.service_id for replica in living)
    for service in rows.services:
        wanted = service.replicas if service.status in SERVING else 0
        if service.status not in MOVING and counts[service.id] != wanted:
            yield f"service {service.name} is {service.status}, wants {wanted} replicas and has {counts[service.id]}"
    works: list[Any] = [*rows.operations, *rows.predictions, *rows.deliveries]
    for row in works:
        if row.lease_until is not None or row.lease_owner is not None:
            yield f"{row.id} is {row.status} and leased to {row.lease_owner}"
    for lease in rows.leases:
        if lease.until > rows.now and pid_of(lease.owner) not in seen.member_pids:
            yield f"the caretaker {lease.name} is held by {lease.owner}, who is gone"
    if seen.short_children:
        yield f"{seen.short_children} inspections run, and nobody waits for them"


def the_same_key_has_the_same_answer(seen: Evidence) -> Iterator[str]:
    """6. A request asked again names the same work, says that it is a replay, and makes nothing."""
    yield from (f"asking again made {id}" for id in seen.made_again)
    for replay in seen.replays:
        first = replay.first
        if replay.work_id != first.work_id or not replay.is_replay:
            how = f"{replay.status} {replay.work_id or 'without work'}, replayed: {replay.is_replay}"
            yield f"{first.request.method} {first.request.path} was {first.work_id}, again it is {how}"


def deleted_stays_deleted(seen: Evidence) -> Iterator[str]:
    """7. What was deleted once is deleted now, answers 404, and runs nothing."""
    rows = seen.rows
    by_id: dict[str, Any] = {row.id: row for row in rows.services}
    by_id |= {row.id: row for row in rows.versions}
    for id in sorted(seen.formerly_deleted):
        if by_id[id].status != "deleted":
            yield f"{id} was deleted and is {by_id[id].status}"
    yield from seen.found_deleted
    gone = {service.id for service in rows.services if service.status == "deleted"}
    yield from (
        f"{each.id} of a deleted service is {each.status}"
        for each in rows.replicas
        if each.service_id in gone and each.status in LIVING
    )


def every_event_arrives_with_one_id(seen: Evidence) -> Iterator[str]:
    """8. Each event that an endpoint wants has its delivery, and it arrived, under one id however often.

    An event may have been written beside the request that made the endpoint: only those after its answer must be told.
    """
    rows = seen.rows
    endpoints = {endpoint.id: endpoint for endpoint in rows.endpoints}
    delivered_to = {(each.event_id, each.endpoint_id) for each in rows.deliveries}
    answered_at = {each.work_id: each.at for each in seen.ledger.acknowledged}
    known_since = {
        each.target_id: answered_at[each.id]
        for each in rows.operations
        if each.kind == "webhook.create" and each.id in answered_at
    }
    for endpoint in (endpoints[id] for id in known_since.keys() & endpoints.keys()):
        for event in rows.events:
            wants = "*" in endpoint.events or event.type in endpoint.events
            if wants and event.created_at > known_since[endpoint.id] and (event.id, endpoint.id) not in delivered_to:
                yield f"{event.id} ({event.type}) has no delivery to {endpoint.id}"
    for delivery in rows.deliveries:
        is_for_somebody = delivery.endpoint_id is None or delivery.endpoint_id in endpoints
        if delivery.status == "failed" and is_for_somebody:
            yield f"{delivery.id} failed: {delivery.reason} {delivery.message}"
        if delivery.status == "delivered" and not seen.received.get(delivery.event_id):
            yield f"{delivery.id} is delivered, and {delivery.event_id} never arrived"
    for body, ids in seen.ids_of_bodies.items():
        if len(ids) > 1:
            yield f"{body[:80]!r} arrived under {len(ids)} ids"


def what_runs_answers(seen: Evidence) -> Iterator[str]:
    """9. Every running service predicts rightly, through every API process."""
    yield from (f"service {name}: {wrong}" for name, wrong in seen.answers.items() if wrong is not None)


def nothing_is_stuck(seen: Evidence) -> Iterator[str]:
    """10. Nothing is under way any more: no `-ing` stands without somebody who works on it."""
    rows = seen.rows
    if seen.left:
        yield f"not at rest in time: {', '.join(seen.left)}"
    stuck: Mapping[str, tuple[str, ...]] = {
        "operations": ("queued", "running"),
        "predictions": ("starting", "processing"),
        "deliveries": ("pending", "sending"),
        "services": MOVING,
        "versions": ("received", "inspecting", "deleting"),
        "models": ("deleting",),
        "replicas": ("starting", "unready", "stopping"),
    }
    for name, statuses in stuck.items():
        for row in getattr(rows, name):
            if row.status in statuses:
                what = getattr(row, "kind", None) or getattr(row, "name", "")
                why = getattr(row, "waiting_for", None) or row.reason or row.message
                yield f"{row.id} {what} is {row.status}: {why}"


def no_answer_was_a_bug(seen: Evidence) -> Iterator[str]:
    """11. No client was answered 500, and each was answered at last."""
    yield from seen.ledger.wrong
    yield from (f"{each.method} {each.path} (key {each.key}) was never answered" for each in seen.ledger.unanswered)


INVARIANTS: Mapping[str, Invariant] = MappingProxyType(
    {
        "1 nothing acknowledged is lost": nothing_acknowledged_is_lost,
        "2 nothing takes effect twice": nothing_takes_effect_twice,
        "3 legal moves, history without gaps": every_status_was_reached_by_legal_moves,
        "4 every blob is whole": every_blob_is_whole,
        "5 no orphans": nothing_is_orphaned,
        "6 same key, same answer": the_same_key_has_the_same_answer,
        "7 deleted stays deleted": deleted_stays_deleted,
        "8 every event arrives under one id": every_event_arrives_with_one_id,
        "9 what runs answers": what_runs_answers,
        "10 nothing is stuck": nothing_is_stuck,
        "11 no answer was a bug": no_answer_was_a_bug,
    }
)
