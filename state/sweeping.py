"""What is old enough to go: blobs that nothing refers to, and finished rows beyond their keeping time.

A blob dies in steps, each conditional on the one before: doomed, condemned, its bytes deleted, its row deleted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, exists, or_, select, tuple_, update

from core.clock import Micros, now_micros
from core.ids import id_at
from state.blobs import insert_blob, overdue
from state.database import Session, WriteSession, db_now
from state.datatables import Dataset, DatasetFile, DatasetPart, Upload, UploadPart
from state.jobtables import LIVE, Job, Run, RunArtifact, RunChunk, Tick
from state.samples import Sample
from state.tables import (
    Audit,
    Blob,
    Circuit,
    Delivery,
    Event,
    File,
    History,
    IdempotencyKey,
    Operation,
    Prediction,
    Replica,
    Tenant,
    Version,
)

Aged = Literal["operation", "prediction", "delivery", "replica", "event", "audit", "file", "sample", "tick"]


def _referenced() -> ColumnElement[bool]:
    version = exists().where(Version.digest == Blob.digest, Version.status != "deleted")
    prediction = exists().where(Prediction.body_digest == Blob.digest)
    return or_(version, prediction, exists().where(File.digest == Blob.digest), *_data())


TABLES: Mapping[str, type[Any]] = {
    "operation": Operation,
    "prediction": Prediction,
    "event": Event,
    "audit": Audit,
    "file": File,
    "tick": Tick,
}


def _data() -> list[ColumnElement[bool]]:
    """Datasets and what runs keep: their rows go when they are deleted, so that a row is a reference."""
    columns = (
        *(Dataset.digest, Dataset.preview_digest, DatasetPart.digest, DatasetFile.digest, UploadPart.digest),
        *(RunChunk.digest, RunChunk.bad_digest, RunArtifact.digest, Run.script_digest),
    )
    of_a_job = exists().where(Job.script_digest == Blob.digest, Job.status != "deleted")
    return [*(exists().where(column == Blob.digest) for column in columns), of_a_job]


async def doom(session: WriteSession, untouched_since: Micros) -> int:
    """Mark the blobs that nothing refers to and that no upload touched lately; answers how many.

    From now on a put of the same bytes must upload them again (ARCHITECTURE, sentence 8).
    """
    idle = (Blob.touched_at < untouched_since, Blob.doomed_at.is_(None), ~_referenced())
    return await _count(session, update(Blob).where(*idle).values(doomed_at=now_micros()))


async def pardon(session: WriteSession) -> int:
    """Lift the mark from blobs that something refers to again."""
    return await _count(session, update(Blob).where(Blob.doomed_at.is_not(None), _referenced()).values(doomed_at=None))


@dataclass(frozen=True, slots=True)
class Condemned:
    """A blob whose bytes are being deleted; its negative `doomed_at` tells a put not to trust what it finds.

    That is of the database's clock, which puts elsewhere compare it with; `at` is the same by our own.
    """

    digest: str
    doomed_at: Micros
    size_bytes: int
    at: Micros


async def condemn(session: WriteSession, doomed_before: Micros) -> Condemned | None:
    """One blob that stayed unreferenced since it was doomed, if there is any; one left by a crash comes again.

    Whoever condemns deletes within `DELETED_WITHIN` or not at all: a put may take the blob back after `CONDEMNED_FOR`.
    """
    at = now_micros()
    due = or_(Blob.doomed_at.between(1, doomed_before - 1), overdue())
    query = select(Blob, db_now()).where(due, ~_referenced()).limit(1).with_for_update(of=Blob)
    found = (await session.execute(query)).one_or_none()
    if found is None:
        return None
    blob, now = found
    blob.doomed_at = since = -now
    return Condemned(blob.digest, since, blob.size_bytes, at)


async def forget_condemned(session: WriteSession) -> int:
    """Nobody deletes any more: for the start of a process that is known to be alone. Answers how many were condemned.

    They are doomed as before, and a put may have them back at once instead of waiting for `CONDEMNED_FOR`.
    """
    return await _count(session, update(Blob).where(Blob.doomed_at < 0).values(doomed_at=1))


async def bury(session: WriteSession, blob: Condemned) -> bool:
    """Forget a blob whose bytes were deleted; False when a put took it back meanwhile."""
    same = (Blob.digest == blob.digest, Blob.doomed_at == blob.doomed_at)
    return await _count(session, delete(Blob).where(*same)) == 1


async def adopt(session: WriteSession, sizes: dict[str, int]) -> int:
    """Give orphans in the store (a crash between the bytes and their row) a row, by which they can be doomed."""
    known = set(await session.scalars(select(Blob.digest).where(Blob.digest.in_(sizes))))
    now = now_micros()
    orphans = {digest: size for digest, size in sizes.items() if digest not in known}
    for digest, size in orphans.items():
        await insert_blob(session, digest, size, now)
    return len(orphans)


async def unknown(session: Session, digests: Collection[str]) -> list[str]:
    """Those digests that have no row."""
    known = set(await session.scalars(select(Blob.digest).where(Blob.digest.in_(digests))))
    return [digest for digest in digests if digest not in known]


async def forget_idempotency_keys(session: WriteSession, before: Micros, limit: int) -> int:
    """Remove at most `limit` keys that are older than they must be remembered; answers how many."""
    columns = (IdempotencyKey.tenant_id, IdempotencyKey.method, IdempotencyKey.path, IdempotencyKey.key)
    key = tuple_(*columns)
    old = select(*columns).where(IdempotencyKey.created_at < before).limit(limit)
    return await _count(session, delete(IdempotencyKey).where(key.in_(old)))


async def forget_circuits(session: WriteSession, before: Micros, limit: int) -> int:
    """Remove at most `limit` circuits of receivers that nothing was sent to since an instant; answers how many.

    Predictions name their receivers' hosts: what is gone for good would be remembered for ever.
    """
    old = select(Circuit.receiver).where(Circuit.updated_at < before).limit(limit)
    return await _count(session, delete(Circuit).where(Circuit.receiver.in_(old), Circuit.updated_at < before))


async def forget_former_parts(session: WriteSession) -> int:
    """Remove the parts of datasets' former generations that no live run can read any more; answers how many."""
    reading = exists().where(Run.dataset_id == DatasetPart.dataset_id, LIVE)
    return await _count(session, delete(DatasetPart).where(DatasetPart.ordinal < 0, ~reading))


async def forget_uploads(session: WriteSession, before: Micros, limit: int) -> int:
    """Remove at most `limit` uploads that nobody came to since an instant, with their parts; answers how many."""
    query = select(Upload.id).where(Upload.touched_at < before).order_by(Upload.touched_at).limit(limit)
    ids = list(await session.scalars(query.with_for_update(skip_locked=True)))
    await session.execute(delete(UploadPart).where(UploadPart.upload_id.in_(ids)))
    return await _count(session, delete(Upload).where(Upload.id.in_(ids)))


async def forget_old(session: WriteSession, what: Aged, before: Micros, limit: int) -> int:
    """Remove at most `limit` rows that ended before an instant, with their history; answers how many.

    What has no end (an event, the audit, a file) counts from its beginning.
    """
    table, old = _aged(what, before)
    ids = list(await session.scalars(select(table.id).where(*old).limit(limit)))
    await session.execute(delete(History).where(History.resource_id.in_(ids)))
    return await _count(session, delete(table).where(table.id.in_(ids)))


def _aged(what: Aged, before: Micros) -> tuple[type[Any], tuple[ColumnElement[bool], ...]]:
    """The table and the condition; each begins with an index, because most rows are younger."""
    if what == "delivery":
        return Delivery, (Delivery.id < id_at("dlv", before), Delivery.completed_at < before)
    if what == "replica":
        return Replica, (Replica.id < id_at("rep", before), Replica.ended_at < before)
    if what == "sample":
        return Sample, (Sample.id < id_at("smp", before), Sample.created_at < before)
    table: Any = TABLES[what]
    old = (table.tenant_id.in_(select(Tenant.id)), table.created_at < before)
    if what in ("operation", "prediction"):
        return table, (*old, table.completed_at < before)
    if what == "tick":
        return table, (*old, Tick.outcome != "waiting")
    return table, old


async def _count(session: WriteSession, statement: Any) -> int:
    result: Any = await session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)
