"""All that a round leaves behind, gathered when everything is at rest: rows, processes, bytes, answers, deliveries."""

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from cli.comparison import difference
from core.errors import DatabaseBusy, PlatformError
from state.database import Database, ReadSession, db_now
from state.installation import Lease
from state.tables import (
    Delivery,
    Event,
    History,
    IdempotencyKey,
    Model,
    Operation,
    Prediction,
    Replica,
    Service,
    Version,
    WebhookEndpoint,
)
from storage.base import ArtifactStore
from storage.digests import Digest
from tests.crash.artifacts import EXAMPLES
from tests.crash.installation import Installation
from tests.crash.ledger import CONDEMNED, Acknowledged, Client, Ledger, work_id
from tests.crash.receiver import Receiver

MOVING = ("pending", "deploying", "updating", "pausing", "resuming", "deleting")
LIVING = ("starting", "ready", "unready", "stopping")
SERVING = ("running", "degraded")
ANSWER_WITHIN_S = 30.0  # alone it is a moment


@dataclass(frozen=True)
class Rows:
    """The database's word."""

    operations: Sequence[Operation]
    predictions: Sequence[Prediction]
    deliveries: Sequence[Delivery]
    services: Sequence[Service]
    replicas: Sequence[Replica]
    versions: Sequence[Version]
    models: Sequence[Model]
    events: Sequence[Event]
    endpoints: Sequence[WebhookEndpoint]
    keys: Sequence[IdempotencyKey]
    leases: Sequence[Lease]
    history: Mapping[str, Sequence[History]]
    now: int


@dataclass(frozen=True)
class Replay:
    """What the same request was answered, asked again."""

    first: Acknowledged
    status: int
    work_id: str
    is_replay: bool


@dataclass(frozen=True)
class Evidence:
    """What the invariants look at."""

    rows: Rows
    left: Sequence[str]  # what was still under way when the time for it was over
    ledger: Ledger
    received: Mapping[str, int]  # webhook-id → how often
    ids_of_bodies: Mapping[bytes, frozenset[str]]
    model_servers: frozenset[int]
    short_children: int
    member_pids: frozenset[int]
    blobs: Mapping[str, str]  # wanted digest → what was found: the digest of the bytes, or why there are none
    partial_files: Sequence[str]
    replays: Sequence[Replay]
    made_again: Sequence[str]  # work that the replays made
    answers: Mapping[str, str | None]  # running service → what is wrong with its answer
    found_deleted: Sequence[str]  # names that answer although their service is deleted
    formerly_deleted: frozenset[str]


async def read_rows(session: ReadSession) -> Rows:
    changes: dict[str, list[History]] = defaultdict(list)
    for change in await session.scalars(select(History).order_by(History.resource_id, History.sequence)):
        changes[change.resource_id].append(change)
    works, resources = (Operation, Prediction, Delivery), (Service, Replica, Version, Model)
    tables = (*works, *resources, Event, WebhookEndpoint, IdempotencyKey, Lease)
    found: list[Any] = [list(await session.scalars(select(table))) for table in tables]
    return Rows(*[*found, changes, time.time_ns() // 1000])


def pid_of(owner: str) -> int | None:
    """The process that a holder's name tells."""
    parts = owner.split(":")
    return int(parts[-2]) if len(parts) >= 3 and parts[-2].isdecimal() else None


async def count_of_moves(session: ReadSession) -> int:
    """How many changes of status there have been."""
    return await session.scalar(select(func.count()).select_from(History)) or 0


# In one question, since a campaign asks it eight times a second for each site.
UNDER_WAY: Sequence[tuple[Any, Sequence[str]]] = (
    (Operation, ("queued", "running")),
    (Prediction, ("starting", "processing")),
    (Delivery, ("pending", "sending")),
    (Service, MOVING),
    (Replica, ("starting", "unready", "stopping")),
    (Version, ("received", "inspecting", "deleting")),
    (Model, ("deleting",)),
)


async def unsettled(session: ReadSession, site: Installation) -> list[str]:
    """What is still under way, in words; a node that has just died has not said so, and its rows look at rest."""
    counts = [select(func.count()).where(table.status.in_(statuses)).scalar_subquery() for table, statuses in UNDER_WAY]
    counted = (await session.execute(select(*counts))).one()
    left = [f"{n} {table.__tablename__}" for (table, _), n in zip(UNDER_WAY, counted, strict=True) if n]
    ready = select(func.count()).where(Replica.service_id == Service.id, Replica.status == "ready").scalar_subquery()
    wrong = select(Service.name).where(
        Service.status.in_(SERVING), (ready != Service.replicas) | (Service.status == "degraded")
    )
    left += [f"service {name} has not its replicas" for name in await session.scalars(wrong)]
    living = {member.pid for member in site.members}
    unexpired = select(Lease.name, Lease.owner).where(Lease.until > db_now())
    for name, owner in await session.execute(unexpired):
        if pid_of(owner) not in living:  # it must run out, or somebody renews what nobody holds
            left.append(f"the lease of a dead {name}")
    if not left:  # last: to look through the processes of a machine costs more than all that stands before
        named = set(await session.scalars(select(Replica.pid).where(Replica.status.in_(LIVING))))
        left = [] if named == set(site.model_servers()) else ["model servers that are not those of the rows"]
    return left


@dataclass(frozen=True)
class Places:
    """Where to look."""

    site: Installation
    database: Database
    store: ArtifactStore
    client: Client
    receiver: Receiver


async def gather(
    places: Places, replayed: Sequence[Acknowledged], formerly_deleted: frozenset[str], left: Sequence[str]
) -> Evidence:
    """Look everywhere once, then ask everything again: that must change nothing, and could hide what was lost."""
    site, client = places.site, places.client
    rows = await _rows(places.database)
    bodies: dict[bytes, set[str]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for arrived in places.receiver.received:
        bodies[arrived.body].add(arrived.event_id)
        counts[arrived.event_id] += 1
    serving = [service.name for service in rows.services if service.status in SERVING]
    partial = site.folder / "data" / "artifacts" / "partial"
    return Evidence(
        rows=rows,
        left=left,
        ledger=client.ledger,
        received=counts,
        ids_of_bodies={body: frozenset(ids) for body, ids in bodies.items()},
        model_servers=frozenset(site.model_servers()),
        short_children=len(site.short_children()),
        member_pids=frozenset(member.pid for member in site.members if member.is_alive),
        blobs=await _look_at_blobs(places.store, rows),
        partial_files=[path.name for path in partial.glob("*")] if site.kind == "embedded" else [],
        answers={name: await _wrong_answer(site, client, name) for name in serving},
        found_deleted=await _found_deleted(client, rows),
        formerly_deleted=formerly_deleted,
        replays=[replay for each in replayed if (replay := await _replay(client, each)) is not None],
        made_again=await _made_since(places.database, rows),
    )


async def _made_since(database: Database, rows: Rows) -> Sequence[str]:
    """What there is that was not there before."""
    later = await _rows(database)
    before = {row.id for row in rows.operations} | {row.id for row in rows.predictions}
    after = {row.id for row in later.operations} | {row.id for row in later.predictions}
    return sorted(after - before)


async def _rows(database: Database) -> Rows:
    while True:
        with suppress(DatabaseBusy):  # the pool may still hold connections from before a restart
            async with database.read() as session:
                return await read_rows(session)


async def _replay(client: Client, first: Acknowledged) -> Replay | None:
    """None where the platform rightly says "not now": the bytes were deleted since, and their sweeper died over it."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while True:
        answer = await client.attempt(first.request)
        if answer is not None and CONDEMNED in answer.text:
            return None
        if answer is not None and answer.status_code not in (503, 507):
            again = answer.headers.get("idempotent-replayed") == "true"
            return Replay(first, answer.status_code, work_id(answer), again)
        if time.monotonic() > deadline:
            return Replay(first, 0 if answer is None else answer.status_code, "", is_replay=False)
        await asyncio.sleep(0.05)


async def _look_at_blobs(store: ArtifactStore, rows: Rows) -> dict[str, str]:
    wanted = {version.digest for version in rows.versions if version.status != "deleted"}
    wanted |= {each.body_digest for each in rows.predictions if each.body_digest is not None}
    return {digest: await _digest_of(store, digest) for digest in sorted(wanted)}


async def _digest_of(store: ArtifactStore, wanted: str) -> str:
    hashed = hashlib.sha256()
    try:
        async for piece in store.open(Digest.parse(wanted)):
            hashed.update(piece)
    except PlatformError as error:
        return f"{type(error).__name__}: {error.message}"
    return f"sha256:{hashed.hexdigest()}"


async def _wrong_answer(site: Installation, client: Client, service: str) -> str | None:
    """None when every API process answers rightly, soon."""
    asked = json.loads((EXAMPLES / "iris.onnx.input.json").read_text("utf-8"))["inputs"]
    told = json.loads((EXAMPLES / "iris.onnx.expected.json").read_text("utf-8"))["outputs"]
    for url in site.urls:
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while True:
            answer = await client.predict(url, service, asked)
            if answer is not None and answer.status_code == 200:
                if (wrong := difference(answer.json()["outputs"], told)) is not None:
                    return f"a wrong answer: {wrong}"
                break
            if time.monotonic() > deadline:
                return "no answer" if answer is None else f"{answer.status_code}: {answer.text[:200]}"
            await asyncio.sleep(0.05)
    return None


async def _found_deleted(client: Client, rows: Rows) -> list[str]:
    named = {service.name for service in rows.services if service.status != "deleted"}
    gone = {service.name for service in rows.services if service.status == "deleted"} - named
    found = []
    for name in sorted(gone)[-5:]:
        answer = await client.get(f"/api/v1/services/{name}")
        if answer is not None and answer.status_code != 404:
            found.append(f"{name} answers {answer.status_code}")
    return found
